"""Classification: how much of the classes a simple classifier finds in the vectors."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.data import Labelled
from embedworks.evaluation.encoding import encode_items
from embedworks.evaluation.exact_search import exact_search
from embedworks.evaluation.result import Result, hash_of
from embedworks.foundation import InputError, environment
from embedworks.foundation.protocols import Encoder
from embedworks.foundation.randomness import random_generator

_MAX_ITERATIONS = 100


def evaluate_classification(
    encoder: Encoder,
    train: Labelled,
    test: Labelled,
    *,
    system: str,
    data_set: str = "labelled texts",
    examples_per_label: int = 8,
    draws: int = 10,
    seed: int = 0,
    progress: bool = False,
) -> Result:
    """Fit a logistic regression on a few examples per label, several times (the protocol of MTEB).

    Each draw takes ``examples_per_label`` random training texts of every label (all where there are fewer), fits a
    logistic regression of at most 100 iterations on their vectors, and predicts the test texts.

    Args:
        encoder: Gives the vectors.
        train: Texts to draw examples from.
        test: Texts to predict.
        system: Name of the encoder.
        data_set: Name of the texts.
        examples_per_label: Training texts of each label a draw; MTEB takes 8 or 16.
        draws: Number of draws.
        seed: Seed of the draws.
        progress: Whether to show progress while encoding.

    Returns:
        ``accuracy``: mean over draws; a test text's value is the share of draws that predicted it rightly.

    Raises:
        InputError: There are fewer than 2 training labels, or a number is below 1.
    """
    _check(train, test, data_set, examples_per_label, draws)
    rows = _draw(train.labels, examples_per_label, draws, seed)
    needed = np.unique(np.concatenate(rows))
    texts = train.texts
    vectors = encode_items(encoder, [texts[row] for row in needed], progress=progress)
    position = np.full(len(texts), -1)
    position[needed] = np.arange(len(needed))
    test_vectors = encode_items(encoder, test.texts, progress=progress)
    labels, test_labels = np.asarray(train.labels), np.asarray(test.labels)
    correct = np.empty((draws, len(test)), np.float64)
    unconverged = 0
    for draw, chosen in enumerate(rows):
        predicted, converged = _fit_and_predict(vectors[position[chosen]], labels[chosen], test_vectors, seed + draw)
        correct[draw] = predicted == test_labels
        unconverged += not converged
    return _result(
        train,
        test,
        correct,
        system=system,
        data_set=data_set,
        task="classification",
        details={
            "classifier": f"logistic regression, at most {_MAX_ITERATIONS} iterations",
            "examples_per_label": examples_per_label,
            "draws": draws,
            "seed": seed,
            "accuracy_of_draws": correct.mean(axis=1).tolist(),
            "draws_not_converged": unconverged,
        },
    )


def evaluate_nearest_neighbours(
    encoder: Encoder,
    train: Labelled,
    test: Labelled,
    *,
    system: str,
    data_set: str = "labelled texts",
    neighbours: int = 1,
    progress: bool = False,
) -> Result:
    """Predict the label most frequent among the nearest training texts by cosine.

    Among equally frequent labels the one with the higher sum of cosines wins, then the one that sorts first. Of
    equally near texts the earlier row is taken.

    Args:
        encoder: Gives the vectors.
        train: Texts whose labels vote; all are used.
        test: Texts to predict.
        system: Name of the encoder.
        data_set: Name of the texts.
        neighbours: Number of training texts that vote.
        progress: Whether to show progress while encoding.

    Returns:
        ``accuracy``; a test text's value is 1 or 0.

    Raises:
        InputError: There are fewer than 2 training labels, or ``neighbours`` is below 1.
    """
    _check(train, test, data_set, neighbours, 1)
    vectors = encode_items(encoder, [*train.texts, *test.texts], progress=progress)
    rows, cosines = exact_search(vectors[len(train) :], vectors[: len(train)], k=neighbours)
    names, numbers = np.unique(np.asarray(train.labels), return_inverse=True)
    predicted = names[[_vote(numbers[found], near) for found, near in zip(rows, cosines, strict=True)]]
    return _result(
        train,
        test,
        (predicted == np.asarray(test.labels)).astype(np.float64)[None, :],
        system=system,
        data_set=data_set,
        task="nearest-neighbours",
        details={"classifier": "nearest neighbours by cosine", "neighbours": neighbours},
    )


def _vote(labels: NDArray[np.intp], cosines: NDArray[np.float64]) -> int:
    """Return the winning label number; ``labels`` sorts as the label names do."""
    votes, weight = np.bincount(labels), np.bincount(labels, weights=cosines)
    best = np.flatnonzero(votes == votes.max())
    return int(best[np.argmax(weight[best])])


def _draw(labels: Sequence[str], examples_per_label: int, draws: int, seed: int) -> list[NDArray[np.intp]]:
    array = np.asarray(labels)
    of_label = [np.flatnonzero(array == label) for label in np.unique(array)]
    rows = []
    for draw in range(draws):
        generator = random_generator(seed, "classification-examples", draw)
        rows.append(np.concatenate([generator.permutation(members)[:examples_per_label] for members in of_label]))
    return rows


def _fit_and_predict(
    vectors: NDArray[np.float32], labels: NDArray[np.str_], test_vectors: NDArray[np.float32], seed: int
) -> tuple[NDArray[np.str_], bool]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=_MAX_ITERATIONS, random_state=seed)
    with warnings.catch_warnings():
        # The protocol stops here whether converged or not; how often it was not is in the details.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors, labels)
    return np.asarray(model.predict(test_vectors)), int(np.max(model.n_iter_)) < _MAX_ITERATIONS


def _check(train: Labelled, test: Labelled, data_set: str, *numbers: int) -> None:
    if min(numbers) < 1:
        raise InputError(f"{min(numbers)} is too few", where=data_set, mend="give at least 1")
    if len(test) == 0:
        raise InputError("there is no test text", where=data_set)
    if len(set(train.labels)) < 2:
        raise InputError("the training texts have fewer than 2 labels", where=data_set, mend="give at least 2")


def _result(
    train: Labelled,
    test: Labelled,
    correct: NDArray[np.float64],
    *,
    system: str,
    data_set: str,
    task: Literal["classification", "nearest-neighbours"],
    details: dict[str, object],
) -> Result:
    per_text = correct.mean(axis=0)
    return Result(
        system=system,
        data_set=data_set,
        task=task,
        metrics={"accuracy": float(per_text.mean())},
        primary="accuracy",
        unit_ids=test.ids or [str(row) for row in range(len(test))],
        per_unit={"accuracy": per_text.tolist()},
        data_hash=hash_of(train.texts, train.labels, test.texts, test.labels),
        details={
            "unit": "test text",
            "labels": len(set(train.labels)),
            "train_texts": len(train),
            "test_texts": len(test),
            **details,
        },
        environment=environment(),
    )
