"""Vamana against a slow oracle, edge for edge; reachability against a plain walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.kernels import prune
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.vamana import (
    Adjacency,
    LabelSets,
    check_settings,
    filtered_vamana,
    medoid,
    prune_graph,
    search_graph,
    vamana,
)
from embedworks.index.structures.vamana_kernels import robust_prune
from embedworks.index.structures.workspace import Workspace, fixed

NOTHING = np.zeros(0, dtype=np.int32)


def signs(rows: int, seed: int, dimension: int = 16) -> Vectors:
    """Rows of +-1/4: products are exact in float32 in any order, and many distances are equal."""
    return random_generator(seed, "signs").choice([-0.25, 0.25], (rows, dimension)).astype(np.float32)


def gaussian(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = random_generator(seed, "gaussian").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def some_labels(rows: int, seed: int, count: int = 4) -> list[set[int]]:
    generator = random_generator(seed, "labels")
    return [set(generator.choice(count, generator.integers(1, 4), replace=False).tolist()) for _ in range(rows)]


def label_sets(labels: list[set[int]]) -> LabelSets:
    starts = np.cumsum([0, *(len(each) for each in labels)])
    return LabelSets(starts, np.array([code for each in labels for code in sorted(each)], dtype=np.int32))


def graph_of(lists: list[list[int]]) -> Adjacency:
    sources = np.repeat(np.arange(len(lists)), [len(near) for near in lists])
    return Adjacency.from_edges(len(lists), sources, np.array([row for near in lists for row in near], dtype=np.int64))


def lists_of(graph: Adjacency) -> list[list[int]]:
    return [graph.of(row).tolist() for row in range(len(graph.starts) - 1)]


def starts_of(labels: list[set[int]], count: int = 4) -> np.ndarray:
    return np.array([next((row for row, own in enumerate(labels) if code in own), -1) for code in range(count)], "i4")


def reached(lists: list[list[int]], start: int, allowed: set[int]) -> set[int]:
    seen, open_rows = {start}, [start]
    while open_rows:
        for row in lists[open_rows.pop()]:
            if row in allowed and row not in seen:
                seen.add(row)
                open_rows.append(row)
    return seen


SETS = [pytest.param(make, id=make.__name__) for make in (signs, gaussian)]


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize(("degree", "beam", "alpha"), [(4, 8, 1.2), (8, 20, 1.0), (3, 40, 2.0), (1, 1, 1.2)])
def test_vamana_is_that_of_the_oracle_edge_for_edge(
    slow_vamana: Any, make: Any, degree: int, beam: int, alpha: float
) -> None:
    for rows in (1, 2, 60):
        vectors = make(rows, rows)
        order = random_generator(rows, "order").permutation(rows)
        start = medoid(vectors)
        graph = vamana(vectors, start, order, degree=degree, beam=beam, alpha=alpha)
        slow = slow_vamana(vectors, [{0}] * rows)
        assert lists_of(graph) == slow.build([start], order.tolist(), degree=degree, beam=beam, alpha=alpha)
        assert np.diff(graph.starts).max() <= degree


@pytest.mark.parametrize("make", SETS)
@pytest.mark.parametrize("rule", ["paper", "code"])
def test_filtered_vamana_is_that_of_the_oracle_edge_for_edge(slow_vamana: Any, make: Any, rule: Any) -> None:
    vectors, labels = make(70, 3), some_labels(70, 3)
    starts, order = starts_of(labels), random_generator(4, "order").permutation(70)
    settings: dict[str, Any] = {"degree": 5, "beam": 10, "alpha": 1.2, "rule": rule}
    graph = filtered_vamana(vectors, label_sets(labels), starts, order, **settings)
    assert lists_of(graph) == slow_vamana(vectors, labels).build(starts, order.tolist(), **settings)
    for row, near in enumerate(lists_of(graph)):
        assert all(labels[row] & labels[other] for other in near)


def test_the_two_rules_build_different_graphs() -> None:
    vectors, labels = gaussian(70, 3), some_labels(70, 3)
    starts, order = starts_of(labels), np.arange(70)
    paper, code = (
        filtered_vamana(vectors, label_sets(labels), starts, order, degree=32, beam=20, alpha=1.2, rule=rule)
        for rule in ("paper", "code")
    )
    assert len(paper.ids) < len(code.ids)  # the code's condition is the stricter one: fewer rows are dropped


@given(seed=st.integers(0, 10_000), exact=st.booleans(), beam=st.integers(1, 30), filtered=st.booleans())
def test_greedy_search_is_that_of_the_oracle(
    slow_vamana: Any, seed: int, exact: bool, beam: int, filtered: bool
) -> None:
    generator = random_generator(seed, "search")
    rows = int(generator.integers(1, 30))
    vectors = (signs if exact else gaussian)(rows, seed)
    labels = some_labels(rows, seed)
    lists = [
        generator.choice(rows, generator.integers(0, min(rows, 5) + 1), replace=False).tolist() for _ in range(rows)
    ]
    query = vectors[generator.integers(rows)] if exact else gaussian(1, seed + 1)[0]
    entries = generator.choice(rows, generator.integers(1, rows + 1), replace=False).astype(np.int32)
    wanted = {0, 2} if filtered else None
    found = search_graph(
        vectors,
        fixed(query),
        graph_of(lists),
        label_sets(labels),
        np.array(sorted(wanted or ()), dtype=np.int32),
        entries,
        Workspace(rows),
        beam=beam,
    )
    slow = slow_vamana(vectors, labels)
    best, path = slow.greedy_search(lists, query.tolist(), entries.tolist(), beam, wanted)
    assert found.rows.tolist() == best
    assert found.counters.hops == len(path)
    np.testing.assert_allclose(
        found.distances, [slow.distance(slow.vectors[row], query.tolist()) for row in best], atol=1e-6
    )
    assert found.exact == (len(best) < min(beam, rows + 1))


@given(seed=st.integers(0, 10_000), alpha=st.sampled_from([1.0, 1.2, 2.0]), strict=st.booleans())
def test_robust_prune_is_that_of_the_oracle(slow_vamana: Any, seed: int, alpha: float, strict: bool) -> None:
    vectors, labels = signs(25, seed), some_labels(25, seed)
    slow, sets = slow_vamana(vectors, labels), label_sets(labels)
    row, degree = seed % 25, seed % 7 + 1
    ordered = sorted((slow.between(row, other), other) for other in range(25) if other != row)
    candidates = np.array([other for _, other in ordered], dtype=np.int32)
    distances = np.array([far for far, _ in ordered], dtype=np.float32)
    kept = np.empty(degree, dtype=np.int32)
    arrays = (fixed(vectors), fixed(sets.starts), fixed(sets.codes))
    size = robust_prune(*arrays, np.int32(row), candidates, distances, 24, degree, alpha, strict, kept)
    rule = "code" if strict else "paper"
    assert kept[:size].tolist() == slow.robust_prune(row, set(range(25)), alpha, degree, rule=rule)
    same = LabelSets.same(25)
    size = robust_prune(
        fixed(vectors), same.starts, same.codes, np.int32(row), candidates, distances, 24, degree, alpha, strict, kept
    )
    plain = np.empty(degree, dtype=np.int32)
    assert (
        kept[:size].tolist() == plain[: prune(fixed(vectors), candidates, distances, 24, degree, alpha, plain)].tolist()
    )


def test_pruning_a_graph_prunes_every_row(slow_vamana: Any) -> None:
    vectors, labels = signs(40, 1), some_labels(40, 1)
    generator = random_generator(1, "graph")
    lists = [generator.choice(np.delete(np.arange(40), row), 20, replace=False).tolist() for row in range(40)]
    slow = slow_vamana(vectors, labels)
    graph = prune_graph(vectors, label_sets(labels), graph_of(lists), degree=6, alpha=1.2, rule="paper")
    assert lists_of(graph) == [slow.robust_prune(row, set(lists[row]), 1.2, 6, rule="paper") for row in range(40)]


def test_the_medoid_has_the_least_sum_of_squared_distances() -> None:
    for seed in range(10):
        vectors = gaussian(40, seed).astype(np.float64)
        sums = (2 - 2 * vectors @ vectors.T).sum(axis=1)
        assert medoid(vectors.astype(np.float32)) == int(np.argmin(sums))
    assert medoid(np.tile(gaussian(1, 0), (5, 1))) == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"degree": 0}, "degree is 0"), ({"alpha": 0.9}, "alpha is 0.9"), ({"alpha": float("nan")}, "alpha is nan")],
)
def test_settings_that_build_nothing_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_settings(**{"alpha": 1.2, "degree": 3, **setting})
