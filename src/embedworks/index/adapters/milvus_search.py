"""How a search is answered in Milvus: by its exact search, through its graph, or by reading what passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.index.adapters.adapter import (
    MARGIN,
    MEASURED_NEIGHBOURS,
    MEASURED_ROWS,
    Candidates,
    Journal,
    best_hits,
    checked_search,
    cosines,
    found_share,
    server_answer,
    settled_hits,
)
from embedworks.index.adapters.milvus_wire import candidates, output_fields, rows_by_id, vectors_of
from embedworks.index.answers import Answer, Hit

# Milvus gives at most this many rows an answer.
_MOST_ROWS = 16_384
_SHORTEST_CANDIDATE_LIST = 100
_LONGEST_CANDIDATE_LIST = 32_768
_WIDENED = 8
_ROWS_A_PAGE = 1_000


@dataclass(frozen=True, eq=False)
class Question:
    """A search, checked and translated.

    Args:
        name: The collection.
        schema: Its attributes.
        query: A unit vector, float64, shape (dimension,).
        k: How many hits are wanted.
        expression: The filter in Milvus's form, or whether all rows pass or none.
        exact: Whether the graph is forbidden.
        exact_below: Up to how many passing rows are read and ranked exactly.
    """

    name: str
    schema: pa.Schema
    query: NDArray[np.float64]
    k: int
    expression: str | bool
    exact: bool
    exact_below: int

    @property
    def filter(self) -> str:
        """The expression as it is sent; empty where all rows pass."""
        return self.expression if isinstance(self.expression, str) else ""


def counted(client: Any, name: str, expression: str | bool) -> int:
    """Count the rows that pass."""
    if expression is False:
        return 0
    sent = expression if isinstance(expression, str) else ""
    return int(client.query(name, filter=sent, output_fields=["count(*)"])[0]["count(*)"])


def answered(client: Any, question: Question, journal: Journal, *, recall: float | None, begun: float) -> Answer:
    """Answer a question.

    Args:
        client: The connection.
        question: What is asked.
        journal: Where steps and decisions are noted.
        recall: The recall of the collection's graph, or None if it has none.
        begun: When the search began, by ``time.perf_counter``.

    Returns:
        The answer.
    """
    with journal.step("count"):
        rows = counted(client, question.name, True)
        passing = rows if question.expression is True else counted(client, question.name, question.expression)
    search = _Search(client, question, journal, passing=passing, rows=rows)
    hits: list[Hit] | None = [] if passing == 0 else None
    expected: float | None = None
    if hits is None and recall is None:
        hits = search.exactly()
    elif hits is None and not question.exact and passing > question.exact_below:
        hits = search.through_graph()
        expected = None if hits is None else recall
    if hits is None:
        hits = search.reading()
    return server_answer(hits, journal, how=search.way, passing=passing, rows=rows, recall=expected, begun=begun)


@dataclass(frozen=True, eq=False)
class Sample:
    """Some stored rows and their true neighbours.

    Args:
        questions: Each asks with one of the rows.
        ids: The rows.
        true: Their neighbours, themselves among them.
    """

    questions: list[Question]
    ids: list[str]
    true: list[list[Hit]]


def sampled(client: Any, name: str, schema: pa.Schema, dimension: int, *, graph: bool) -> Sample:
    """Take some stored rows and find their true neighbours.

    Args:
        client: The connection.
        name: The collection.
        schema: Its attributes.
        dimension: Its dimension.
        graph: Whether it has a graph; then every row is read, otherwise Milvus scans.

    Returns:
        The sample.
    """
    rows = client.query(name, filter="", output_fields=["id", "vector"], limit=MEASURED_ROWS)
    questions = [
        Question(
            name, schema, checked_search(vector, 1, dimension)[0], MEASURED_NEIGHBOURS, True, exact=True, exact_below=1
        )
        for vector in vectors_of(rows, dimension)
    ]
    searches = [_Search(client, question, Journal(), passing=len(rows), rows=len(rows)) for question in questions]
    true = [(None if graph else search.exactly()) or search.reading() for search in searches]
    return Sample(questions, [row["id"] for row in rows], true)


def measured_recall(client: Any, sample: Sample) -> float:
    """Measure which share of the ten nearest of the sampled rows the graph finds, between 0 and 1."""
    rows = len(sample.ids)
    searches = [_Search(client, question, Journal(), passing=rows, rows=rows) for question in sample.questions]
    return found_share([search.through_graph() or [] for search in searches], sample.true, sample.ids)


class _Search:
    """The three ways, and what is said about them."""

    def __init__(self, client: Any, question: Question, journal: Journal, *, passing: int, rows: int) -> None:
        self.client, self.question, self.journal = client, question, journal
        self.passing, self.rows = passing, rows
        self.way = f"no row of {rows:,} passes, nothing was searched in Milvus"
        self._remedy = ""

    def exactly(self) -> list[Hit] | None:
        """Let Milvus scan; None if near ties ask for more rows than it gives."""
        with self.journal.step("exact search"):
            hits = settled_hits(
                lambda number: self._nearest(number, {}), self.question.query, self.question.k, most=_MOST_ROWS
            )
        self.way = f"exact search in Milvus over {self.passing:,} of {self.rows:,} rows"
        self._remedy = f"; more than the {_MOST_ROWS:,} rows that one answer holds were needed" if hits is None else ""
        return hits

    def through_graph(self) -> list[Hit] | None:
        """Walk the graph; None if it cannot fill k, with the reason noted."""
        number = self.question.k + MARGIN
        if number > _MOST_ROWS:
            self._remedy = f"; one answer of the graph holds {_MOST_ROWS:,} rows"
            return None
        wanted = min(self.question.k, self.passing)
        shortest = max(2 * number, _SHORTEST_CANDIDATE_LIST)
        for length in (shortest, min(_WIDENED * shortest, _LONGEST_CANDIDATE_LIST)):
            with self.journal.step("graph"):
                found = self._nearest(number, {"ef": length})
            if len(found.ids) >= wanted:
                self.way = f"HNSW graph of Milvus over {self.rows:,} rows, {self.passing:,} passing; "
                self.way += f"candidate list of {length}{self._remedy}"
                return best_hits(found, self.question.query, self.question.k)
            self._remedy += f"; a candidate list of {length} came back short with {len(found.ids)} of {wanted}"
        return None

    def reading(self) -> list[Hit]:
        """Read every passing row and rank it here."""
        with self.journal.step("read and rank"):
            ids = self._best_ids()
            found = rows_by_id(self.client, self.question.name, ids, self.question.schema, len(self.question.query))
        self.way = f"exact scan of rows read from Milvus, {self.passing:,} of {self.rows:,}{self._remedy}"
        return best_hits(found, self.question.query, self.question.k)

    def _best_ids(self) -> list[str]:
        best: list[tuple[float, str]] = []
        pages = self.client.query_iterator(
            self.question.name, filter=self.question.filter, batch_size=_ROWS_A_PAGE, output_fields=["id", "vector"]
        )
        try:
            while page := pages.next():
                self.journal.cost.vectors += len(page)
                scores = cosines(vectors_of(page, len(self.question.query)), self.question.query)
                best += [(-float(score), row["id"]) for score, row in zip(scores, page, strict=True)]
                best = sorted(best)[: self.question.k]
        finally:
            pages.close()
        return [name for _, name in best]

    def _nearest(self, number: int, parameters: dict[str, int]) -> Candidates:
        found = self.client.search(
            self.question.name,
            data=[self.question.query.astype(np.float32).tolist()],
            anns_field="vector",
            filter=self.question.filter,
            limit=number,
            output_fields=output_fields(self.question.schema),
            search_params={"metric_type": "IP", "params": parameters},
        )[0]
        self.journal.cost.vectors += len(found)
        rows = [{**hit["entity"], "id": hit["id"]} for hit in found]
        return candidates(rows, self.question.schema, len(self.question.query))
