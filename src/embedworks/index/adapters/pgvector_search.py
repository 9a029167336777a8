"""How a search is answered in PostgreSQL: counted first, then scanned exactly or walked through the graph."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
    found_share,
    server_answer,
    settled_hits,
)
from embedworks.index.adapters.pgvector_wire import SentVector
from embedworks.index.adapters.sql_filter import SqlFilter, quoted
from embedworks.index.answers import Answer, Hit

if TYPE_CHECKING:
    import psycopg

# Counting further costs more than it tells: from here on the server's statistics are asked.
_COUNTED_ROWS = 100_000
_LONGEST_CANDIDATE_LIST = 1_000
_SHORTEST_CANDIDATE_LIST = 200
_MOST_ROWS = 2**31
NO_FILTER = SqlFilter("true", ())


@dataclass(frozen=True)
class Table:
    """What the server says about a collection.

    Args:
        name: The table.
        dimension: Components of every vector.
        schema: The attributes.
        graph: Whether there is an HNSW graph.
        recall: What was measured of it, if it was.
        iterative: Whether this pgvector goes on scanning its graph until enough rows pass.
        server: Versions, for people.
    """

    name: str
    dimension: int
    schema: pa.Schema
    graph: bool
    recall: float | None
    iterative: bool
    server: str


@dataclass(frozen=True, eq=False)
class Question:
    """A search, checked and translated.

    Args:
        table: Where.
        query: A unit vector, float64, shape (dimension,).
        k: How many hits are wanted.
        filter: The filter in SQL; ``true`` where there is none.
        exact: Whether the graph is forbidden.
        exact_below: Up to how many passing rows are scanned exactly.
    """

    table: Table
    query: NDArray[np.float64]
    k: int
    filter: SqlFilter
    exact: bool
    exact_below: int

    def counted(self, cursor: psycopg.Cursor[tuple[Any, ...]], *, most: int | None = None) -> int:
        """Count the rows that pass, up to ``most`` where it is given."""
        limit = "" if most is None else f" limit {most}"
        inner = f"select 1 from {quoted(self.table.name)} where {self.filter.text}{limit}"  # noqa: S608 - quoted
        return int(_one(cursor, f"select count(*) from ({inner}) as passing", self.filter.values))  # noqa: S608 - quoted

    def estimated(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> int:
        """Ask the server's statistics how many rows pass."""
        table = quoted(self.table.name)
        statement = f"explain (format json) select 1 from {table} where {self.filter.text}"  # noqa: S608 - quoted
        return int(_one(cursor, statement, self.filter.values)[0]["Plan"]["Plan Rows"])

    def counted_or_estimated(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[int, bool]:
        """Return how many rows pass and whether that is exact."""
        counted = self.counted(cursor, most=_COUNTED_ROWS + 1)
        return (counted, True) if counted <= _COUNTED_ROWS else (max(counted, self.estimated(cursor)), False)


def answered(cursor: psycopg.Cursor[tuple[Any, ...]], question: Question, journal: Journal, *, begun: float) -> Answer:
    """Answer a question within one transaction.

    Args:
        cursor: A binary cursor in a transaction that sees one state of the table.
        question: What is asked; if the table has a graph, its recall is known.
        journal: Where steps are noted, and the server's own plan if it is wanted.
        begun: When the search began, by ``time.perf_counter``.

    Returns:
        The answer.
    """
    with journal.step("count"):
        passing, sure = question.counted_or_estimated(cursor)
        whole = replace(question, filter=NO_FILTER)
        rows = passing if question.filter is NO_FILTER else whole.counted_or_estimated(cursor)[0]
    search = _Search(cursor, question, journal)
    hits: list[Hit] | None = None
    if question.table.graph and not question.exact and passing > question.exact_below:
        hits = search.through_graph(passing, rows)
    recall = None if hits is None else question.table.recall
    if hits is None:
        hits = search.exactly(passing, rows)
    about = "" if sure else " (about: by the server's statistics)"
    return server_answer(hits, journal, how=search.way + about, passing=passing, rows=rows, recall=recall, begun=begun)


def measured_recall(cursor: psycopg.Cursor[tuple[Any, ...]], table: Table) -> float:
    """Measure which share of the ten nearest of some stored rows the graph finds.

    Args:
        cursor: A binary cursor in a transaction.
        table: The collection.

    Returns:
        Between 0 and 1.
    """
    # The order by a digest is as good as random, and the same each time.
    sample = f"select id, vector from {quoted(table.name)} order by md5(id) limit {MEASURED_ROWS}"  # noqa: S608 - quoted
    asked = cursor.execute(sample.encode(), ()).fetchall()
    found, true = [], []
    for _, vector in asked:
        query = checked_search(vector, MEASURED_NEIGHBOURS, table.dimension)[0]
        question = Question(table, query, MEASURED_NEIGHBOURS, NO_FILTER, exact=False, exact_below=1)
        true.append(_Search(cursor, question, Journal()).exactly(0, 0))
        rows = len(true[-1])
        found.append(_Search(cursor, question, Journal()).through_graph(rows, rows) or [])
    return found_share(found, true, [row[0] for row in asked])


class _Search:
    """The two ways, and what is said about them."""

    def __init__(self, cursor: psycopg.Cursor[tuple[Any, ...]], question: Question, journal: Journal) -> None:
        self.cursor, self.question, self.journal = cursor, question, journal
        self.way = ""
        self._remedy = ""

    def through_graph(self, passing: int, rows: int) -> list[Hit] | None:
        """Walk the graph; None if it cannot fill k, with the reason noted."""
        question = self.question
        number = question.k + MARGIN
        if number > _LONGEST_CANDIDATE_LIST:
            self._remedy = f"; the graph gives at most {_LONGEST_CANDIDATE_LIST:,} candidates"
            return None
        if question.table.iterative:
            candidates = min(_LONGEST_CANDIDATE_LIST, max(2 * number, _SHORTEST_CANDIDATE_LIST))
            self.cursor.execute("set local hnsw.iterative_scan = relaxed_order")
            remedy = f"iterative scan, candidate list of {candidates}"
        else:
            # The graph is walked without the filter, so its list must hold enough rows for the filter to leave k.
            wanted = math.ceil(2 * number * rows / passing)
            candidates = max(min(wanted, _LONGEST_CANDIDATE_LIST), _SHORTEST_CANDIDATE_LIST)
            remedy = f"candidate list of {candidates} for want of iterative scans"
            if number * rows / passing > _LONGEST_CANDIDATE_LIST:
                self._remedy = f"; no candidate list of {_LONGEST_CANDIDATE_LIST:,} would hold {number} passing rows"
                return None
        self.cursor.execute(f"set local hnsw.ef_search = {candidates}")
        # Without these the server may choose to sort a scan of everything instead, or not, from one day to the next.
        self.cursor.execute("set local enable_sort = off")
        self.cursor.execute("set local enable_seqscan = off")
        with self.journal.step("graph"):
            found = self._fetch(number, order="vector <#> %s")
        self.cursor.execute("set local enable_sort = on")
        self.cursor.execute("set local enable_seqscan = on")
        wanted = min(question.k, passing)
        if len(found.ids) < wanted:
            self._remedy = f"; the graph search ({remedy}) came back short with {len(found.ids)} of {wanted}"
            return None
        self.way = f"HNSW graph of pgvector over {rows:,} rows, {passing:,} passing; {remedy}"
        return best_hits(found, question.query, question.k)

    def exactly(self, passing: int, rows: int) -> list[Hit]:
        """Scan every passing row."""
        # Adding nothing to the distance keeps the graph, which is approximate, out of the server's plans.
        with self.journal.step("exact scan"):
            hits = settled_hits(
                lambda number: self._fetch(number, order="(vector <#> %s) + 0"),
                self.question.query,
                self.question.k,
                most=_MOST_ROWS,
            )
        assert hits is not None
        self.way = f"exact scan in PostgreSQL over {passing:,} of {rows:,} rows{self._remedy}"
        return hits

    def _fetch(self, number: int, *, order: str) -> Candidates:
        table, condition = self.question.table, self.question.filter
        columns = ", ".join(quoted(name) for name in ["id", "text", "vector", *table.schema.names])
        statement = (
            f"select {columns} from {quoted(table.name)} "  # noqa: S608 - quoted names, values as parameters
            f"where {condition.text} order by {order} limit {number}"
        )
        values = [*condition.values, SentVector(self.question.query)]
        found = self.cursor.execute(statement.encode(), values).fetchall()
        self.journal.cost.vectors += len(found)
        if self.journal.plan is not None:
            explained = self.cursor.execute(f"explain (analyze, timing off) {statement}".encode(), values)
            self.journal.plan[:] = [_without_vector(str(line[0])) for line in explained]
        vectors = np.array([row[2] for row in found], dtype=np.float32).reshape(len(found), table.dimension)
        attributes = [dict(zip(table.schema.names, row[3:], strict=True)) for row in found]
        return Candidates([row[0] for row in found], [row[1] for row in found], attributes, vectors)


def _one(cursor: psycopg.Cursor[tuple[Any, ...]], statement: str, values: tuple[Any, ...]) -> Any:
    row = cursor.execute(statement.encode(), values).fetchone()
    assert row is not None
    return row[0]


def _without_vector(line: str) -> str:
    """Shorten the query's vector in a plan."""
    return re.sub(r"'\[[^]]{40,}\]'", "'[...]'", line)
