"""UNG's edges between groups against a slow oracle: every row, every superset, every distance in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.ung_cross_edges import cross_edges
from embedworks.index.structures.ung_label_graph import LabelGroups
from embedworks.index.structures.vamana import Adjacency

Edges = set[tuple[int, int]]


def gaussian(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = random_generator(seed, "gaussian").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def groups_of(sets: list[list[str]]) -> LabelGroups:
    column = Attributes(pa.table({"tags": pa.array(sets, pa.list_(pa.string()))})).column("tags")
    assert isinstance(column, LabelColumn)
    return LabelGroups.of(column)


def ring(groups: LabelGroups, step: int) -> Adjacency:
    """Within each group a row leads to the next ``step`` rows."""
    sources, targets = [], []
    for first, last in zip(groups.member_starts[:-1].tolist(), groups.member_starts[1:].tolist(), strict=True):
        for row in range(first, last):
            near = {first + (row - first + ahead) % (last - first) for ahead in range(1, step + 1)} - {row}
            sources += [row] * len(near)
            targets += sorted(near)
    rows = int(groups.member_starts[-1])
    return Adjacency.from_edges(rows, np.array(sources, dtype=np.int64), np.array(targets, dtype=np.int64))


def oracle(slow: Any, inside: Adjacency, groups: LabelGroups, medoids: list[int], degree: int, beam: int) -> Edges:
    """Section by section of the definition; rows are places in the order of the groups."""
    lists = [inside.of(row).tolist() for row in range(len(slow.vectors))]
    sets = [frozenset(groups.labels(group)) for group in range(len(groups))]
    places = [
        range(first, last)
        for first, last in zip(groups.member_starts[:-1].tolist(), groups.member_starts[1:].tolist(), strict=True)
    ]
    edges: Edges = set()
    for group, labels in enumerate(sets):
        larger = [other for other in range(len(sets)) if labels < sets[other]]
        minimal = [other for other in larger if not any(sets[third] < sets[other] for third in larger)]
        best: dict[tuple[int, int], list[int]] = {}
        for row in places[group]:
            found = []
            for other in minimal:
                if len(places[other]) <= beam:
                    near = sorted(places[other], key=lambda place: (slow.between(place, row), place))
                else:
                    near, _ = slow.greedy_search(lists, slow.vectors[row], [medoids[other]], beam, None)
                best[row, other] = near
                found += near[:degree]
            edges |= {(row, place) for place in sorted(found, key=lambda place: slow.between(place, row))[:degree]}
        for other in minimal:
            if not any((row, place) in edges for row in places[group] for place in places[other]):
                pairs = sorted((slow.between(best[row, other][0], row), row) for row in places[group])
                edges |= {(row, best[row, other][0]) for _, row in pairs[:degree]}
    return edges


def linked(
    vectors: Vectors, inside: Adjacency, groups: LabelGroups, medoids: list[int], *, degree: int, beam: int
) -> Edges:
    sources, targets = cross_edges(vectors, inside, groups, np.array(medoids, dtype=np.int32), degree=degree, beam=beam)
    pairs = list(zip(sources.tolist(), targets.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    return set(pairs)


def some_sets(rows: int, seed: int) -> list[list[str]]:
    generator = random_generator(seed, "sets")
    return [sorted(set(generator.choice(list("abcd"), generator.integers(0, 4)).tolist())) for _ in range(rows)]


@pytest.mark.parametrize(("degree", "beam"), [(1, 100), (3, 100), (6, 100), (2, 6), (4, 12)])
def test_edges_are_those_of_the_oracle(slow_vamana: Any, degree: int, beam: int) -> None:
    groups = groups_of(some_sets(160, degree))
    vectors, inside = gaussian(160, degree), ring(groups, 4)
    assert np.diff(groups.member_starts).max() > 12  # so that small beams search, and large ones compare all
    medoids = groups.member_starts[:-1].tolist()
    slow = slow_vamana(vectors, [set()] * 160)
    found = linked(vectors, inside, groups, medoids, degree=degree, beam=beam)
    assert found == oracle(slow, inside, groups, medoids, degree, beam)


def test_a_group_that_no_nearest_row_lies_in_is_linked_by_the_nearest_pairs() -> None:
    groups = groups_of([["a"]] * 4 + [["a", "b"]] * 6 + [["a", "c"]] * 2)
    angles = np.concatenate([np.linspace(0, 0.3, 4), np.linspace(0, 0.3, 6), [2.0, 2.5]])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = linked(vectors, ring(groups, 1), groups, [0, 4, 10], degree=2, beam=50)
    far = {(row, place) for row, place in found if place >= 10}
    assert far == {(3, 10), (2, 10)}  # the two rows of {a} nearest to {a, c}, each with its nearest row there
    assert all(len([place for row, place in found if row == source and place < 10]) == 2 for source in range(4))


def test_equal_rows_and_no_supersets() -> None:
    vectors = np.repeat(gaussian(1, 0), 30, axis=0)
    groups = groups_of([["a"]] * 10 + [["a", "b"]] * 20)
    found = linked(vectors, ring(groups, 2), groups, [0, 10], degree=3, beam=50)
    assert found == {(row, place) for row in range(10) for place in (10, 11, 12)}
    alone = groups_of([["a"]] * 10 + [["b"]] * 20)
    assert linked(vectors, ring(alone, 2), alone, [0, 10], degree=3, beam=50) == set()
