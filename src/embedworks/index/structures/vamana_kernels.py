"""The compiled parts of Vamana: GreedySearch, RobustPrune, and the insertion of rows, with labels or without."""

from __future__ import annotations

from typing import Final

import numpy as np

from embedworks.index.structures.kernels import compiled, distance, insert

_MOST_CANDIDATES: Final = 750
"""Most candidates of one RobustPrune, as in DiskANN's code."""


@compiled
def meets(codes, first, last, wanted):  # type: ignore[no-untyped-def]
    """Return whether two ascending lists of labels, codes[first:last] and wanted, have one in common."""
    place = 0
    while first < last and place < wanted.shape[0]:
        if codes[first] == wanted[place]:
            return True
        if codes[first] < wanted[place]:
            first += 1
        else:
            place += 1
    return False


@compiled
def may_drop(starts, codes, row, other, kept, strict):  # type: ignore[no-untyped-def]
    """Return whether a kept neighbour serves every label for which ``row`` needs ``other`` as one.

    The paper asks F_row & F_other <= F_kept, its code (strict) F_other <= F_kept.
    """
    mine, theirs = starts[row], starts[kept]
    for place in range(starts[other], starts[other + 1]):
        code = codes[place]
        if not strict:
            while mine < starts[row + 1] and codes[mine] < code:
                mine += 1
            if mine == starts[row + 1]:
                return True
            if codes[mine] != code:
                continue
        while theirs < starts[kept + 1] and codes[theirs] < code:
            theirs += 1
        if theirs == starts[kept + 1] or codes[theirs] != code:
            return False
    return True


@compiled
def greedy_search(  # type: ignore[no-untyped-def]
    vectors,
    query,
    ids,
    begins,
    ends,
    label_starts,
    label_codes,
    wanted,
    entries,
    rows,
    distances,
    expanded,
    marks,
    mark,
    path_rows,
    path_distances,
):
    """Search a graph for the rows nearest to a query (DiskANN algorithm 1, Filtered-DiskANN algorithm 1).

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        query: Of length 1, float32, shape (d,).
        ids: Out-neighbours of all rows, int32.
        begins: Where a row's out-neighbours begin, int64, shape (n,).
        ends: Where they end, int64, shape (n,).
        label_starts: Where a row's labels begin, int64, shape (n + 1,).
        label_codes: Labels, ascending within a row, int32.
        wanted: Only rows with one of these labels are looked at, int32, ascending; all rows where it is empty.
        entries: Rows to start from, int32; they are not checked.
        rows: The candidate list, int32, shape (L,); filled.
        distances: Their squared distances, float32, shape (L,); filled.
        expanded: Work space, bool, shape (L,).
        marks: Work space that never holds ``mark``, int32, shape (n,).
        mark: What to mark visited rows with.
        path_rows: The nearest of the expanded rows, int32; filled. Room for none is allowed.
        path_distances: Their squared distances, float32.

    Returns:
        Sizes of the candidate list and of the path, and counts of distances, hops and rejected rows.
    """
    size, path, computed, hops, rejected = 0, 0, 0, 0, 0
    unused = np.empty(path_rows.shape[0], dtype=np.bool_)
    for entry in entries:
        if marks[entry] != mark:
            marks[entry] = mark
            computed += 1
            size, _ = insert(rows, distances, expanded, size, entry, distance(vectors, entry, query))
    place = 0
    while place < size:
        if expanded[place]:
            place += 1
            continue
        expanded[place] = True
        hops += 1
        node = rows[place]
        if path_rows.shape[0] > 0:
            path, _ = insert(path_rows, path_distances, unused, path, node, distances[place])
        place += 1
        for slot in range(begins[node], ends[node]):
            row = ids[slot]
            if marks[row] == mark:
                continue
            marks[row] = mark
            if wanted.shape[0] > 0 and not meets(label_codes, label_starts[row], label_starts[row + 1], wanted):
                rejected += 1
                continue
            computed += 1
            size, taken = insert(rows, distances, expanded, size, row, distance(vectors, row, query))
            place = min(place, taken)
    return size, path, computed, hops, rejected


@compiled
def robust_prune(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, row, candidates, distances, count, degree, alpha, strict, kept
):
    """Choose a row's out-neighbours (DiskANN algorithm 2; FilteredRobustPrune, Filtered-DiskANN algorithm 3).

    Going outwards, a candidate c of p is dropped if some kept s has alpha * d(s, c) <= d(p, c) and :func:`may_drop`
    allows it.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        label_starts: Where a row's labels begin, int64, shape (n + 1,).
        label_codes: Labels, int32.
        row: p.
        candidates: Other rows, each once, int32, in ascending distance to p.
        distances: Those squared distances, float32.
        count: How many there are.
        degree: Most to keep (R).
        alpha: The factor, on squared distances.
        strict: The code's condition on labels in place of the paper's.
        kept: int32, room for ``degree`` rows; filled.

    Returns:
        The number kept.
    """
    size = 0
    for place in range(count):
        if size == degree:
            break
        candidate = candidates[place]
        wanted = True
        for other in range(size):
            if (
                may_drop(label_starts, label_codes, row, candidate, kept[other], strict)
                and alpha * distance(vectors, kept[other], vectors[candidate]) <= distances[place]
            ):
                wanted = False
                break
        if wanted:
            kept[size] = candidate
            size += 1
    return size


