"""From queries and filters to answers: which way is taken, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.foundation import InputError
from embedworks.index.answers import Answer, Cost, Fusion, Mode
from embedworks.index.exact import Ranking, best_first, cosines, exact_rankings
from embedworks.index.fusion import fused_scores
from embedworks.index.intake import checked_count, checked_query
from embedworks.index.planner import Plan
from embedworks.index.quick_search import by_lists, expected_plan, hits_of
from embedworks.index.snapshot import Passing, Snapshot

WANTED_RECALL = 0.99
"""Least recall@10 to expect of an answer that is not exact, unless a caller says otherwise."""


@dataclass(frozen=True)
class Request:
    """What all queries of one call share.

    Args:
        k: How many hits a query wants.
        mode: Which side, or both.
        fusion: How a hybrid search joins them.
        recall: Least recall to expect of an approximate answer; 1 wants an exact one.
    """

    k: int
    mode: Mode
    fusion: Fusion
    recall: float


@dataclass(frozen=True, eq=False)
class Queries:
    """Checked queries; a part that the mode does not need is None.

    Args:
        request: What they share.
        vectors: Unit rows, float64, shape (queries, dimension).
        texts: One text a query.
        filters: One filter a query, or None.
    """

    request: Request
    vectors: NDArray[np.float64] | None
    texts: list[str] | None
    filters: list[str | None]


def checked_queries(
    snapshot: Snapshot,
    request: Request,
    *,
    vectors: ArrayLike | None,
    texts: Sequence[str] | None,
    where: str | Sequence[str | None] | None,
) -> Queries:
    """Check what a caller asks for.

    Args:
        snapshot: Where it is to be searched.
        request: What all queries share.
        vectors: Query vectors, shape (queries, dimension).
        texts: Query texts.
        where: One filter for all, or one a query.

    Returns:
        The queries, their vectors at unit length.

    Raises:
        InputError: Something is missing, of the wrong kind, or of unequal number.
    """
    mode = request.mode
    checked_count(request.k, name="k")
    if not 0.0 < request.recall <= 1.0:
        raise InputError(f"{request.recall} is not above 0 and at most 1", where="recall", mend="0.99 is the default")
    if mode not in {"vector", "lexical", "hybrid"}:
        raise InputError(f"{mode!r} is unknown", where="mode", mend="use vector, lexical or hybrid")
    if mode != "lexical" and vectors is None:
        mend = "encode the text with the index's model, or use mode='lexical'"
        raise InputError(f"a {mode} search needs the query's vector", where="vector", mend=mend)
    if mode != "vector":
        if texts is None:
            raise InputError(f"a {mode} search needs the query's text", where="text", mend="pass text")
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InputError("the queries are no list of strings", where="texts", mend="pass a list of strings")
        if snapshot.manifest.lexical is None:
            mend = "create it with lexical=True, or search by vector"
            raise InputError("this index has no lexical side", where="mode", mend=mend)
    rows = None if mode == "lexical" else checked_query(np.asarray(vectors), snapshot.manifest.dimension)
    words = None if mode == "vector" else list(texts or ())
    number = len(words or ()) if rows is None else len(rows)
    filters = _filters(where, number)
    if len(filters) != number or (words is not None and len(words) != number):
        raise InputError("the numbers of vectors, texts and filters differ", where="search_batch")
    return Queries(request, rows, words, filters)


def _filters(where: Any, number: int) -> list[str | None]:
    lines = [where] * number if where is None or isinstance(where, str) else where
    if not isinstance(lines, list | tuple) or not all(line is None or isinstance(line, str) for line in lines):
        raise InputError("is neither text nor a list of texts", where="where", mend='pass a line such as "year > 2025"')
    return list(lines)


def answer_all(snapshot: Snapshot, queries: Queries, *, left_out: int | None = None) -> list[Answer]:
    """Answer queries, those with the same filter together.

    Args:
        snapshot: Where to search.
        queries: What :func:`checked_queries` returned.
        left_out: A row that must not come back.

    Returns:
        One answer a query, in their order.
    """
    begun = time.perf_counter()
    request, vectors, texts, filters = queries.request, queries.vectors, queries.texts, queries.filters
    groups: dict[str | None, list[int]] = {}
    for query, where in enumerate(filters):
        groups.setdefault(where, []).append(query)
    found: dict[int, tuple[Ranking, _Group, int]] = {}
    for where, members in groups.items():
        started = time.perf_counter()
        passing = snapshot.passing(where)
        if left_out is not None:
            passing = passing.without(left_out, snapshot)
        group = _Group(snapshot, request, passing)
        group.took("filter", started)
        rankings = group.rankings(
            None if vectors is None else vectors[members],
            None if texts is None else [texts[query] for query in members],
        )
        for place, (query, ranking) in enumerate(zip(members, rankings, strict=True)):
            found[query] = (ranking, group, place)
    hits = [hits_of(snapshot, found[query][0]) for query in range(len(filters))]
    milliseconds = (time.perf_counter() - begun) * 1000 / max(1, len(filters))
    answers = []
    for query, found_hits in enumerate(hits):
        _, group, place = found[query]
        approximate = group.approximate(place)
        answers.append(
            Answer(
                hits=found_hits,
                milliseconds=milliseconds,
                how=group.how(place),
                passing=group.count,
                rows=snapshot.live_rows,
                mode=request.mode,
                approximate=approximate,
                recall=group.recall if approximate else 1.0,
                cost=group.cost,
            )
        )
    return answers


class _Group:
    """The queries that share one filter."""

    def __init__(self, snapshot: Snapshot, request: Request, passing: Passing) -> None:
        self.snapshot, self.request, self._passing = snapshot, request, passing
        self.passing, self.rows, self.count = passing.mask, passing.rows, passing.count
        self.recall, self.cost = 1.0, Cost()
        self._opened: list[tuple[int, bool]] = []  # by query, where lists were opened: how many, and whether all
        self._newer = 0

    def approximate(self, place: int) -> bool:
        """Return whether some rows that pass were left out for a query."""
        return bool(self._opened) and not self._opened[place][1]

    def took(self, step: str, started: float) -> None:
        """Add the time since then to a step's."""
        taken = (time.perf_counter() - started) * 1000
        self.cost.milliseconds[step] = self.cost.milliseconds.get(step, 0.0) + taken

    def rankings(self, vectors: NDArray[np.float64] | None, texts: list[str] | None) -> list[Ranking]:
        k, mode = self.request.k, self.request.mode
        if mode == "vector":
            assert vectors is not None
            return self._by_vector(vectors, k)
        assert texts is not None
        started = time.perf_counter()
        lexical = [self._by_terms(text) for text in texts]
        self.took("terms", started)
        if mode == "lexical":
            return [best_first(self.snapshot, rows, scores[rows], k) for rows, scores in lexical]
        assert vectors is not None
        wide = max(k, self.request.fusion.candidates)
        rankings, nearest = [], self._by_vector(vectors, wide)
        started = time.perf_counter()
        for query, (near, _), (rows, scores) in zip(vectors, nearest, lexical, strict=True):
            worded, _ = best_first(self.snapshot, rows, scores[rows], wide)
            union = np.union1d(near, worded)
            ids = self.snapshot.ids(union)
            fused = fused_scores(cosines(self.snapshot, query, union), scores[union], ids, self.request.fusion)
            rankings.append(best_first(self.snapshot, union, fused, k))
            self.cost.vectors += len(union)
        self.took("fusion", started)
        return rankings

    def how(self, place: int) -> str:
        """Say which way the answer of a query was found."""
        over = self._passing.over
        if self.request.mode == "lexical":
            return f"BM25 over {over}"
        vector_way = f"exact over {over}"
        if self.approximate(place):
            vector_way = by_lists(over, self.snapshot, self._opened[place][0])
            if self._newer:
                vector_way += f", and all of {self._newer:,} newer ones"
        if self.request.mode == "vector":
            return vector_way
        fusion = self.request.fusion
        share = f"{fusion.vector_weight:g} vector, {1 - fusion.vector_weight:g} BM25"
        return f"{vector_way}; BM25 over {over}; joined by {fusion.method.replace('-', ' ')} ({share})"

    def _by_terms(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the passing rows with a term of the query, and the scores of all rows."""
        scores = self.snapshot.terms.scores(text)
        return np.flatnonzero((scores > 0) & self.passing), scores

    def _by_vector(self, vectors: NDArray[np.float64], k: int) -> list[Ranking]:
        started = time.perf_counter()
        chosen = expected_plan(self.snapshot, self._passing, k=k, recall=self.request.recall)
        if chosen is None or chosen.way == "scan":
            rankings = exact_rankings(self.snapshot, vectors, self.rows, k, cost=self.cost)
            self.took("search", started)
            return rankings
        return self._list_by_list(vectors, k, chosen)

    def _list_by_list(self, vectors: NDArray[np.float64], k: int, chosen: Plan) -> list[Ranking]:
        from embedworks.index.scanning import best_of_lists
        from embedworks.index.scoring import encode_query

        snapshot, offsets = self.snapshot, self._passing.offsets
        partition, segment = snapshot.partition, snapshot.segments[snapshot.partitioned]
        assert partition is not None
        inside = self.rows[offsets[0] : offsets[-1]] - snapshot.firsts[snapshot.partitioned]
        outside = np.concatenate([self.rows[: offsets[0]], self.rows[offsets[-1] :]])
        rankings = []
        self.recall, self._newer = chosen.recall, len(outside)
        started = time.perf_counter()
        for query in vectors:
            code = segment.codes.encoded(query)
            by_centre = encode_query(query) if segment.codes.codebooks is not None else code
            rows, scores, settled, compared, opened, everything = best_of_lists(
                segment.codes.values, segment.codes.bounds, segment.compiled, inside, partition.compiled,
                offsets - offsets[0], query, code, by_centre, k, chosen.margin,
            )  # fmt: skip
            rows = rows + snapshot.firsts[snapshot.partitioned]
            self._opened.append((opened, everything))
            self.cost.codes += compared
            self.cost.vectors += settled
            self.cost.lists += opened
            if len(outside):
                ((newer, newer_scores),) = exact_rankings(snapshot, query[np.newaxis], outside, k, cost=self.cost)
                rows, scores = np.concatenate([rows, newer]), np.concatenate([scores, newer_scores])
            rankings.append(best_first(snapshot, rows, scores, k))
        self.took("search", started)
        return rankings
