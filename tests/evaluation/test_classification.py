"""Classification and nearest neighbours against loops over the same protocol."""

from __future__ import annotations

import numpy as np
import pytest

from embedworks.data import Labelled
from embedworks.evaluation.classification import _draw, evaluate_classification, evaluate_nearest_neighbours
from embedworks.evaluation.encoding import RememberingEncoder
from embedworks.foundation import InputError


def test_each_draw_takes_the_same_number_of_every_label() -> None:
    labels = ["a"] * 20 + ["b"] * 5 + ["c"] * 9
    rows = _draw(labels, 8, 4, seed=0)
    for chosen in rows:
        assert len(set(chosen.tolist())) == len(chosen)
        drawn = [labels[row] for row in chosen]
        assert (drawn.count("a"), drawn.count("b"), drawn.count("c")) == (8, 5, 8)
    assert not np.array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[2], _draw(labels, 8, 4, seed=0)[2])


def test_accuracy_is_the_mean_over_draws_and_over_texts(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    train, test = labelled
    result = evaluate_classification(encoder, train, test, system="words", draws=5)
    assert result.value == pytest.approx(np.mean(result.details["accuracy_of_draws"]))
    assert result.value > 0.9
    assert len(result.unit_ids) == len(test) == 36
    assert set(np.round(np.multiply(result.per_unit["accuracy"], 5), 9)) <= set(range(6))
    again = evaluate_classification(encoder, train, test, system="words", draws=5)
    assert again.per_unit == result.per_unit


def test_one_draw_equals_a_plain_logistic_regression(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    from sklearn.linear_model import LogisticRegression

    train, test = labelled
    rows = _draw(train.labels, 3, 1, seed=4)[0]
    model = LogisticRegression(max_iter=100)
    model.fit(encoder.encode([train.texts[row] for row in rows]), [train.labels[row] for row in rows])
    expected = model.score(encoder.encode(test.texts), test.labels)
    result = evaluate_classification(encoder, train, test, system="w", draws=1, examples_per_label=3, seed=4)
    assert result.value == pytest.approx(expected)
    assert result.details["draws_not_converged"] == 0


@pytest.mark.parametrize("neighbours", [1, 2, 3, 7, 1000])
def test_nearest_neighbours_equal_a_loop(encoder, labelled: tuple[Labelled, Labelled], neighbours: int) -> None:
    train, test = labelled
    near, far = encoder.encode(test.texts).astype(float), encoder.encode(train.texts).astype(float)
    correct = []
    for vector, label in zip(near, test.labels, strict=True):
        cosines = [round(float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)), 9) for other in far]
        closest = sorted(range(len(far)), key=lambda row: (-cosines[row], row))[:neighbours]
        votes = {
            name: (
                sum(train.labels[row] == name for row in closest),
                round(sum(cosines[row] for row in closest if train.labels[row] == name), 6),
            )
            for name in sorted(set(train.labels))
        }
        best = max(votes.values())
        correct.append(float(next(name for name, vote in votes.items() if vote == best) == label))
    result = evaluate_nearest_neighbours(encoder, train, test, system="words", neighbours=neighbours)
    assert result.per_unit["accuracy"] == correct
    assert result.task == "nearest-neighbours"


def test_texts_are_encoded_once_for_all_protocols(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    train, test = labelled
    remembering = RememberingEncoder(encoder)
    evaluate_classification(remembering, train, test, system="words", draws=2)
    evaluate_nearest_neighbours(remembering, train, test, system="words")
    assert sorted(encoder.encoded) == sorted({*train.texts, *test.texts})
    np.testing.assert_array_equal(remembering.encode(test.texts), encoder.encode(test.texts))
    assert remembering.encode([]).shape == (0, 64)


def test_unit_ids_are_the_texts_own_where_given(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    train, _ = labelled
    test = Labelled.from_columns(["apple pear", "sun star"], ["fruit", "sky"], ids=["x", "y"])
    assert evaluate_nearest_neighbours(encoder, train, test, system="words").unit_ids == ["x", "y"]


def test_refuses_one_label_and_no_draw(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    train, test = labelled
    with pytest.raises(InputError, match="fewer than 2 labels"):
        evaluate_classification(encoder, Labelled.from_columns(["a b"], ["x"]), test, system="words")
    with pytest.raises(InputError, match="0 is too few"):
        evaluate_classification(encoder, train, test, system="words", draws=0)
    with pytest.raises(InputError, match="0 is too few"):
        evaluate_nearest_neighbours(encoder, train, test, system="words", neighbours=0)
