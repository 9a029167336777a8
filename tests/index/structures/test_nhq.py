"""NHQ's fusion distance, its graph edge for edge, and what its answers may and may not hold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import STRUCTURES, Attributes, structure_class
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.nhq import FusionGraph
from embedworks.index.structures.structure import Vectors

LABELS = "abc"


class SlowFusion:
    """The navigable small world under the fused distance, in plain Python and float64."""

    def __init__(self, vectors: Vectors, sets: list[set[int]], vector_weight: float, label_weight: float) -> None:
        self.vectors = vectors.astype(np.float64)
        self.sets = sets
        self.weights = vector_weight, label_weight

    def between(self, left: int, right: int) -> float:
        own, other = self.sets[left], self.sets[right]
        far = max(0.0, 2 - 2 * float(self.vectors[left] @ self.vectors[right]))
        return self.weights[0] * far + self.weights[1] * max(len(own - other), len(other - own))

    def asked(self, row: int, query: Vectors, wanted: set[int], *, every: bool) -> float:
        far = max(0.0, 2 - 2 * float(self.vectors[row] @ query.astype(np.float64)))
        missing = len(wanted - self.sets[row]) if every else int(bool(wanted) and not wanted & self.sets[row])
        return self.weights[0] * far + self.weights[1] * missing

    def search(self, graph: list[list[int]], row: int, start: int, beam: int) -> list[int]:
        seen, done = {start}, set[int]()
        while True:
            best = sorted(seen, key=lambda other: (self.between(other, row), other))[:beam]
            left = [other for other in best if other not in done]
            if not left:
                return best
            done.add(left[0])
            seen |= set(graph[left[0]])

    def choose(self, row: int, candidates: list[int], limit: int) -> list[int]:
        kept: list[int] = []
        for other in sorted(candidates, key=lambda each: (self.between(each, row), each)):
            if len(kept) < limit and all(self.between(other, near) > self.between(other, row) for near in kept):
                kept.append(other)
        return kept

    def build(self, order: list[int], degree: int, beam: int) -> list[list[int]]:
        graph: list[list[int]] = [[] for _ in order]
        for row in order[1:]:
            graph[row] = self.choose(row, self.search(graph, row, order[0], beam), degree)
            for other in graph[row]:
                graph[other] = [*graph[other], row]
                if len(graph[other]) > 2 * degree:
                    graph[other] = self.choose(other, graph[other], 2 * degree)
        return graph


def gaussian(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = random_generator(seed, "gaussian").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tagged(sets: list[list[str]]) -> tuple[Attributes, LabelColumn, list[set[int]]]:
    attributes = Attributes(pa.table({"tags": pa.array(sets, pa.list_(pa.string())), "place": np.arange(len(sets))}))
    column = attributes.column("tags")
    assert isinstance(column, LabelColumn)
    return attributes, column, [{column.code(label) for label in labels} for labels in sets]


def some_sets(rows: int, seed: int) -> list[list[str]]:
    generator = random_generator(seed, "sets")
    return [sorted(set(generator.choice(list(LABELS), generator.integers(0, 3)).tolist())) for _ in range(rows)]


@lru_cache(maxsize=1)
def built() -> tuple[FusionGraph, SlowFusion, Attributes]:
    vectors = gaussian(150, 0)
    attributes, column, sets = tagged(some_sets(150, 0))
    graph = FusionGraph.build(vectors, column, attribute="tags", degree=8, beam=30, label_weight=0.5)
    return graph, SlowFusion(vectors, sets, 1.0, 0.5), attributes


@pytest.mark.parametrize(
    ("degree", "beam", "weights"), [(2, 10, (1.0, 0.7)), (5, 20, (0.5, 1.0)), (20, 60, (1.0, 3.0))]
)
def test_the_graph_is_that_of_the_oracle_edge_for_edge(degree: int, beam: int, weights: tuple[float, float]) -> None:
    vectors = gaussian(130, degree)
    _, column, sets = tagged(some_sets(130, degree))
    graph = FusionGraph.build(
        vectors,
        column,
        attribute="tags",
        degree=degree,
        beam=beam,
        vector_weight=weights[0],
        label_weight=weights[1],
        seed=1,
    )
    order = random_generator(1, "order of insertion").permutation(130).tolist()
    slow = SlowFusion(vectors, sets, *weights).build(order, degree, beam)
    assert [graph.graph.of(row).tolist() for row in range(130)] == slow
    assert graph.start == order[0]


@given(
    wanted=st.lists(st.sampled_from(LABELS), max_size=3, unique=True),
    every=st.booleans(),
    k=st.sampled_from([1, 10, 150, 400]),
    seed=st.integers(0, 500),
)
def test_the_answer_is_that_of_the_additive_formula(wanted: list[str], every: bool, k: int, seed: int) -> None:
    graph, slow, attributes = built()
    where = attributes.labels("tags", wanted, every=every) if wanted else attributes.everything()
    column = attributes.column("tags")
    assert isinstance(column, LabelColumn)
    codes = {column.code(label) for label in wanted}
    query = gaussian(1, seed)[0]
    found = graph.search(query, k, where, beam=150)
    fused = [slow.asked(row, query, codes, every=every) for row in range(150)]
    expected = sorted(sorted(range(150), key=lambda row: (fused[row], row))[:k])
    assert sorted(found.rows.tolist()) == expected
    assert (np.diff(found.distances) >= 0).all()
    far = 2 - 2 * slow.vectors @ query.astype(np.float64)
    np.testing.assert_allclose(found.distances, far[found.rows], atol=2e-6)
    assert not found.exact


def test_it_alone_is_marked_as_one_that_may_violate() -> None:
    assert [kind for kind in STRUCTURES if structure_class(kind).may_violate] == ["nhq"]


def test_a_near_row_with_the_wrong_label_comes_before_a_far_one_with_the_right() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
    attributes, column, _ = tagged([["red"], ["red"], ["blue"]])
    where = attributes.labels("tags", ["blue"])
    answers = {}
    for weight in (0.5, 9.0):
        for refilter in (False, True):
            graph = FusionGraph.build(vectors, column, attribute="tags", label_weight=weight, refilter=refilter)
            answers[weight, refilter] = graph.search(vectors[0], 1, where, beam=3)
    # fused with weight 0.5: row 0 has 0 + 0.5, row 2 has 2 + 0
    assert answers[0.5, False].rows.tolist() == [0]
    assert answers[0.5, False].counters.rejected == 2
    assert answers[0.5, True].rows.tolist() == [2]
    assert answers[9.0, False].rows.tolist() == answers[9.0, True].rows.tolist() == [2]


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=3, unique=True), st.booleans(), st.integers(0, 500))
def test_what_is_filtered_again_never_fails(wanted: list[str], every: bool, seed: int) -> None:
    attributes, column, sets = tagged(some_sets(100, 4))
    graph = FusionGraph.build(gaussian(100, 4), column, attribute="tags", degree=6, beam=20, refilter=True)
    found = graph.search(gaussian(1, seed)[0], 10, attributes.labels("tags", wanted, every=every), beam=20)
    codes = {column.code(label) for label in wanted}
    for row in found.rows.tolist():
        assert codes <= sets[row] if every else codes & sets[row]


def test_a_heavy_label_finds_the_rows_that_pass() -> None:
    vectors = gaussian(2000, 6, 16)
    generator = random_generator(0, "colours")
    attributes = Attributes(pa.table({"tags": generator.choice(["red", "green", "blue", "grey"], 2000)}))
    column = attributes.column("tags")
    assert isinstance(column, LabelColumn)
    graph = FusionGraph.build(vectors, column, attribute="tags", label_weight=4.0, refilter=True)
    hits = 0
    for query in gaussian(40, 7, 16):
        where = attributes.labels("tags", [str(generator.choice(["red", "green", "blue", "grey"]))])
        far = np.where(where.mask, 2 - 2 * vectors @ query, np.inf)
        found = graph.search(query, 10, where, beam=150)
        hits += len(set(found.rows.tolist()) & set(np.argsort(far, kind="stable")[:10].tolist()))
    assert hits >= 0.95 * 400


def test_equal_rows_one_label_and_one_row() -> None:
    vectors = np.repeat(gaussian(20, 8), 5, axis=0)
    attributes, column, _ = tagged([["only"]] * 100)
    graph = FusionGraph.build(vectors, column, attribute="tags", degree=10)
    found = graph.search(vectors[0], 5, attributes.labels("tags", ["only"]), beam=100)
    assert set(found.distances.tolist()) == {found.distances[0]}
    alone, one, _ = tagged([[]])
    single = FusionGraph.build(vectors[:1], one, attribute="tags")
    assert single.search(vectors[0], 3, alone.everything(), beam=3).rows.tolist() == [0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_weight": 0.0}, "label_weight is 0.0"),
        ({"vector_weight": float("nan")}, "vector_weight is nan"),
        ({"degree": 0}, "degree is 0"),
    ],
)
def test_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    _, column, _ = tagged([["a"]] * 5)
    with pytest.raises(InputError, match=message):
        FusionGraph.build(gaussian(5, 0), column, attribute="tags", **settings)


def test_ranges_and_other_attributes_are_refused() -> None:
    graph, _, attributes = built()
    with pytest.raises(InputError, match="nhq answers no filter of the form a range"):
        graph.search(graph.vectors[0], 3, attributes.range("place", low=3), beam=10)
