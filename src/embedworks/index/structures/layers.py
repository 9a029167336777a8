"""A graph in layers, as HNSW and ACORN keep it: how high each row reaches, its neighbours, and the way down.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs" (2018). Layer 0 holds all rows; a row of level l is in the layers 1 to l too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.kernels import compiled, distance, insert, nearer
from embedworks.index.structures.structure import Arrays
from embedworks.index.structures.workspace import fixed


@dataclass(frozen=True, eq=False)
class LayeredGraph:
    """Neighbours by layer; a list ends at its first -1.

    Args:
        levels: The highest layer each row is in, int8, shape (n,).
        links: Neighbours in layer 0, int32, shape (n, width).
        upper_links: Neighbours in the layers above: one line for each row and layer, those of a row together, from
            layer 1 upwards; int32, shape (sum of levels, upper width).
        entry: The first row of the highest layer, where every search begins.
    """

    levels: NDArray[np.int8]
    links: NDArray[np.int32]
    upper_links: NDArray[np.int32]
    entry: int

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each row's lines begin in ``upper_links``, int64, shape (n + 1,)."""
        return upper_starts(self.levels)

    @property
    def top(self) -> int:
        """The highest layer."""
        return int(self.levels[self.entry])

    def arrays(self) -> Arrays:
        """Return what is stored."""
        return {"levels": self.levels, "links": self.links, "upper_links": self.upper_links}

    @cached_property
    def read_only(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """Links, upper links and starts as compiled searches take them."""
        return fixed(self.links), fixed(self.upper_links), fixed(self.starts)

    @classmethod
    def restore(cls, arrays: Mapping[str, NDArray[Any]], entry: int) -> LayeredGraph:
        """Return what :meth:`arrays` describes.

        Raises:
            StorageError: The arrays do not fit each other.
        """
        levels, links, upper = (np.asarray(arrays[name]) for name in ("levels", "links", "upper_links"))
        if len(levels) != len(links) or len(upper) != int(levels.sum(dtype=np.int64)) or not 0 <= entry < len(levels):
            raise StorageError("levels and links do not fit", where="graph", mend="build the structure again")
        return cls(levels, links, upper, entry)


def draw_levels(rows: int, degree: int, seed: int) -> NDArray[np.int8]:
    """Draw the highest layer of each row: floor(-ln(U) / ln(degree)), U uniform on (0, 1].

    Args:
        rows: How many.
        degree: The papers' M.
        seed: The same seed gives a row the same level, however many rows there are.

    Returns:
        int8, shape (rows,).
    """
    uniform = 1.0 - random_generator(seed, "graph levels").random(rows)
    levels: NDArray[np.int8] = np.floor(-np.log(uniform) / np.log(degree)).astype(np.int8)
    return levels


def upper_starts(levels: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return where each row's lines begin in the links above layer 0, int64, shape (n + 1,)."""
    starts = np.zeros(len(levels) + 1, dtype=np.int64)
    np.cumsum(levels, out=starts[1:])
    return starts


@compiled
def go_down(vectors, upper_links, starts, query, row, top, bottom):  # type: ignore[no-untyped-def]
    """Walk to the row nearest to the query, layer by layer, with a beam of one.

    Args:
        vectors: float32, shape (n, d).
        upper_links: int32, shape (lines, width).
        starts: int64, shape (n + 1,).
        query: float32, shape (d,).
        row: Where to begin, a row of layer ``top``.
        top: The first layer to walk.
        bottom: The layer to stop above; at least 0.

    Returns:
        The row reached, its distance, the distances computed, the nodes read.
    """
    best = row
    best_distance = distance(vectors, row, query)
    compared, hops = 1, 0
    for layer in range(top, bottom, -1):
        moved = True
        while moved:
            moved = False
            line = starts[best] + layer - 1
            hops += 1
            for place in range(upper_links.shape[1]):
                other = upper_links[line, place]
                if other < 0:
                    break
                compared += 1
                other_distance = distance(vectors, other, query)
                if nearer(other_distance, other, best_distance, best):
                    best, best_distance, moved = other, other_distance, True
    return best, best_distance, compared, hops


@compiled
def nearest_in_layer(vectors, links, shift, starts, query, rows, distances, expanded, size, seen, stamp):  # type: ignore[no-untyped-def]
    """Search one layer best-first with a candidate list of fixed size (the papers' SEARCH-LAYER).

    Args:
        vectors: float32, shape (n, d).
        links: Neighbours, int32, shape (lines, width).
        shift: -1 where line r belongs to row r (layer 0); else layer - 1, added to a row's start.
        starts: Where each row's lines begin, int64, shape (n + 1,).
        query: float32, shape (d,).
        rows: The list, int32, shape (beam,); its first ``size`` entries are where the search begins, ascending.
        distances: Their distances, float32, shape (beam,).
        expanded: Working space, bool, shape (beam,).
        size: Filled entries.
        seen: Marks, int32, shape (n,).
        stamp: The number of this search.

    Returns:
        The filled entries; the nearest rows that were found, ascending, stand in ``rows``.
    """
    fresh = np.empty(links.shape[1], dtype=np.int32)
    for place in range(size):
        expanded[place] = False
        seen[rows[place]] = stamp
    following = 0
    while following < size:
        if expanded[following]:
            following += 1
            continue
        expanded[following] = True
        row = rows[following]
        line = row if shift < 0 else starts[row] + shift
        count = 0
        for place in range(links.shape[1]):
            other = links[line, place]
            if other < 0:
                break
            if seen[other] != stamp:
                seen[other] = stamp
                fresh[count] = other
                count += 1
        for place in range(count):
            other = fresh[place]
            size, taken = insert(rows, distances, expanded, size, other, distance(vectors, other, query))
            following = min(following, taken)
    return size
