"""The graph of ACORN: many more candidates than HNSW keeps, none dropped for lying in a direction already taken.

Patel, Kraft, Guestrin and Zaharia, "ACORN: Performant and Predicate-Agnostic Search Over Vector Embeddings and
Structured Data" (SIGMOD 2024), section 5.2. Every list stands in ascending distance from its row, because searches take
the first entries that pass and expand the entries after the first M_beta.
"""

from __future__ import annotations

import numpy as np

from embedworks.foundation import InputError, progress_bar
from embedworks.index.structures.kernels import compiled, nearer
from embedworks.index.structures.layers import LayeredGraph, draw_levels, go_down, nearest_in_layer, upper_starts
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.workspace import fixed

_ROWS_AT_A_TIME = 500


def build_acorn(
    vectors: Vectors, *, degree: int, expansion: int, compression: int, seed: int = 0, progress: bool = False
) -> LayeredGraph:
    """Build the graph over rows of length 1.

    A list above layer 0 keeps the M gamma nearest. In layer 0, where 2 M gamma candidates are collected, the nearest
    M_beta are kept, and of the rest those that no kept one of the rest has as a neighbour, until the rows so reached
    are 2 M gamma; there is room for M_beta + 1.5 M, or for M_beta where gamma is 1. Unlike the published code, which
    stops to look as soon as it has seen enough candidates, the search for candidates runs until it converges.

    Args:
        vectors: float32, shape (n, d), n at least 1.
        degree: The paper's M.
        expansion: The paper's gamma.
        compression: The paper's M_beta.
        seed: Of the levels.
        progress: Whether to show a bar.

    Returns:
        The graph.

    Raises:
        InputError: A setting is out of range.
    """
    if degree < 2 or expansion < 1 or not degree <= compression <= 2 * degree * expansion:
        raise InputError(
            f"degree is {degree}, expansion {expansion}, compression {compression}",
            where="ACORN",
            mend="take a degree of at least 2, and a compression between it and 2 x degree x expansion",
        )
    width = compression + (3 * degree // 2 if expansion > 1 else 0)
    levels = draw_levels(len(vectors), degree, seed)
    starts = upper_starts(levels)
    links = np.full((len(vectors), width), -1, dtype=np.int32)
    upper = np.full((int(starts[-1]), degree * expansion), -1, dtype=np.int32)
    # How far each neighbour is: needed while building, to keep the lists in order, and not stored.
    lengths, upper_lengths = np.empty(links.shape, dtype=np.float32), np.empty(upper.shape, dtype=np.float32)
    marks = np.zeros((2, len(vectors)), dtype=np.int32)
    entry, stamp = 0, 0
    with progress_bar("building the graph", len(vectors), unit="rows", enabled=progress) as advance:
        for first in range(1, len(vectors), _ROWS_AT_A_TIME):
            last = min(first + _ROWS_AT_A_TIME, len(vectors))
            entry, stamp = _insert_rows(
                fixed(vectors),
                first,
                last,
                levels,
                links,
                lengths,
                upper,
                upper_lengths,
                starts,
                entry,
                compression,
                2 * degree * expansion,
                marks,
                stamp,
            )
            advance(last - first)
    return LayeredGraph(levels, links, upper, int(entry))


@compiled
def _insert_rows(  # type: ignore[no-untyped-def]
    vectors, first, last, levels, links, lengths, upper, upper_lengths, starts, entry, direct, budget, marks, stamp
):
    seen, reached = marks[0], marks[1]
    rows = np.empty(budget, dtype=np.int32)
    distances = np.empty(budget, dtype=np.float32)
    expanded = np.empty(budget, dtype=np.bool_)
    merged_rows = np.empty(links.shape[1] + 1, dtype=np.int32)
    merged_distances = np.empty(links.shape[1] + 1, dtype=np.float32)
    for row in range(first, last):
        top, level = np.int64(levels[entry]), np.int64(levels[row])
        query = vectors[row]
        rows[0], distances[0], _, _ = go_down(vectors, upper, starts, query, entry, top, level)
        size = 1
        for layer in range(min(top, level), 0, -1):
            stamp += 1
            wide = upper.shape[1]
            size = nearest_in_layer(
                vectors,
                upper,
                layer - 1,
                starts,
                query,
                rows[:wide],
                distances[:wide],
                expanded[:wide],
                size,
                seen,
                stamp,
            )
            line = starts[row] + layer - 1
            for place in range(size):
                upper[line, place], upper_lengths[line, place] = rows[place], distances[place]
                other_line = starts[rows[place]] + layer - 1
                _insert_in_order(upper[other_line], upper_lengths[other_line], row, distances[place])
        stamp += 1
        size = nearest_in_layer(vectors, links, -1, starts, query, rows, distances, expanded, size, seen, stamp)
        stamp += 1
        number = _compress(rows, distances, size, direct, budget, links, reached, stamp, links[row], lengths[row])
        for place in range(number):
            other = links[row, place]
            list_rows, list_distances = links[other], lengths[other]
            if list_rows[list_rows.shape[0] - 1] < 0:
                _insert_in_order(list_rows, list_distances, row, lengths[row, place])
                continue
            merged_rows[:-1], merged_distances[:-1] = list_rows, list_distances
            merged_rows[-1] = -1
            _insert_in_order(merged_rows, merged_distances, row, lengths[row, place])
            stamp += 1
            _compress(
                merged_rows,
                merged_distances,
                merged_rows.shape[0],
                direct,
                budget,
                links,
                reached,
                stamp,
                list_rows,
                list_distances,
            )
        if level > top:
            entry = row
    return entry, stamp


@compiled
def _insert_in_order(rows, distances, row, row_distance):  # type: ignore[no-untyped-def]
    """Put a row into a list that ends at its first -1; where it is full, the furthest goes."""
    place = rows.shape[0]
    while place > 0 and (rows[place - 1] < 0 or nearer(row_distance, row, distances[place - 1], rows[place - 1])):
        place -= 1
        if place + 1 < rows.shape[0]:
            rows[place + 1], distances[place + 1] = rows[place], distances[place]
    if place < rows.shape[0]:
        rows[place], distances[place] = row, row_distance


@compiled
def _compress(rows, distances, count, direct, budget, links, reached, stamp, line, line_distances):  # type: ignore[no-untyped-def]
    """Choose a list of layer 0 from candidates in ascending distance; returns its length (section 5.2 of the paper)."""
    size = 0
    number_reached = 0
    for place in range(count):
        row = rows[place]
        if size == line.shape[0] or (place >= direct and number_reached >= budget):
            break
        if place >= direct:
            if reached[row] == stamp:
                continue
            for other in links[row]:
                if other < 0:
                    break
                if reached[other] != stamp:
                    reached[other] = stamp
                    number_reached += 1
        if reached[row] != stamp:
            reached[row] = stamp
            number_reached += 1
        line[size], line_distances[size] = row, distances[place]
        size += 1
    line[size:] = -1
    return size
