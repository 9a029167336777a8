"""FilteredVamana against the slow oracle, edge for edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes
from embedworks.index.structures.filtered_vamana import FilteredVamana
from embedworks.index.structures.filters import LabelColumn
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
@pytest.mark.parametrize(("degree", "beam", "alpha"), [(5, 10, 1.2), (12, 30, 1.0)])
def test_the_graph_is_that_of_the_oracle_but_for_added_edges(
    slow_vamana: Any, rule: Any, degree: int, beam: int, alpha: float
) -> None:
    vectors = gaussian(120, degree)
    column, sets = labels_of(120, degree)
    settings: dict[str, Any] = {"degree": degree, "beam": beam, "alpha": alpha, "rule": rule}
    graph = FilteredVamana.build(vectors, column, attribute="tags", seed=3, **settings)
    order = random_generator(3, "order of insertion").permutation(120).tolist()
    slow = slow_vamana(vectors, sets).build(graph.start_of.tolist(), order, **settings)
    more = 0
    for row, near in enumerate(slow):
        assert graph.graph.of(row).tolist()[: len(near)] == near
        more += len(graph.graph.of(row)) - len(near)
        assert all(sets[row] & sets[other] for other in graph.graph.of(row))
    assert more == graph.facts()["added_edges"]
    assert all(start in np.flatnonzero([code in own for own in sets]) for code, start in enumerate(graph.start_of))


def test_the_published_settings_are_the_default() -> None:
    column, _ = labels_of(30, 0)
    facts = FilteredVamana.build(gaussian(30, 0), column, attribute="tags").facts()
    assert {name: facts[name] for name in ("degree", "beam", "alpha", "samples", "rule")} == {
        "degree": 96,
        "beam": 90,
        "alpha": 1.2,
        "samples": 25,
        "rule": "paper",
    }


def test_settings_and_labels_that_do_not_fit_are_refused() -> None:
    column, _ = labels_of(10, 0)
    for settings, message in (({"samples": 0}, "samples is 0"), ({"alpha": 0.5}, "alpha is 0.5")):
        with pytest.raises(InputError, match=message):
            FilteredVamana.build(gaussian(10, 0), column, attribute="tags", **settings)
    with pytest.raises(InputError, match="labels for 10 rows and 11 vectors"):
        FilteredVamana.build(gaussian(11, 0), column, attribute="tags")
