"""Texts with a class become training pairs: example-based or label-based.

Lee et al. 2025, "NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models"
(https://arxiv.org/abs/2405.17428), section 4.2: for classification and clustering in several classes the positive is
another example of the class and the negatives are examples of other classes; two classes keep their label texts.
KaLM-Embedding-V2 (https://arxiv.org/abs/2506.20923) takes its examples in the same way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from embedworks.data import Labelled, Pairs
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassPairsReport:
    """What became of the texts."""

    texts: int
    """Number of labelled texts."""
    pairs: int
    """Number of pairs made of them."""
    classes: int
    """Number of classes with a text that could be used."""
    repeated: int
    """Texts left out because the same text of the same class came before."""
    contradictory: int
    """Texts left out because the same text stands under another class too; it would be its own negative."""
    alone: int
    """Texts that are the only one of their class; example-based, they are negatives of others and no queries."""


def pairs_by_example(
    labelled: Labelled,
    *,
    negatives_per_query: int = 7,
    mark_classes: bool = True,
    task: str = "",
    instruction: str = "",
    seed: int = 0,
) -> tuple[Pairs, ClassPairsReport]:
    """Make each text a query, another text of its class its positive, and texts of other classes its negatives.

    Args:
        labelled: Texts with classes.
        negatives_per_query: Largest number of negatives a pair gets, drawn without replacement, each text of another
            class as likely as the next.
        mark_classes: Whether ``query_id`` and ``positive_id`` name the class, so that training takes no text of a
            query's class for its negative. Without them only equal texts are known to mean the same.
        task: Name of the task, put into the ids so that classes of several tasks are kept apart.
        instruction: Instruction put before each query.
        seed: Seed of the draws.

    Returns:
        The pairs, in the order of the texts, and what was left out.

    Raises:
        InputError: All texts are of one class, no class has two texts, or a number is out of range.

    Example:
        >>> animals = Labelled.from_columns(["a cat", "a tabby", "a dog", "a poodle"], ["cat", "cat", "dog", "dog"])
        >>> pairs, report = pairs_by_example(animals, negatives_per_query=1)
        >>> pairs.positives, report.pairs
        (['a tabby', 'a cat', 'a poodle', 'a dog'], 4)
    """
    if negatives_per_query < 0:
        _refuse(f"negatives_per_query is {negatives_per_query}", "it must be at least 0")
    texts, classes, names, counts = _usable(labelled)
    order = np.argsort(classes, kind="stable")  # (n,), the texts class by class
    sizes = np.bincount(classes, minlength=len(names))
    starts = np.concatenate([[0], np.cumsum(sizes)])
    places = np.empty(len(texts), dtype=np.int64)
    places[order] = np.arange(len(texts))
    rows = np.flatnonzero(sizes[classes] > 1)
    if not len(rows):
        _refuse("no class has two texts, so none has a positive", "use pairs_by_label, or give more texts a class")
    if len(rows) < len(texts):
        LOG.warning("%d of %d texts are alone in their class and become no queries", len(texts) - len(rows), len(texts))
    generator = random_generator(seed, "examples of the classes")
    positives: list[str] = []
    negatives: list[list[str]] = []
    for row in rows.tolist():
        start, size = int(starts[classes[row]]), int(sizes[classes[row]])
        drawn = start + int(generator.integers(size - 1))
        positives.append(texts[order[drawn + (drawn >= places[row])]])
        others = _draw(generator, len(texts) - size, negatives_per_query)
        negatives.append([texts[order[place + size * (place >= start)]] for place in others])
    chosen = [names[classes[row]] for row in rows.tolist()]
    pairs = _pairs([texts[row] for row in rows.tolist()], positives, negatives, chosen, mark_classes, task, instruction)
    return pairs, _report(labelled, pairs, names, counts, alone=int((sizes == 1).sum()))


def pairs_by_label(
    labelled: Labelled,
    *,
    label_texts: Mapping[str, str] | None = None,
    negatives_per_query: int = 7,
    mark_classes: bool = True,
    task: str = "",
    instruction: str = "",
    seed: int = 0,
) -> tuple[Pairs, ClassPairsReport]:
    """Make each text a query, the text of its label its positive, and the texts of other labels its negatives.

    Args:
        labelled: Texts with classes.
        label_texts: Label to the words that say it; the labels as they are where None.
        negatives_per_query: Largest number of negatives a pair gets, drawn from the other labels without replacement.
        mark_classes: As in :func:`pairs_by_example`; equal label texts are known to mean the same in any case.
        task: As in :func:`pairs_by_example`.
        instruction: As in :func:`pairs_by_example`.
        seed: Seed of the draws.

    Returns:
        The pairs, in the order of the texts, and what was left out.

    Raises:
        InputError: All texts are of one class, a label has no text, two labels have the same, or a number is out of
            range.

    Example:
        >>> rates = Labelled.from_columns(["how much is it", "it broke"], ["0", "1"])
        >>> pairs, _ = pairs_by_label(rates, label_texts={"0": "a question", "1": "a complaint"})
        >>> pairs.positives, pairs.negatives
        (['a question', 'a complaint'], [['a complaint'], ['a question']])
    """
    if negatives_per_query < 0:
        _refuse(f"negatives_per_query is {negatives_per_query}", "it must be at least 0")
    texts, classes, names, counts = _usable(labelled)
    wordings = _wordings(names, label_texts)
    generator = random_generator(seed, "labels of the classes")
    negatives: list[list[str]] = []
    for own in classes.tolist():
        others = _draw(generator, len(names) - 1, negatives_per_query)
        negatives.append([wordings[place + (place >= own)] for place in others])
    pairs = _pairs(
        texts,
        [wordings[own] for own in classes.tolist()],
        negatives,
        [names[own] for own in classes.tolist()],
        mark_classes,
        task,
        instruction,
    )
    alone = int((np.bincount(classes, minlength=len(names)) == 1).sum())
    return pairs, _report(labelled, pairs, names, counts, alone=alone)


@dataclass(frozen=True)
class _LeftOut:
    repeated: int
    contradictory: int


def _usable(labelled: Labelled) -> tuple[list[str], NDArray[np.int64], list[str], _LeftOut]:
    """Return the distinct texts of one class each, their classes as numbers, the classes' names, and what is left."""
    classes_of: dict[str, list[str]] = {}
    for text, label in zip(labelled.texts, labelled.labels, strict=True):
        classes_of.setdefault(text, []).append(label)
    kept = {text: labels[0] for text, labels in classes_of.items() if len(set(labels)) == 1}
    contradictory = sum(len(labels) for text, labels in classes_of.items() if text not in kept)
    if contradictory:
        LOG.warning("%d of %d texts stand under several classes and are left out", contradictory, len(labelled))
    names = sorted(set(kept.values()))
    if len(names) < 2:
        what = "no text stands under one class only" if not names else f"all texts are of one class, {names[0]!r}"
        _refuse(what, "give texts of at least two classes")
    number = {name: place for place, name in enumerate(names)}
    classes = np.array([number[label] for label in kept.values()], dtype=np.int64)
    repeated = len(labelled) - contradictory - len(kept)
    return list(kept), classes, names, _LeftOut(repeated=repeated, contradictory=contradictory)


