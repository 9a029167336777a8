"""Clustering: the figure equals scikit-learn's, the clusterings are kept, the comparison computes V anew."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from embedworks.data import Labelled
from embedworks.evaluation.clustering import evaluate_clustering
from embedworks.evaluation.compare import compare
from embedworks.foundation import InputError


def test_v_measure_equals_scikit_learn_and_can_be_computed_again(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    from sklearn.metrics import v_measure_score

    train, _ = labelled
    result = evaluate_clustering(encoder, train, system="words", seeds=4)
    expected = [v_measure_score(train.labels, result.per_unit[f"cluster_{number}"]) for number in range(4)]
    assert result.details["v_measure_of_seeds"] == pytest.approx(expected)
    assert result.value == pytest.approx(np.mean(expected))
    names = result.details["labels"]
    assert [names[int(number)] for number in result.per_unit["label"]] == train.labels
    assert evaluate_clustering(encoder, train, system="words", seeds=4).per_unit == result.per_unit


def test_separate_groups_are_found_whole() -> None:
    texts = [f"{label} {number}" for label in "abc" for number in range(20)]
    vectors = {text: np.eye(3)["abc".index(text[0])] + 0.01 * len(text) for text in texts}
    apart = SimpleNamespace(dimension=3, encode=lambda items: np.stack([vectors[item] for item in items]))
    labelled = Labelled.from_columns(texts, [text[0] for text in texts])
    assert evaluate_clustering(apart, labelled, system="apart", seeds=3).value == pytest.approx(1.0)


def test_clusterings_are_compared_over_texts(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    train, _ = labelled
    blind = SimpleNamespace(dimension=64, encode=lambda texts: encoder.encode([text.split()[-1] for text in texts]))
    compared = compare(
        [evaluate_clustering(blind, train, system="blind"), evaluate_clustering(encoder, train, system="words")],
        resamples=500,
    )
    row = compared.row("words")
    assert row.significant
    assert row.difference is not None
    assert row.difference_low is not None
    assert row.difference_high is not None
    assert 0 < row.difference_low < row.difference < row.difference_high


def test_refuses_one_label_and_no_seed(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    with pytest.raises(InputError, match="fewer than 2 labels"):
        evaluate_clustering(encoder, Labelled.from_columns(["a", "b"], ["x", "x"]), system="words")
    with pytest.raises(InputError, match="0 seeds"):
        evaluate_clustering(encoder, labelled[0], system="words", seeds=0)
