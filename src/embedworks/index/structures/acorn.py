"""ACORN: search in the part of a dense graph that passes, without having known any filter when it was built.

Patel, Kraft, Guestrin and Zaharia, "ACORN: Performant and Predicate-Agnostic Search Over Vector Embeddings and
Structured Data" (SIGMOD 2024). Distances are computed for rows that pass alone. Differences from the published code,
each where that code is at fault: the row where the search begins is answered only if it passes, a row counts once
towards the limit on neighbours, and the filter is not evaluated ahead for a whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.acorn_graph import build_acorn
from embedworks.index.structures.filters import RowFilter
from embedworks.index.structures.kernels import compiled, distance, nearer, pop, push
from embedworks.index.structures.layers import LayeredGraph
from embedworks.index.structures.prefilter import scan
from embedworks.index.structures.structure import Arrays, Counters, Found, Structure, Vectors, checked_vectors
from embedworks.index.structures.workspace import Workspace, checked_query, fixed

DEGREE = 32
EXPANSION = 12
COMPRESSION = 64
SEEDS = 16
"""Rows that pass, drawn at random, from which a search begins beside the entry, where that fails the filter."""


class Acorn(Structure):
    """What both forms have in common.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: Built over them by :func:`build_acorn`.
        facts: The settings: degree (M), expansion (gamma), compression (M_beta), seeded, seed.
    """

    expand_every: ClassVar[bool]
    """Whether the neighbours of every neighbour are looked at, or those of the neighbours after the first M_beta."""

    def __init__(self, vectors: Vectors, graph: LayeredGraph, facts: Mapping[str, Any]) -> None:
        super().__init__(fixed(vectors))
        self.graph = graph
        self.settings = dict(facts)
        self.workspace = Workspace(len(vectors))
        self._draws = random_generator(self.settings["seed"], "acorn", "seeds").random(SEEDS)

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows that pass, as far as a beam of max(beam, k) finds them; it may find fewer."""
        asked = checked_query(query, self.vectors.shape[1], k)
        wanted = min(k, where.count)
        degree = self.settings["degree"]
        workspace = self.workspace
        rows, distances, compared, hops, rejected = _search(
            self.vectors,
            *self.graph.read_only,
            self.graph.entry,
            self.graph.top,
            asked,
            fixed(where.mask),
            self._seeds(where),
            max(beam, wanted, 1),
            degree,
            0 if self.expand_every else self.settings["compression"],
            workspace.seen,
            workspace.gathered,
            workspace.stamps(self.rows + 1),
            workspace.open_rows,
            workspace.open_distances,
        )
        return Found(rows[:wanted].astype(np.int64), distances[:wanted], Counters(compared, hops, rejected))

    def _seeds(self, where: RowFilter) -> NDArray[np.int64]:
        """Where the entry fails, begin at some rows that pass too, as the paper does not but Lance and Weaviate do."""
        if not self.settings["seeded"] or where.mask[self.graph.entry]:
            return np.empty(0, dtype=np.int64)
        return where.passing[(self._draws * where.count).astype(np.int64)] if where.count else where.passing

    def arrays(self) -> Arrays:
        """Return the graph."""
        return self.graph.arrays()

    def facts(self) -> dict[str, Any]:
        """Return the settings, and where searches begin."""
        return {**self.settings, "entry": self.graph.entry}

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return the graph over the vectors."""
        settings = {name: value for name, value in facts.items() if name != "entry"}
        return cls(vectors, LayeredGraph.restore(arrays, facts["entry"]), settings)


class AcornGamma(Acorn):
    """Lists of M gamma candidates, compressed in layer 0, so that about M of them pass the filters it is planned for.

    A filter that less than one row in gamma passes is answered by comparing all that pass, as the paper has it.

    Example:
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"year": [2024, 2026]}))
        >>> acorn = AcornGamma.build(np.eye(2, dtype=np.float32))
        >>> acorn.search(np.eye(2, dtype=np.float32)[0], 1, attributes.range("year", low=2025), beam=10).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "acorn-gamma"
    expand_every: ClassVar[bool] = False

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        degree: int = DEGREE,
        expansion: int = EXPANSION,
        compression: int = COMPRESSION,
        seeded: bool = True,
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Build the graph.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            degree: The paper's M.
            expansion: The paper's gamma, 1 / the least selectivity that the graph is for.
            compression: The paper's M_beta: entries of a list in layer 0 that are not expanded.
            seeded: Whether a search whose entry fails the filter begins at some random rows that pass, too.
            seed: Of levels and seeds; one seed gives one graph.
            progress: Whether to show a bar.

        Raises:
            InputError: A row cannot be used, or a setting is out of range.
        """
        rows = checked_vectors(vectors)
        settings = {"degree": degree, "expansion": expansion, "compression": compression}
        graph = build_acorn(rows, **settings, seed=seed, progress=progress)
        return cls(rows, graph, {**settings, "seeded": seeded, "seed": seed})

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows that pass, as far as a beam of max(beam, k) finds them; it may find fewer."""
        if where.selectivity * self.settings["expansion"] >= 1:
            return super().search(query, k, where, beam=beam)
        asked = checked_query(query, self.vectors.shape[1], k)
        rows, distances = scan(self.vectors, asked, where.passing, min(k, where.count))
        return Found(rows, distances, Counters(distances=where.count), exact=True)


