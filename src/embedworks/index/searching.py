"""From queries and filters to answers: which way is taken, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.foundation import InputError
from embedworks.index.answers import Answer, Cost, Fusion, Hit, Hits, Mode
from embedworks.index.exact import Ranking, best_first, cosines, exact_rankings, settled_ranking
from embedworks.index.fusion import fused_scores
from embedworks.index.intake import checked_count, checked_query, unit_query
from embedworks.index.planner import Plan, plan
from embedworks.index.snapshot import Passing, Snapshot

WANTED_RECALL = 0.99
"""Least recall@10 to expect of an answer from the graph, unless a caller says otherwise."""
_DID_NOT_PAY = ", as a walk through the graph did not pay"


@dataclass(frozen=True)
class Request:
    """What all queries of one call share.

    Args:
        k: How many hits a query wants.
        mode: Which side, or both.
        fusion: How a hybrid search joins them.
        recall: Least recall to expect of an approximate answer; 1 forbids the graph.
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
            passing = passing.without(left_out)
        group = _Group(snapshot, request, passing, where is not None)
        group.took("filter", started)
        rankings = group.rankings(
            None if vectors is None else vectors[members],
            None if texts is None else [texts[query] for query in members],
        )
        for place, (query, ranking) in enumerate(zip(members, rankings, strict=True)):
            found[query] = (ranking, group, place)
    hits = [_hits(snapshot, found[query][0]) for query in range(len(filters))]
    milliseconds = (time.perf_counter() - begun) * 1000 / max(1, len(filters))
    answers = []
    for query, found_hits in enumerate(hits):
        _, group, place = found[query]
        approximate = group.walked(place)
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


def answer_one(snapshot: Snapshot, vector: NDArray[Any], *, k: int, where: str | None, recall: float) -> Answer | None:
    """Answer a vector search over one segment, with nothing done that it does not need.

    With a narrow filter the bookkeeping of many queries, sides and segments would take several times as long as the
    scan. The answer is that of :func:`answer_all`, bit for bit.

    Args:
        snapshot: Where to search.
        vector: The query, shape (dimension,).
        k: How many hits are wanted.
        where: A filter.
        recall: Least recall to expect.

    Returns:
        The answer; None where the search needs more, or is to be refused.
    """
    if len(snapshot.segments) != 1 or vector.shape != (snapshot.manifest.dimension,) or vector.dtype.kind != "f":
        return None
    if type(k) is not int or k < 1 or (where is not None and type(where) is not str) or not 0.0 < recall <= 1.0:
        return None
    segment = snapshot.segments[0]
    if segment.codes.codebooks is not None:
        return None
    begun = time.perf_counter()
    passing = snapshot.passing(where)
    count = passing.count
    if count == 0:
        return None
    chosen = expected_plan(snapshot, passing, k=k, recall=recall)
    by_graph = chosen is not None and chosen.way == "graph"
    if by_graph and not snapshot.graph_covers_all:
        return None
    query = unit_query(vector)
    cost, filtered = Cost(), time.perf_counter()
    cost.milliseconds["filter"] = (filtered - begun) * 1000
    among, live = passing.rows, snapshot.live_rows
    how = f"exact over {_over(snapshot, count, filtered=where is not None)}"
    walked = filtered
    if by_graph:
        assert chosen is not None
        assert snapshot.graph is not None
        walk = snapshot.graph.walk(query, passing.mask, beam=chosen.beam, budget=chosen.budget, fewest=chosen.fewest)
        walked = time.perf_counter()
        cost.milliseconds["graph"] = (walked - filtered) * 1000
        cost.codes, cost.hops = walk.counters.distances, walk.counters.hops
        by_graph = not walk.gave_up and len(walk.rows) >= k
        if by_graph:
            among, how = walk.rows, _through_graph(snapshot, count)
        else:
            how += _DID_NOT_PAY
    from embedworks.index.scanning import best_of_codes

    codes = segment.codes
    rows, scores, settled, tied = best_of_codes(codes.values, codes.bounds, segment.compiled, among, query, k)
    if tied:
        rows, scores = best_first(snapshot, rows, scores, k)
    ended = time.perf_counter()
    cost.milliseconds["settle" if by_graph else "scan"] = (ended - walked) * 1000
    cost.codes += len(among) if settled < len(among) else 0
    cost.vectors = settled
    return Answer(
        hits=_hits(snapshot, (rows, scores)),
        milliseconds=(ended - begun) * 1000,
        how=how,
        passing=count,
        rows=live,
        mode="vector",
        approximate=by_graph,
        recall=chosen.recall if by_graph and chosen is not None else 1.0,
        cost=cost,
    )


