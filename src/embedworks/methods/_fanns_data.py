"""The questions of the benchmark: filters of each form over arXiv papers, one a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.evaluation.filtered.cells import Condition, Filter
from embedworks.evaluation.filtered.papers import PaperSet, read_paper_set
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, RowFilter
from embedworks.index.structures.prefilter import PreFilter

K = 10
_EPOCH = 719_163
"""1970-01-01 counted in days from 0001-01-01."""
_EMIS = ("cs.CV", "cs.AI", "cs.CL", "cs.LG", "cs.RO", "cs.IR")
_FIELD, _OTHER_FIELD = "cs.CV", "cs.GT"


@dataclass(frozen=True, eq=False)
class Question:
    """Filters of one form, one a query, and the exact answers.

    Args:
        name: The form.
        asked: Rows of the set's queries, int64, shape (count,).
        filters: As other engines take them, length (count,).
        wheres: As our structures take them, length (count,).
        best: The min(k, passing) nearest rows that pass, one array a query.
    """

    name: str
    asked: NDArray[np.int64]
    filters: list[Filter]
    wheres: list[RowFilter]
    best: list[NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Trial:
    """One seed's papers and questions.

    Args:
        papers: The set.
        attributes: Its attributes, with number_of_sub_categories as a label, tenth and hundredth (random labels).
        questions: By name.
    """

    papers: PaperSet
    attributes: Attributes
    questions: dict[str, Question]


def make_trial(*, rows: int | None, queries: int, seed: int) -> Trial:
    """Draw papers, queries and filters.

    Args:
        rows: Papers to search; all that are not held out where None.
        queries: Papers held out.
        seed: Decides everything.
    """
    papers = read_paper_set(rows=rows, queries=queries, seed=seed)
    random = random_generator(seed, "fanns", "filters")
    sizes = papers.numbers("number_of_categories").astype(np.int64)
    draw = papers.numbers("draw")
    table = (
        papers.table.append_column("number_of_sub_categories", pa.array([str(size) for size in sizes]))
        .append_column("tenth", pa.array([str(int(value * 10)) for value in draw]))
        .append_column("hundredth", pa.array([str(int(value * 100)) for value in draw]))
    )
    attributes = Attributes(table)
    exact = PreFilter.build(papers.vectors)
    everyone = np.arange(len(papers.queries))

    def question(name: str, conditions: Sequence[Sequence[Condition]], asked: NDArray[np.int64]) -> Question:
        known: dict[tuple[Condition, ...], tuple[Filter, RowFilter]] = {}
        for parts in map(tuple, conditions):
            if parts not in known:
                mask = np.logical_and.reduce([part.mask(papers) for part in parts])
                known[parts] = Filter(parts, mask), _row_filter(attributes, parts, mask)
        pairs = [known[tuple(parts)] for parts in conditions]
        wheres = [where for _, where in pairs]
        best = [exact.search(papers.queries[q], K, w, beam=1).rows for q, w in zip(asked, wheres, strict=True)]
        return Question(name, asked, [made for made, _ in pairs], wheres, best)

    def each(make: Sequence[Sequence[Condition]]) -> list[Sequence[Condition]]:
        return [make[int(choice)] for choice in random.integers(0, len(make), size=len(everyone))]

    ordered = np.sort(papers.numbers("date"))

    def dates(share: float, count: int) -> list[list[Condition]]:
        width = max(1, round(share * len(ordered)))
        firsts = random.integers(0, len(ordered) - width + 1, size=count)
        return [[Condition("date", "between", ordered[first], ordered[first + width - 1])] for first in firsts]

    spans = [one for share in (0.1, 0.3, 0.5) for one in dates(share, 8)]
    labels = [[Condition("categories", "has", value=name)] for name in _EMIS]
    combined = [[*span, *label] for span in dates(0.5, 4) for label in labels[:3]]
    counts = [[Condition("number_of_categories", "between", size, size)] for size in (1.0, 2.0, 3.0)]
    upto = [[Condition("date", "between", high=float(np.quantile(ordered, share)))] for share in (0.1, 0.3, 0.5)]
    from_field = np.flatnonzero([name == _FIELD for name in papers.asked_primary])
    made = [
        question("EM", each(counts), everyone),
        question("R", each(spans), everyone),
        question("R, one-sided", each(upto), everyone),
        question("EMIS", each(labels), everyone),
        question("combined", each(combined), everyone),
        question(
            "correlated", [[Condition("primary_category", "equals", value=_OTHER_FIELD)]] * len(from_field), from_field
        ),
    ]
    for share in (0.5, 0.1, 0.01, 0.001):
        low = 0.3 if share < 0.5 else 0.0
        made.append(question(f"random {share:.1%}", [[_drawn(low, share)]] * len(everyone), everyone))
    return Trial(papers, attributes, {one.name: one for one in made})


def _drawn(low: float, share: float) -> Condition:
    return Condition("draw", "between", low, float(np.nextafter(low + share, 0)))


def _row_filter(attributes: Attributes, parts: tuple[Condition, ...], mask: NDArray[np.bool_]) -> RowFilter:
    if len(parts) > 1:
        return attributes.arbitrary(mask)
    part = parts[0]
    if part.kind != "between":
        return attributes.labels(part.attribute, [part.value])
    if part.attribute == "number_of_categories":
        return attributes.labels("number_of_sub_categories", [str(int(part.low))])
    if part.attribute == "date":
        return attributes.range("date", low=part.low - _EPOCH, high=part.high - _EPOCH)
    # A random subset that is one whole tenth or hundredth is asked for by its label, so that label graphs take part.
    for name, number in (("tenth", 10), ("hundredth", 100)):
        label = attributes.labels(name, [str(round(part.low * number))])
        if np.array_equal(label.mask, mask):
            return label
    return attributes.range("draw", low=part.low, high=part.high)
