"""The compiled scan: scores from codes, the rows that can still win, and their scores in float64.

What must be scanned is either all rows that pass, or list by list the rows of a partition, those lists first that can
hold the best, until none of the rest is likely to hold any.
"""

from __future__ import annotations

import numpy as np

from embedworks.index.prefetch import prefetch_row
from embedworks.index.scoring import FETCHED_AHEAD, code_score, code_slack, cosine, encode_query, unit
from embedworks.index.structures.kernels import compiled, compiled_fast

_ROOM = 64
# Sorting and partitioning by NumPy's names would take ten seconds to compile; the heaps below take half of one.


@compiled
def best_of_codes(values, bounds, vectors, rows, vector, k):  # type: ignore[no-untyped-def]
    """Find the k rows of highest cosine over codes of whole numbers, in one call.

    Args:
        values: Codes, int8, shape (n, d).
        bounds: As in :func:`best_rows`, like the next three.
        vectors: The rows themselves.
        rows: The rows to search among.
        vector: The query, float64, shape (d,).
        k: At least 1.

    Returns:
        Rows and cosines, best first; how many were scored in float64; whether two of the cosines are equal; whether the
        query has a length, without which there is nothing else.
    """
    query, has_length = unit(vector)
    if not has_length:
        return rows[:0].copy(), query[:0], 0, False, False
    best, scores, looked_at = best_rows(values, bounds, vectors, rows, query, encode_query(query), k)
    return best, scores, looked_at, some_equal(scores), True


@compiled
def best_of_code_lists(values, bounds, vectors, rows, partition, offsets, vector, k, margin):  # type: ignore[no-untyped-def]
    """Find rows of high cosine over codes of whole numbers, list by list, in one call.

    Args:
        values: Codes, int8, shape (n, d).
        bounds: As in :func:`best_of_lists`, like the next seven.
        vectors: The rows themselves.
        rows: The rows to search among.
        partition: Its lists.
        offsets: Where the rows of each list begin.
        vector: The query, float64, shape (d,).
        k: At least 1.
        margin: How far a list is trusted to reach.

    Returns:
        Rows and cosines, best first; how many rows were scored in float64 and how many by their codes; how many lists
        were opened; whether these hold all rows; and as the last two of :func:`best_of_codes`.
    """
    query, has_length = unit(vector)
    if not has_length:
        return rows[:0].copy(), query[:0], 0, 0, 0, False, False, False
    code = encode_query(query)
    best, scores, looked_at, compared, opened, everything = best_of_lists(
        values, bounds, vectors, rows, partition, offsets, query, code, code, k, margin
    )
    return best, scores, looked_at, compared, opened, everything, some_equal(scores), True


@compiled
def best_rows(values, bounds, vectors, rows, query, code, k):  # type: ignore[no-untyped-def]
    """Find the k rows of highest cosine, exactly.

    Args:
        values: Codes, shape (n, any).
        bounds: Factor and error of each code, float32, shape (n, 2).
        vectors: The rows themselves, float32, int8, or uint16 for the bits of float16, shape (n, d).
        rows: The rows to search among, int64, shape (count,).
        query: Of length 1, float64, shape (d,).
        code: The query as :meth:`embedworks.index.codes.Codes.encoded` returns it.
        k: At least 1.

    Returns:
        Rows and cosines, best first; more than k where others equal the k-th; and how many were scored in float64.
    """
    if rows.shape[0] <= k:
        return settled(vectors, rows, query, k)
    surest = np.full(k, -np.inf, dtype=np.float32)
    kept, reach = np.empty(_ROOM, dtype=np.int64), np.empty(_ROOM, dtype=np.float32)
    kept, reach, number = scan(values, bounds, rows, 0, rows.shape[0], code, surest, kept, reach, 0)
    number = still_possible(kept, reach, number, surest[0])
    return settled(vectors, kept[:number], query, k)