def expected_plan(snapshot: Snapshot, passing: Passing, *, k: int, recall: float) -> Plan | None:
    """Return what the planner chooses for a vector search; None where there is no graph, or it is forbidden.

    Args:
        snapshot: Where to search.
        passing: The rows that pass.
        k: How many are wanted.
        recall: Least recall to expect; 1 forbids the graph.
    """
    calibration = snapshot.calibration
    if calibration is None or recall >= 1.0:
        return None
    found = passing.plans.get((k, recall))
    if found is None:
        covered = snapshot.graph_rows
        inside = int(passing.rows.searchsorted(covered.stop) - passing.rows.searchsorted(covered.start))
        found = plan(calibration, rows=covered.stop - covered.start, passing=inside, k=k, wanted_recall=recall)
        passing.plans[k, recall] = found
    return found


class _Group:
    """The queries that share one filter."""

    def __init__(self, snapshot: Snapshot, request: Request, passing: Passing, filtered: bool) -> None:
        self.snapshot, self.request, self.filtered, self._passing = snapshot, request, filtered, passing
        self.passing, self.rows, self.count = passing.mask, passing.rows, passing.count
        self.recall, self.cost = 1.0, Cost()
        self._walked: list[bool] = []  # by query, where walks were tried: whether one gave the answer
        self._newer = 0

    def walked(self, place: int) -> bool:
        """Return whether a walk through the graph gave the answer of a query."""
        return bool(self._walked) and self._walked[place]

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
        over = _over(self.snapshot, self.count, filtered=self.filtered)
        if self.request.mode == "lexical":
            return f"BM25 over {over}"
        vector_way = f"exact over {over}"
        if self.walked(place):
            vector_way = _through_graph(self.snapshot, self.count)
            if self._newer:
                vector_way += f", and exact over {self._newer:,} newer ones"
        elif self._walked:
            vector_way += _DID_NOT_PAY
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
            self.took("scan", started)
            return rankings
        self.took("plan", started)
        return self._by_graph(vectors, k, chosen)

    def _by_graph(self, vectors: NDArray[np.float64], k: int, chosen: Plan) -> list[Ranking]:
        graph, covered = self.snapshot.graph, self.snapshot.graph_rows
        assert graph is not None
        inside = self.passing[covered]
        first, last = self.rows.searchsorted(covered.start), self.rows.searchsorted(covered.stop)
        outside = np.concatenate([self.rows[:first], self.rows[last:]])
        rankings = []
        self.recall, self._newer = chosen.recall, len(outside)
        for query in vectors:
            started = time.perf_counter()
            walk = graph.walk(query, inside, beam=chosen.beam, budget=chosen.budget, fewest=chosen.fewest)
            self.cost.codes += walk.counters.distances
            self.cost.hops += walk.counters.hops
            self.took("graph", started)
            started = time.perf_counter()
            self._walked.append(not walk.gave_up and len(walk.rows) >= k)
            if not self._walked[-1]:
                rankings += exact_rankings(self.snapshot, query[np.newaxis], self.rows, k, cost=self.cost)
                self.took("scan", started)
                continue
            found = walk.rows + covered.start
            if len(outside):
                ((newer, _),) = exact_rankings(self.snapshot, query[np.newaxis], outside, k, cost=self.cost)
                found = np.concatenate([found, newer])
            rankings.append(settled_ranking(self.snapshot, query, found, k))
            self.cost.vectors += len(found)
            self.took("settle", started)
        return rankings


def _over(snapshot: Snapshot, passing: int, *, filtered: bool) -> str:
    live = f"{snapshot.live_rows:,} rows"
    return f"{passing:,} of {live}" if filtered or passing < snapshot.live_rows else live


def _through_graph(snapshot: Snapshot, passing: int) -> str:
    covered = snapshot.graph_rows
    return f"graph over {covered.stop - covered.start:,} rows, {passing:,} passing"


def _hits(snapshot: Snapshot, ranking: Ranking) -> Hits:
    rows, scores = ranking

    def read() -> list[Hit]:
        found = snapshot.records(rows).to_pylist()
        return [
            Hit(id=row.pop("id"), score=float(score), text=row.pop("text"), attributes=row)
            for row, score in zip(found, scores, strict=True)
        ]

    return Hits(len(rows), read)
