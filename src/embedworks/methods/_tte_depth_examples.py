"""Few examples chosen by depth: do the deepest texts of a class make better examples than random ones?

The paper gives them to a language model as demonstrations. Here they are the only training texts of a classifier over
the same vectors, nearest centroid or nearest neighbour, which plays the same part: what it gets right depends on the
examples alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis import select_examples
from embedworks.analysis.depth import DistanceName
from embedworks.analysis.depth_selection import Strategy
from embedworks.foundation.randomness import random_generator
from embedworks.methods import _tte_depth_data as data
from embedworks.methods._over_seeds import over_seeds, verdict_of_gain
from embedworks.methods._report import Finding

Classifier = Literal["nearest centroid", "nearest neighbour"]

CLASSES, POOL_TEXTS, TEST_TEXTS = 5, 200, 200  # texts a class
EXAMPLES = (1, 2, 4, 8)
FAR_WORSE = 0.10
"""Accuracy by which the most outlying examples have to lose to be far worse."""

_CHOICES: tuple[tuple[str, Strategy, DistanceName], ...] = (
    ("deepest", "deepest", "cosine"),
    ("deepest, chord", "deepest", "chord"),
    ("k-means", "k-means", "cosine"),
    ("local outlier factor", "local-outlier-factor", "cosine"),
    ("most outlying", "most-outlying", "cosine"),
)
CLASSIFIERS: tuple[Classifier, ...] = ("nearest centroid", "nearest neighbour")


@dataclass(frozen=True)
class ExamplesOutcome:
    """Accuracies with k examples a class, for one split and one classifier."""

    examples: int
    classifier: Classifier
    chosen: dict[str, float]
    """Accuracy by way of choosing."""
    random: NDArray[np.float64]
    """Accuracy of each random draw, shape (draws,)."""

    @property
    def percentile(self) -> float:
        """Share of random draws that the deepest examples beat, in per cent, ties half."""
        deepest = self.chosen["deepest"]
        return 100 * float(np.mean((self.random < deepest) + 0.5 * (self.random == deepest)))


def example_outcomes(papers: data.Papers, *, split: int, draws: int) -> list[ExamplesOutcome]:
    """Choose examples in every way and classify the test texts with them.

    Args:
        papers: The papers; the classes are the five largest primary categories.
        split: Number of the random split into pool and test texts.
        draws: Random choices to compare with.
    """
    vectors = papers.vectors
    pool_rows, test_rows = [], []
    for name, rows in data.class_rows(papers, classes=CLASSES).items():
        dealt = rows[random_generator(split, "examples split", name).permutation(len(rows))]
        pool_rows.append(dealt[:POOL_TEXTS])
        test_rows.append(dealt[POOL_TEXTS : POOL_TEXTS + TEST_TEXTS])
    pool, test = (_unit(vectors[np.concatenate(rows)]) for rows in (pool_rows, test_rows))
    labels = np.repeat(np.arange(CLASSES), POOL_TEXTS)
    names = [str(label) for label in labels]
    truth = np.repeat(np.arange(CLASSES), [len(rows) for rows in test_rows])
    outcomes = []
    for k in EXAMPLES:
        chosen = {
            name: select_examples(pool, k, strategy=strategy, group_by=names, distance=distance, seed=split)
            for name, strategy, distance in _CHOICES
        }
        generator = random_generator(split, "random draws", k)
        random = [
            np.concatenate([generator.permutation(POOL_TEXTS)[:k] + label * POOL_TEXTS for label in range(CLASSES)])
            for _ in range(draws)
        ]
        for classifier in CLASSIFIERS:
            outcomes.append(
                ExamplesOutcome(
                    k,
                    classifier,
                    {
                        name: accuracy(pool[rows], labels[rows], test, truth, classifier)
                        for name, rows in chosen.items()
                    },
                    np.array([accuracy(pool[rows], labels[rows], test, truth, classifier) for rows in random]),
                )
            )
    return outcomes


def accuracy(
    examples: NDArray[np.float64],
    labels: NDArray[np.intp],
    test: NDArray[np.float64],
    truth: NDArray[np.intp],
    classifier: Classifier,
) -> float:
    """Return the mean over classes of the share of test texts that a classifier fitted on the examples gets right.

    Args:
        examples: Unit vectors, shape (e, d).
        labels: Class numbers from 0, shape (e,), every class at least once.
        test: Unit vectors, shape (t, d).
        truth: Class numbers, shape (t,).
        classifier: Highest cosine to a class' mean vector, or to any example.
    """
    classes = int(labels.max()) + 1
    if classifier == "nearest centroid":
        means = np.stack([examples[labels == label].mean(axis=0) for label in range(classes)])
        predicted = (test @ _unit(means).T).argmax(axis=1)
    else:
        predicted = labels[(test @ examples.T).argmax(axis=1)]
    return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))


def _unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = np.asarray(vectors, np.float64)
    unit: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def example_findings(splits: Sequence[Sequence[ExamplesOutcome]]) -> list[Finding]:
    """Judge the claims about examples, for the nearest-centroid classifier; the table has both.

    Args:
        splits: The outcomes of each split.
    """
    findings = []
    for k in EXAMPLES:
        cells = _cells(splits, k, "nearest centroid")
        gain = over_seeds([cell.chosen["deepest"] - float(cell.random.mean()) for cell in cells])
        findings.append(
            Finding(
                f"examples-{k}",
                f"the {k} deepest of each class classify better than {k} random ones do on average",
                {
                    "gain_points": round(100 * gain.mean, 2),
                    "interval_95_points": [round(100 * gain.low, 2), round(100 * gain.high, 2)],
                    "p": float(f"{gain.p:.2g}"),
                    "percentile_among_random_draws": round(float(np.mean([cell.percentile for cell in cells])), 1),
                    "splits": gain.seeds,
                },
                verdict_of_gain(gain),
            )
        )
    for k in EXAMPLES:
        cells = _cells(splits, k, "nearest centroid")
        loss = over_seeds([float(cell.random.mean()) - cell.chosen["most outlying"] for cell in cells])
        findings.append(
            Finding(
                f"outlying-{k}",
                f"the {k} most outlying of each class lose at least {100 * FAR_WORSE:.0f} points against random ones",
                {
                    "loss_points": round(100 * loss.mean, 2),
                    "interval_95_points": [round(100 * loss.low, 2), round(100 * loss.high, 2)],
                    "p": float(f"{loss.p:.2g}"),
                    "splits": loss.seeds,
                },
                verdict_of_gain(loss, at_least=FAR_WORSE),
            )
        )
    return findings


def example_rows(splits: Sequence[Sequence[ExamplesOutcome]]) -> list[dict[str, Any]]:
    """Return the table of accuracies in per cent, means over splits."""
    rows = []
    for classifier in CLASSIFIERS:
        for k in EXAMPLES:
            cells = _cells(splits, k, classifier)
            row: dict[str, Any] = {"classifier": classifier, "examples a class": k}
            row["random, mean"] = round(100 * float(np.mean([cell.random.mean() for cell in cells])), 1)
            row["random, sd of draws"] = round(100 * float(np.mean([cell.random.std(ddof=1) for cell in cells])), 1)
            for name, _, _ in _CHOICES:
                row[name] = round(100 * float(np.mean([cell.chosen[name] for cell in cells])), 1)
            row["percentile of deepest"] = round(float(np.mean([cell.percentile for cell in cells])), 1)
            rows.append(row)
    return rows


def _cells(splits: Sequence[Sequence[ExamplesOutcome]], k: int, classifier: Classifier) -> list[ExamplesOutcome]:
    return [cell for split in splits for cell in split if (cell.examples, cell.classifier) == (k, classifier)]