@compiled
def _prune_list(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, ids, begins, ends, row, degree, alpha, strict, kept
):
    count = ends[row] - begins[row]
    candidates = np.empty(count, dtype=np.int32)
    distances = np.empty(count, dtype=np.float32)
    unused = np.empty(count, dtype=np.bool_)
    size = 0
    for slot in range(begins[row], ends[row]):
        near = distance(vectors, ids[slot], vectors[row])
        size, _ = insert(candidates, distances, unused, size, ids[slot], near)
    size = robust_prune(
        vectors, label_starts, label_codes, row, candidates, distances, size, degree, alpha, strict, kept
    )
    ids[begins[row] : begins[row] + size] = kept[:size]
    ends[row] = begins[row] + size


@compiled
def prune_rows(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, start_of, ids, begins, ends, degree, alpha, strict, everywhere
):
    """Prune the lists that are longer than ``degree``, or all of them; arguments as in :func:`insert_rows`."""
    kept = np.empty(degree, dtype=np.int32)
    for row in range(begins.shape[0]):
        if everywhere or ends[row] - begins[row] > degree:
            _prune_list(vectors, label_starts, label_codes, ids, begins, ends, row, degree, alpha, strict, kept)


@compiled
def insert_rows(  # type: ignore[no-untyped-def]
    vectors,
    label_starts,
    label_codes,
    start_of,
    ids,
    begins,
    ends,
    order,
    marks,
    mark,
    room,
    degree,
    beam,
    alpha,
    strict,
):
    """Insert rows one by one: search for each, prune what the search passed, and add edges back.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        label_starts: Where the labels of a row begin, int64, shape (n + 1,).
        label_codes: Labels, ascending in each row, int32.
        start_of: The row where searches for a label begin, int32, shape (labels,).
        ids: Neighbours, int32; row r has ids[begins[r]:ends[r]] and room behind.
        begins: Where a row's neighbours begin, int64, shape (n,).
        ends: Where they end, int64, shape (n,).
        order: The rows to insert, in this order, shape (count,).
        marks: Working space, int32, shape (n,).
        mark: The number of the first of these searches.
        room: Places a row has.
        degree: Most neighbours after a prune.
        beam: Size of the candidate list.
        alpha: As in :func:`robust_prune`, like the last.
        strict: Whether the rule is that of the published code.
    """
    rows = np.empty(beam, dtype=np.int32)
    distances = np.empty(beam, dtype=np.float32)
    expanded = np.empty(beam, dtype=np.bool_)
    path_rows = np.empty(_MOST_CANDIDATES, dtype=np.int32)
    path_distances = np.empty(_MOST_CANDIDATES, dtype=np.float32)
    unused = np.empty(_MOST_CANDIDATES, dtype=np.bool_)
    kept = np.empty(degree, dtype=np.int32)
    for step in range(order.shape[0]):
        row = np.int32(order[step])
        wanted = label_codes[label_starts[row] : label_starts[row + 1]]
        _, count, _, _, _ = greedy_search(
            vectors,
            vectors[row],
            ids,
            begins,
            ends,
            label_starts,
            label_codes,
            wanted,
            start_of[wanted],
            rows,
            distances,
            expanded,
            marks,
            mark + step + 1,
            path_rows,
            path_distances,
        )
        # The candidates are the path and the neighbours that a start may have before its turn, without the row itself.
        for slot in range(begins[row], ends[row]):
            known = False
            for place in range(count):
                known = known or path_rows[place] == ids[slot]
            if not known:
                near = distance(vectors, ids[slot], vectors[row])
                count, _ = insert(path_rows, path_distances, unused, count, ids[slot], near)
        for place in range(count):
            if path_rows[place] == row:
                path_rows[place : count - 1] = path_rows[place + 1 : count].copy()
                path_distances[place : count - 1] = path_distances[place + 1 : count].copy()
                count -= 1
                break
        size = robust_prune(
            vectors, label_starts, label_codes, row, path_rows, path_distances, count, degree, alpha, strict, kept
        )
        ids[begins[row] : begins[row] + size] = kept[:size]
        ends[row] = begins[row] + size
        for slot in range(begins[row], ends[row]):
            other = ids[slot]
            present = False
            for place in range(begins[other], ends[other]):
                present = present or ids[place] == row
            if present:
                continue
            ids[ends[other]] = row
            ends[other] += 1
            if ends[other] - begins[other] == room:
                _prune_list(vectors, label_starts, label_codes, ids, begins, ends, other, degree, alpha, strict, kept)