class Acorn1(Acorn):
    """Lists of 2 M candidates, and a search that looks at the neighbours of all neighbours: a small, slower index.

    Example:
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"year": [2024, 2026]}))
        >>> acorn = Acorn1.build(np.eye(2, dtype=np.float32))
        >>> acorn.search(np.eye(2, dtype=np.float32)[0], 1, attributes.range("year", low=2025), beam=10).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "acorn-1"
    expand_every: ClassVar[bool] = True

    @classmethod
    def build(
        cls, vectors: Vectors, *, degree: int = DEGREE, seeded: bool = True, seed: int = 0, progress: bool = False
    ) -> Self:
        """Build the graph: that of ACORN-gamma with gamma = 1 and M_beta = 2 M.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            degree: The paper's M.
            seeded: Whether a search whose entry fails the filter begins at some random rows that pass, too.
            seed: Of levels and seeds; one seed gives one graph.
            progress: Whether to show a bar.

        Raises:
            InputError: A row cannot be used, or a setting is out of range.
        """
        rows = checked_vectors(vectors)
        settings = {"degree": degree, "expansion": 1, "compression": 2 * degree}
        graph = build_acorn(rows, **settings, seed=seed, progress=progress)
        return cls(rows, graph, {**settings, "seeded": seeded, "seed": seed})


@compiled
def _go_down(vectors, upper, starts, entry, top, query, mask, degree):  # type: ignore[no-untyped-def]
    """Walk down among rows that pass, at most ``degree`` of a list; a row that fails is left for any that passes."""
    best, best_distance = np.int32(entry), np.float32(-1)
    compared, hops, rejected = 0, 0, 0
    passes = mask[best]
    if passes:
        best_distance = distance(vectors, best, query)
        compared += 1
    for layer in range(top, 0, -1):
        moved = True
        while moved:
            moved = False
            line = starts[best] + layer - 1
            hops += 1
            number = 0
            for place in range(upper.shape[1]):
                other = upper[line, place]
                if other < 0 or number == degree:
                    break
                if not mask[other]:
                    rejected += 1
                    continue
                number += 1
                compared += 1
                other_distance = distance(vectors, other, query)
                if not passes or nearer(other_distance, other, best_distance, best):
                    best, best_distance, passes, moved = other, other_distance, True, True
    return best, best_distance, compared, hops, rejected


@compiled
def _gather(links, row, mask, limit, direct, gathered, tick, seen, stamp, fresh):  # type: ignore[no-untyped-def]
    """Find the neighbours of a row in the graph of those that pass, at most ``limit``, each once.

    Returns:
        How many of them no earlier call has found (they stand in ``fresh``), and how many entries failed.
    """
    number, count, rejected = 0, 0, 0
    width = links.shape[1]
    for place in range(width):
        middle = links[row, place]
        if middle < 0:
            break
        # The entry itself, and after the first ``direct`` entries its neighbours too, which compression had dropped.
        for further in range(-1, width if place >= direct else 0):
            other = middle if further < 0 else links[middle, further]
            if other < 0:
                break
            if not mask[other]:
                rejected += 1
                continue
            if gathered[other] == tick:
                continue
            gathered[other] = tick
            number += 1
            if seen[other] != stamp:
                seen[other] = stamp
                fresh[count] = other
                count += 1
            if number == limit:
                return count, rejected
    return count, rejected


@compiled
def _search(  # type: ignore[no-untyped-def]
    vectors,
    links,
    upper,
    starts,
    entry,
    top,
    query,
    mask,
    seeds,
    beam,
    degree,
    direct,
    seen,
    gathered,
    stamp,
    open_rows,
    open_distances,
):
    row, row_distance, compared, hops, rejected = _go_down(vectors, upper, starts, entry, top, query, mask, degree)
    limit = 2 * degree  # the paper's M, the published code's 2 M
    fresh = np.empty(limit, dtype=np.int32)
    # The heap's top is the nearest; with the signs turned it is the furthest, which is what a full beam gives up.
    best_rows = np.empty(beam + 1, dtype=np.int32)
    best_distances = np.empty(beam + 1, dtype=np.float32)
    size = 0
    seen[row] = stamp
    # A row that fails has the distance -1: it is read first, and never answered.
    waiting = push(open_rows, open_distances, 0, row, row_distance)
    if mask[row]:
        size = push(best_rows, best_distances, size, -row, -row_distance)
    base = hops
    count = 0
    for place in range(seeds.shape[0]):
        other = np.int32(seeds[place])
        if seen[other] != stamp and count < limit:
            seen[other] = stamp
            fresh[count] = other
            count += 1
    while True:
        compared += count
        for place in range(count):
            other = fresh[place]
            other_distance = distance(vectors, other, query)
            if size == beam:
                if not nearer(other_distance, other, -best_distances[0], -best_rows[0]):
                    continue
                size = pop(best_rows, best_distances, size)
            size = push(best_rows, best_distances, size, np.int32(-other), -other_distance)
            waiting = push(open_rows, open_distances, waiting, other, other_distance)
        if waiting == 0:
            break
        row, row_distance = open_rows[0], open_distances[0]
        if size == beam and nearer(-best_distances[0], -best_rows[0], row_distance, row):
            break
        waiting = pop(open_rows, open_distances, waiting)
        hops += 1
        count, failed = _gather(links, row, mask, limit, direct, gathered, stamp + hops - base, seen, stamp, fresh)
        rejected += failed
    rows = np.empty(size, dtype=np.int32)
    distances = np.empty(size, dtype=np.float32)
    while size > 0:
        rows[size - 1], distances[size - 1] = -best_rows[0], -best_distances[0]
        size = pop(best_rows, best_distances, size)
    return rows, distances, compared, hops, rejected
