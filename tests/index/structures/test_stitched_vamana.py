"""StitchedVamana: the union of the slow oracle's graphs by label, pruned by the slow oracle's rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.stitched_vamana import StitchedVamana
from embedworks.index.structures.structure import Vectors


def gaussian(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = random_generator(seed, "gaussian").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def labels_of(rows: int, seed: int) -> tuple[LabelColumn, list[set[int]]]:
    """A column in which some rows have no label, and the sets with the one that is added for those."""
    generator = random_generator(seed, "labels")
    sets = [sorted(set(generator.choice(list("abcd"), generator.integers(0, 4)).tolist())) for _ in range(rows)]
    column = Attributes(pa.table({"tags": pa.array(sets, pa.list_(pa.string()))})).column("tags")
    assert isinstance(column, LabelColumn)
    nobody = len(column.names)
    return column, [{column.code(label) for label in each} or {nobody} for each in sets]


@pytest.mark.parametrize("rule", ["paper", "code"])
@pytest.mark.parametrize(("small_degree", "degree"), [(4, 5), (6, 40)])
def test_edges_are_the_union_of_the_labels_graphs_pruned(
    slow_vamana: Any, rule: Any, small_degree: int, degree: int
) -> None:
    rows, beam = 120, 12
    vectors = gaussian(rows, degree)
    column, sets = labels_of(rows, degree)
    graph = StitchedVamana.build(
        vectors, column, attribute="tags", small_degree=small_degree, small_beam=beam, degree=degree, rule=rule, seed=2
    )
    union: list[set[int]] = [set() for _ in range(rows)]
    for code in range(len(column.names) + 1):
        members = [row for row in range(rows) if code in sets[row]]
        slow = slow_vamana(vectors[members], [{0}] * len(members))
        sums = [sum(slow.between(row, other) for other in range(len(members))) for row in range(len(members))]
        start = int(np.argmin(sums))
        assert graph.start_of[code] == members[start]
        order = random_generator(2, "order of insertion", code).permutation(len(members)).tolist()
        for row, near in enumerate(slow.build([start], order, degree=small_degree, beam=beam, alpha=1.2)):
            union[members[row]] |= {members[other] for other in near}
    slow = slow_vamana(vectors, sets)
    more = 0
    for row in range(rows):
        near = slow.robust_prune(row, union[row], 1.2, degree, rule=rule)
        assert graph.graph.of(row).tolist()[: len(near)] == near
        more += len(graph.graph.of(row)) - len(near)
        assert all(sets[row] & sets[other] for other in graph.graph.of(row))
    assert more == graph.facts()["added_edges"]


def test_the_published_settings_are_the_default() -> None:
    column, _ = labels_of(30, 0)
    facts = StitchedVamana.build(gaussian(30, 0), column, attribute="tags").facts()
    assert {name: facts[name] for name in ("small_degree", "small_beam", "degree", "alpha", "rule")} == {
        "small_degree": 32,
        "small_beam": 100,
        "degree": 64,
        "alpha": 1.2,
        "rule": "paper",
    }


def test_settings_and_labels_that_do_not_fit_are_refused() -> None:
    column, _ = labels_of(10, 0)
    for settings, message in (({"small_degree": 0}, "small_degree is 0"), ({"alpha": 0.5}, "alpha is 0.5")):
        with pytest.raises(InputError, match=message):
            StitchedVamana.build(gaussian(10, 0), column, attribute="tags", **settings)
    with pytest.raises(InputError, match="labels for 10 rows and 11 vectors"):
        StitchedVamana.build(gaussian(11, 0), column, attribute="tags")