def _wordings(names: Sequence[str], label_texts: Mapping[str, str] | None) -> list[str]:
    if label_texts is None:
        return list(names)
    owner: dict[str, str] = {}
    for name in names:
        wording = label_texts.get(name, "")
        if not wording.strip():
            _refuse(f"the label {name!r} has no text", "add it to label_texts")
        if wording in owner:
            _refuse(f"the labels {owner[wording]!r} and {name!r} have the same text", "a label's text is its own")
        owner[wording] = name
    return list(owner)


def _draw(generator: np.random.Generator, count: int, wanted: int) -> list[int]:
    return [int(place) for place in generator.choice(count, min(wanted, count), replace=False)]


def _pairs(
    queries: Sequence[str],
    positives: Sequence[str],
    negatives: Sequence[Sequence[str]],
    names: Sequence[str],
    mark_classes: bool,
    task: str,
    instruction: str,
) -> Pairs:
    ids = [f"{task}/{name}" if task else name for name in names] if mark_classes else None
    return Pairs.from_columns(
        queries,
        positives,
        negatives=negatives,
        query_ids=ids,
        positive_ids=ids,
        tasks=[task] * len(queries) if task else None,
        instructions=[instruction] * len(queries) if instruction else None,
    )


def _report(
    labelled: Labelled, pairs: Pairs, names: Sequence[str], counts: _LeftOut, *, alone: int
) -> ClassPairsReport:
    return ClassPairsReport(
        texts=len(labelled),
        pairs=len(pairs),
        classes=len(names),
        repeated=counts.repeated,
        contradictory=counts.contradictory,
        alone=alone,
    )


def _refuse(what: str, mend: str) -> NoReturn:
    raise InputError(what, where="pairs from classes", mend=mend)