@compiled
def best_of_lists(values, bounds, vectors, rows, partition, offsets, query, code, centre_code, k, margin):  # type: ignore[no-untyped-def]
    """Find rows of high cosine, list by list.

    The rows of a list have the mean m, and the root mean square of their distance from it is s. The list is expected to
    reach <q, m> + margin s; lists are opened in the order of that, and the search ends where it is less than what k
    rows reach for sure. So fewer rows near the query that pass mean more lists opened, and none are missed where few
    pass in all.

    Args:
        values: As in :func:`best_rows`, like the next two.
        bounds: Factor and error of each code.
        vectors: The rows themselves.
        rows: The rows to search among, ascending, int64, shape (count,); those of a list stand together.
        partition: Of the lists: codes of the means, int8, shape (lists, d); their bounds, float32, shape (lists, 2);
            and s, float32, shape (lists,).
        offsets: Where the rows of each list begin, int64, shape (lists + 1,).
        query: Of length 1, float64, shape (d,).
        code: The query as the codes are scored with it.
        centre_code: The query as the means are scored with it.
        k: At least 1.
        margin: How far a list is trusted to reach.

    Returns:
        Rows and cosines, best first, more than k where others equal the k-th; how many rows were scored in float64 and
        how many by their codes; how many lists were opened; whether these hold all rows.
    """
    means, mean_bounds, spreads = partition
    centre_query, centre_scale, _, centre_surplus = centre_code
    waiting = np.empty(spreads.shape[0], dtype=np.int64)
    behind = np.empty(spreads.shape[0], dtype=np.float32)  # what each is expected to reach, negated
    count = 0
    for which in range(spreads.shape[0]):
        if offsets[which + 1] > offsets[which]:
            score = code_score(means[which], mean_bounds[which, 0], centre_query, centre_scale, centre_surplus)
            behind[which] = -(score + np.float32(margin) * spreads[which])
            waiting[count] = which
            count += 1
    for root in range(count // 2 - 1, -1, -1):
        sift_down(waiting, behind, root, count)
    surest = np.full(k, -np.inf, dtype=np.float32)
    kept, reach, number = np.empty(_ROOM, dtype=np.int64), np.empty(_ROOM, dtype=np.float32), 0
    compared, opened = 0, 0
    while count > 0 and -behind[waiting[0]] >= surest[0]:
        first, last = offsets[waiting[0]], offsets[waiting[0] + 1]
        count -= 1
        waiting[0] = waiting[count]
        sift_down(waiting, behind, 0, count)
        following = offsets[waiting[0]]
        for place in range(following, min(following + FETCHED_AHEAD, offsets[waiting[0] + 1])):
            prefetch_row(values, rows[place])
        kept, reach, number = scan(values, bounds, rows, first, last, code, surest, kept, reach, number)
        compared += last - first
        opened += 1
    number = still_possible(kept, reach, number, surest[0])
    best, scores, looked_at = settled(vectors, kept[:number], query, k)
    return best, scores, looked_at, compared, opened, count == 0


@compiled_fast
def scan(values, bounds, rows, first, last, code, surest, kept, reach, number):  # type: ignore[no-untyped-def]
    """Score some rows by their codes and keep those that can belong to the k best so far.

    Args:
        values: Codes, shape (n, any).
        bounds: Factor and error of each code, float32, shape (n, 2).
        rows: Rows, int64, shape (count,).
        first: Where to begin among them.
        last: Where to end.
        code: The query as the codes are scored with it.
        surest: What the k best so far reach for sure, a heap with the least on top, float32, shape (k,); changed.
        kept: The rows kept so far, int64; changed.
        reach: What each of them can reach at most, float32; changed.
        number: How many they are.

    Returns:
        ``kept`` and ``reach``, in other arrays where these had no room, and how many rows are kept.
    """
    query, scale, error, surplus = code
    for place in range(first, last):
        if place + FETCHED_AHEAD < last:
            prefetch_row(values, rows[place + FETCHED_AHEAD])
        row = rows[place]
        score = code_score(values[row], bounds[row, 0], query, scale, surplus)
        slack = np.float32(code_slack(query, score, bounds[row, 1], error))
        if score + slack < surest[0]:
            continue
        if number == kept.shape[0]:
            number = still_possible(kept, reach, number, surest[0])
            if 2 * number > kept.shape[0]:
                kept = np.concatenate((kept, np.empty_like(kept)))
                reach = np.concatenate((reach, np.empty_like(reach)))
        kept[number], reach[number] = row, score + slack
        number += 1
        if score - slack > surest[0]:
            sink(surest, score - slack)
    return kept, reach, number


@compiled
def still_possible(kept, reach, number, threshold):  # type: ignore[no-untyped-def]
    """Move the rows that reach a threshold to the front, in their order, and return how many they are.

    Args:
        kept: Rows, int64; changed.
        reach: What each can reach at most, float32; changed.
        number: How many count.
        threshold: What they must reach.
    """
    left = 0
    for place in range(number):
        if reach[place] >= threshold:
            kept[left], reach[left] = kept[place], reach[place]
            left += 1
    return left


@compiled_fast
def settled(vectors, rows, query, k):  # type: ignore[no-untyped-def]
    """Score rows in float64 and put the k best in falling order.

    Args:
        vectors: float32, int8, or uint16 for the bits of float16, shape (n, d).
        rows: int64, shape (count,).
        query: Of length 1, float64, shape (d,).
        k: At least 1.

    Returns:
        Rows and cosines, best first; more than k where others equal the k-th; and how many were scored.
    """
    exact = np.empty(rows.shape[0])
    for place in range(rows.shape[0]):
        if place + FETCHED_AHEAD < rows.shape[0]:
            prefetch_row(vectors, rows[place + FETCHED_AHEAD])
        exact[place] = cosine(vectors[rows[place]], query)
    order = falling(exact)
    count = min(k, order.shape[0])
    while count < order.shape[0] and exact[order[count]] == exact[order[count - 1]]:
        count += 1
    return rows[order[:count]], exact[order[:count]], rows.shape[0]


@compiled
def falling(scores):  # type: ignore[no-untyped-def]
    """Return the places of scores in falling order, int64, shape (count,); equal ones in any."""
    order = np.arange(scores.shape[0])
    for root in range(scores.shape[0] // 2 - 1, -1, -1):
        sift_down(order, scores, root, scores.shape[0])
    for size in range(scores.shape[0] - 1, 0, -1):
        order[0], order[size] = order[size], order[0]
        sift_down(order, scores, 0, size)
    return order


@compiled
def sift_down(heap, scores, root, size):  # type: ignore[no-untyped-def]
    """Let a place sink in a heap of places, the lowest score first, until no child's is lower.

    Args:
        heap: Places, int64, shape (at least size,).
        scores: Of all places, shape (count,).
        root: Where the place stands.
        size: How much of the heap counts.
    """
    sinking = heap[root]
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and scores[heap[child + 1]] < scores[heap[child]]:
            child += 1
        if scores[sinking] <= scores[heap[child]]:
            break
        heap[root] = heap[child]
        root = child
    heap[root] = sinking


@compiled
def sink(heap, score):  # type: ignore[no-untyped-def]
    """Put a score in the place of the least of a heap.

    Args:
        heap: Scores, the least on top, shape (k,); changed.
        score: Greater than the least.
    """
    size, root = heap.shape[0], 0
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if score <= heap[child]:
            break
        heap[root] = heap[child]
        root = child
    heap[root] = score


@compiled
def some_equal(scores):  # type: ignore[no-untyped-def]
    """Return whether two scores that follow each other are equal."""
    return (scores[1:] == scores[:-1]).any()
