"""Choosing examples: each strategy does what its name says, within each class where classes are given."""

from __future__ import annotations

import numpy as np
import pytest

from embedworks.analysis import centre_outward_order, depths, select_examples
from embedworks.foundation import InputError

STRATEGIES = ("deepest", "most-outlying", "random", "centroid", "k-means", "local-outlier-factor")


def _clouds() -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(0)
    centres = np.array([[3.0, 0, 0, 1], [0, 3.0, 0, 1], [0, 0, 3.0, 1]])
    labels = [f"class {number % 3}" for number in range(60)]
    return centres[np.arange(60) % 3] + generator.standard_normal((60, 4)), labels


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("k", [1, 4, 20])
def test_k_distinct_rows_of_each_class(strategy: str, k: int) -> None:
    rows, labels = _clouds()
    chosen = select_examples(rows, k, strategy=strategy, group_by=labels)
    assert [labels[row] for row in chosen] == [f"class {number}" for number in range(3) for _ in range(k)]
    assert len(set(chosen.tolist())) == 3 * k
    assert np.array_equal(chosen, select_examples(rows, k, strategy=strategy, group_by=labels)), "seeded"


@pytest.mark.parametrize("distance", ["cosine", "chord", "angular"])
def test_deepest_and_most_outlying_are_the_ends_of_the_order(distance: str) -> None:
    rows, labels = _clouds()
    order = centre_outward_order(depths(rows, distance=distance))
    assert np.array_equal(select_examples(rows, 5, distance=distance), order[:5])
    assert np.array_equal(select_examples(rows, 5, strategy="most-outlying", distance=distance), order[::-1][:5])
    members = np.flatnonzero(np.array(labels) == "class 1")
    within = members[centre_outward_order(depths(rows[members], distance=distance))]
    assert np.array_equal(select_examples(rows, 3, group_by=labels, distance=distance)[3:6], within[:3])


def test_centroid_and_cosine_depth_choose_alike() -> None:
    rows, labels = _clouds()
    for k in (1, 7):
        deepest, centroid = (select_examples(rows, k, strategy=s, group_by=labels) for s in ("deepest", "centroid"))
        assert np.array_equal(deepest, centroid)


def test_chord_depth_gives_the_medoid() -> None:
    rows, _ = _clouds()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    medoid = np.linalg.norm(unit[:, None] - unit, axis=2).sum(axis=1).argmin()
    assert select_examples(rows, 1, distance="chord")[0] == medoid


def test_representatives_come_from_every_cluster_the_largest_first() -> None:
    generator = np.random.default_rng(1)
    sizes, centres = [30, 20, 10], np.eye(3) * 10
    rows = np.concatenate([c + generator.standard_normal((n, 3)) for n, c in zip(sizes, centres, strict=True)])
    chosen = select_examples(rows, 3, strategy="k-means")
    assert np.searchsorted(np.cumsum(sizes), chosen, side="right").tolist() == [0, 1, 2]


def test_the_outlier_factor_leaves_out_the_outlier() -> None:
    rows, _ = _clouds()
    rows[::3] = [1.0, 0.2, 0.1, 0] + 0.01 * np.random.default_rng(0).standard_normal((20, 4))
    rows[0] = [-1.0, -1.0, 0, 0]
    near = select_examples(rows[::3], 19, strategy="local-outlier-factor")
    assert 0 not in near


def test_random_differs_by_seed() -> None:
    rows, _ = _clouds()
    assert len({tuple(select_examples(rows, 3, strategy="random", seed=seed)) for seed in range(10)}) == 10


def test_ties_go_to_the_earlier_row_and_a_class_of_one_is_chosen() -> None:
    assert centre_outward_order([1.0, 2.0, 2.0, 0.0]).tolist() == [1, 2, 0, 3]
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0], [0.2, 1.0]])
    for strategy in STRATEGIES:
        assert select_examples(rows, 1, strategy=strategy, group_by=["b", "a", "a", "a"])[1] == 0


@pytest.mark.filterwarnings("ignore::embedworks.analysis.DuplicateRowsWarning")
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # k-means says so of equal rows, as it should
def test_equal_rows_still_give_k_examples() -> None:
    rows = np.ones((5, 3))
    for strategy in ("deepest", "k-means", "random"):
        assert len(set(select_examples(rows, 3, strategy=strategy).tolist())) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 61}, "has 60 rows, 61 are wanted"),
        ({"k": 21, "group_by": "labels"}, "class class 0: has 20 rows"),
        ({"k": 1, "group_by": ["a"]}, "1 classes for 60 rows"),
        ({"k": 1, "strategy": "best"}, "choose from: deepest"),
        ({"k": 1, "distance": "far"}, "no distance is named"),
    ],
)
def test_bad_arguments_are_refused(options: dict, message: str) -> None:
    rows, labels = _clouds()
    if options.get("group_by") == "labels":
        options = options | {"group_by": labels}
    with pytest.raises(InputError, match=message):
        select_examples(rows, **options)
