"""Whether texts of evaluation sets stand among the training texts, as they are or nearly.

NV-Embed (https://arxiv.org/abs/2405.17428) and others leave out training texts that match evaluation sets; how such
matches are found differs from paper to paper. Here: equal after normalisation, or Jaccard index of character 4-grams.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from embedworks.data import Pairs
from embedworks.foundation import InputError
from embedworks.training.near_duplicates import SHINGLE, near_pairs, normalised


@dataclass(frozen=True)
class Leak:
    """A training text and an evaluation text that are the same, or nearly; by number, as texts may be private."""

    training_row: int
    """Number of the training text, or of the pair it stands in, from 0."""
    evaluation_row: int
    """Number of the text in its evaluation set, from 0."""
    likeness: float
    """1 for texts that are equal after normalisation, else the Jaccard index of their shingles."""


@dataclass(frozen=True)
class SetLeakage:
    """What of one evaluation set stands among the training texts."""

    name: str
    """Name of the evaluation set."""
    texts: int
    """Number of its texts."""
    exact: int
    """Texts that equal a training text after normalisation."""
    near: int
    """Further texts that are nearly a training text."""
    examples: tuple[Leak, ...]
    """Some of the matches: equal texts first, then by likeness."""


@dataclass(frozen=True)
class LeakageReport:
    """What of the evaluation sets stands among the training texts."""

    training_texts: int
    """Number of training texts, or of pairs."""
    threshold: float
    """Smallest likeness of a near duplicate."""
    sets: tuple[SetLeakage, ...]
    """The evaluation sets, in the order given."""
    training_rows: tuple[int, ...]
    """Numbers of all training texts, or pairs, that match an evaluation text, in ascending order."""

    @property
    def clean(self) -> bool:
        """Whether nothing matches."""
        return not self.training_rows

    def lines(self) -> list[str]:
        """Return the report for a person, a line a set."""
        return [_line(found) for found in self.sets]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it; of the training rows, their number."""
        sets = [
            {
                "name": found.name,
                "texts": found.texts,
                "exact": found.exact,
                "near": found.near,
                "examples": [vars(leak) for leak in found.examples],
            }
            for found in self.sets
        ]
        return {
            "training_texts": self.training_texts,
            "shingle": SHINGLE,
            "threshold": self.threshold,
            "matching_training_texts": len(self.training_rows),
            "sets": sets,
        }


def check_leakage(
    training: Pairs | Sequence[str],
    evaluation: Mapping[str, Sequence[str]],
    *,
    threshold: float = 0.8,
    examples: int = 5,
) -> LeakageReport:
    """Look for the texts of evaluation sets among training texts.

    Args:
        training: Training texts; of pairs the queries, positives and negatives, without instructions.
        evaluation: Name to texts of each evaluation set.
        threshold: Smallest Jaccard index of a near duplicate, from 0.5 to 1.
        examples: Largest number of examples a set.

    Returns:
        Counts, examples by number, and the training texts that match.

    Raises:
        InputError: There is nothing to compare, or a number is out of range.

    Example:
        >>> report = check_leakage(["Where is my card?", "I lost it"], {"test": ["where is my card", "what a day"]})
        >>> report.lines()
        ['test: 1 of 2 texts (50.0 %) are among the training texts, and 0 more nearly; rows 0 = 0 (1.00)']
        >>> report.training_rows
        (0,)
    """
    if not 0.5 <= threshold <= 1:
        _refuse(f"threshold is {threshold}", "it must lie from 0.5 to 1")
    if examples < 0:
        _refuse(f"examples is {examples}", "it must be at least 0")
    if not len(training) or not evaluation:
        _refuse("no training texts" if evaluation else "no evaluation sets", "give at least one")
    for name, texts in evaluation.items():
        if isinstance(texts, str) or not len(texts):
            _refuse(f"the evaluation set {name!r} holds no list of texts", "give at least one text")
    known: dict[str, list[int]] = defaultdict(list)  # normalised text to the training rows it stands in
    for row, texts in enumerate(_rows(training)):
        for text in dict.fromkeys(map(normalised, texts)):
            known[text].append(row)
    asked: dict[str, list[tuple[str, int]]] = defaultdict(list)  # normalised text to its evaluation sets and rows
    for name, texts in evaluation.items():
        for row, text in enumerate(texts):
            asked[normalised(text)].append((name, row))
    ours, theirs = list(known), list(asked)
    first, second, likeness = near_pairs(ours, theirs, threshold=threshold)
    matching: set[int] = set()
    best: dict[str, tuple[float, int]] = {}  # evaluation text to its likeness, over 1 where equal, and training row
    for one, other, value in zip(first.tolist(), second.tolist(), likeness.tolist(), strict=True):
        rows = known[ours[one]]
        matching.update(rows)
        equal = ours[one] == theirs[other]
        best[theirs[other]] = max(best.get(theirs[other], (0.0, 0)), (2.0 if equal else value, -rows[0]))
    found: dict[str, list[tuple[bool, Leak]]] = {name: [] for name in evaluation}
    for text, (value, row) in best.items():
        for name, evaluation_row in asked[text]:
            found[name].append((value > 1, Leak(-row, evaluation_row, min(value, 1.0))))
    return LeakageReport(
        training_texts=len(training),
        threshold=threshold,
        sets=tuple(_of_set(name, len(texts), found[name], examples) for name, texts in evaluation.items()),
        training_rows=tuple(sorted(matching)),
    )


def without_leaks(pairs: Pairs, report: LeakageReport) -> Pairs:
    """Return the pairs that match no evaluation text.

    Args:
        pairs: The pairs that were checked.
        report: What :func:`check_leakage` found in them.

    Raises:
        InputError: The report is of other pairs, or none is left.
    """
    if report.training_texts != len(pairs):
        _refuse(f"the report is of {report.training_texts} pairs, and these are {len(pairs)}", "check these pairs")
    kept = np.setdiff1d(np.arange(len(pairs)), np.array(report.training_rows, dtype=np.int64))
    if not len(kept):
        _refuse("every pair matches an evaluation text", "train on other data")
    return Pairs(pairs.table.take(kept))


def _rows(training: Pairs | Sequence[str]) -> Iterator[Sequence[str]]:
    if not isinstance(training, Pairs):
        yield from ([text] for text in training)
        return
    negatives = training.negatives or [[]] * len(training)
    for query, positive, row in zip(training.queries, training.positives, negatives, strict=True):
        yield [query, positive, *row]


def _of_set(name: str, texts: int, found: Sequence[tuple[bool, Leak]], examples: int) -> SetLeakage:
    exact = sum(equal for equal, _ in found)
    ordered = sorted(found, key=lambda item: (not item[0], -item[1].likeness, item[1].evaluation_row))
    return SetLeakage(
        name=name,
        texts=texts,
        exact=exact,
        near=len(found) - exact,
        examples=tuple(leak for _, leak in ordered[:examples]),
    )


def _line(found: SetLeakage) -> str:
    share = 100 * found.exact / found.texts
    line = (
        f"{found.name}: {found.exact:,} of {found.texts:,} texts ({share:.1f} %) are among the training texts, "
        f"and {found.near:,} more nearly"
    )
    if not found.examples:
        return line
    leaks = (f"{leak.training_row} = {leak.evaluation_row} ({leak.likeness:.2f})" for leak in found.examples)
    return f"{line}; rows {', '.join(leaks)}"


def _refuse(what: str, mend: str) -> NoReturn:
    raise InputError(what, where="check for leakage", mend=mend)
