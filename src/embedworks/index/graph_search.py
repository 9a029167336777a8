"""The compiled search of the graph: best-first over codes, keeping what passes, and giving up when it does not pay."""

from __future__ import annotations

import numpy as np

from embedworks.index.prefetch import prefetch_row
from embedworks.index.scoring import FETCHED_AHEAD, code_product
from embedworks.index.structures.kernels import compiled, compiled_fast, pop, push

_WALKED_FIRST = 256


@compiled_fast
def _score(values, bounds, row, query, query_scale):  # type: ignore[no-untyped-def]
    return code_product(values[row], query) * (bounds[row, 0] * query_scale)


@compiled
def search_graph(  # type: ignore[no-untyped-def]
    values, bounds, links, upper, starts, entry, top, query, query_scale, mask, beam, budget, fewest, seen, stamp,
    open_rows, open_distances,
):  # fmt: skip
    """Find the rows that pass and score best, by codes.

    The rule of hnswlib: every row is walked over, those that pass are kept, and the search ends when the beam is full
    of rows better than all that are still open.

    Args:
        values: Codes, shape (n, any).
        bounds: Factor and error of each code, float32, shape (n, 2).
        links: Neighbours in layer 0, -1 where there are no more, int32, shape (n, width).
        upper: Neighbours above, int32, shape (lines, upper width).
        starts: Where a row's lines above begin, int64, shape (n + 1,).
        entry: Where to begin.
        top: Its layer.
        query: As :meth:`embedworks.index.codes.Codes.encoded` returns it, like the next one.
        query_scale: What one unit of the product stands for.
        mask: Which rows pass, bool, shape (n,).
        beam: How many passing rows are kept.
        budget: Most scores to compute; more than that, and the search gives up.
        fewest: Least share of passing rows among the first rows seen; less, and the search gives up.
        seen: Marks, int32, shape (n,).
        stamp: The number of this search.
        open_rows: Working space, int32, shape (n,).
        open_distances: Working space, float32, shape (n,).

    Returns:
        The rows kept, int64, in no order; scores computed; nodes read; rows that failed; whether it gave up.
    """
    best, best_distance = entry, -_score(values, bounds, entry, query, query_scale)
    compared, hops, rejected = 1, 0, 0
    for layer in range(top, 0, -1):
        moved = True
        while moved:
            moved = False
            line = starts[best] + layer - 1
            hops += 1
            for place in range(upper.shape[1]):
                other = upper[line, place]
                if other < 0:
                    break
                compared += 1
                other_distance = -_score(values, bounds, other, query, query_scale)
                if other_distance < best_distance:
                    best, best_distance, moved = other, other_distance, True
    fresh = np.empty(links.shape[1], dtype=np.int32)
    kept = np.empty(beam + 1, dtype=np.int32)
    kept_scores = np.empty(beam + 1, dtype=np.float32)  # a heap whose top is the worst of the kept
    size = 0
    seen[best] = stamp
    waiting = push(open_rows, open_distances, 0, np.int32(best), best_distance)
    if mask[best]:
        size = push(kept, kept_scores, size, np.int32(best), -best_distance)
    else:
        rejected += 1
    walked, asked = 1, False
    while waiting > 0:
        row, row_distance = open_rows[0], open_distances[0]
        if size == beam and -kept_scores[0] < row_distance:
            break
        if compared > budget:
            return kept[:0].astype(np.int64), compared, hops, rejected, True
        if not asked and walked >= _WALKED_FIRST:
            asked = True
            if walked - rejected < fewest * walked:
                return kept[:0].astype(np.int64), compared, hops, rejected, True
        waiting = pop(open_rows, open_distances, waiting)
        hops += 1
        count = 0
        for place in range(links.shape[1]):
            other = links[row, place]
            if other < 0:
                break
            if seen[other] != stamp:
                seen[other] = stamp
                fresh[count] = other
                count += 1
        compared += count
        walked += count
        for place in range(min(FETCHED_AHEAD, count)):
            prefetch_row(values, fresh[place])
        for place in range(count):
            if place + FETCHED_AHEAD < count:
                prefetch_row(values, fresh[place + FETCHED_AHEAD])
            other = fresh[place]
            other_distance = -_score(values, bounds, other, query, query_scale)
            passes = mask[other]
            if not passes:
                rejected += 1
            if size == beam and other_distance >= -kept_scores[0]:
                continue
            waiting = push(open_rows, open_distances, waiting, other, other_distance)
            if passes:
                if size == beam:
                    size = pop(kept, kept_scores, size)
                size = push(kept, kept_scores, size, other, -other_distance)
    return kept[:size].astype(np.int64), compared, hops, rejected, False
