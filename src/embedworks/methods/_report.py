"""What a method's reproduction says: findings whose verdicts are computed from what was measured, never typed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embedworks.foundation import StorageError
from embedworks.foundation.files import LOCAL_FILES

if TYPE_CHECKING:
    from embedworks.evaluation.seeded_families import SeededRow

Scale = Literal["quick", "default", "paper"]
FEWEST_SEEDS = 3
_SCHEMA = 1


class Verdict(StrEnum):
    """How a claim stands after measuring."""

    SHOWN = "shown"
    NOT_SHOWN = "not shown"
    NOT_RESOLVABLE = "not resolvable at this scale"


def verdict_of_check(error: float, tolerance: float) -> Verdict:
    """Judge an exact check: the largest deviation must not exceed the tolerance.

    Example:
        >>> verdict_of_check(3e-7, 1e-5).value
        'shown'
    """
    return Verdict.SHOWN if error <= tolerance else Verdict.NOT_SHOWN


def verdict_of_difference(
    difference: float, interval: tuple[float, float], p_value: float, *, at_least: float = 0.0, alpha: float = 0.05
) -> Verdict:
    """Judge a claimed gain from its estimate, its 95 % interval and a paired test's p-value.

    Shown: the estimate reaches the claimed size and differs from zero by the test. Not shown: the interval lies
    below the claimed size, so the data speak against it. Anything between: this scale cannot tell.

    Args:
        difference: Estimated gain, in the unit of ``at_least``.
        interval: Lower and upper end of its 95 % interval.
        p_value: Two-sided p-value of the paired test against zero.
        at_least: Claimed size of the gain.
        alpha: Level of the test.

    Example:
        >>> verdict_of_difference(4.1, (3.2, 5.0), 0.001, at_least=3.0).value
        'shown'
        >>> verdict_of_difference(1.0, (0.2, 1.8), 0.01, at_least=3.0).value
        'not shown'
        >>> verdict_of_difference(2.0, (-1.0, 5.0), 0.3, at_least=3.0).value
        'not resolvable at this scale'
    """
    if difference >= at_least and difference > 0 and p_value < alpha:
        return Verdict.SHOWN
    if interval[1] < at_least or interval[1] <= 0:
        return Verdict.NOT_SHOWN
    return Verdict.NOT_RESOLVABLE


def verdict_over_seeds(row: SeededRow, seeds: Sequence[int], *, at_least: float = 0.0, sign: int = 1) -> Verdict:
    """Judge a difference over training seeds: by Holm's p over data sets where Wilcoxon's test is allowed, else units.

    Fewer than three seeds resolve nothing, whatever the data sets say.

    Args:
        row: The system's row of :func:`embedworks.evaluation.seeded_families.compare_seeded`.
        seeds: The training seeds.
        at_least: Claimed size of the gain, in points.
        sign: 1 where a gain is claimed, -1 where a loss is.
    """
    if len(seeds) < FEWEST_SEEDS or row.difference is None or row.low is None or row.high is None:
        return Verdict.NOT_RESOLVABLE
    p = row.wilcoxon_p_holm if row.wilcoxon_p_holm is not None else row.bootstrap_p_holm
    low, high = sorted((100 * sign * row.low, 100 * sign * row.high))
    return verdict_of_difference(100 * sign * row.difference, (low, high), 1.0 if p is None else p, at_least=at_least)


@dataclass(frozen=True)
class Finding:
    """One claim and what became of it."""

    name: str
    """Short identifier, unique within the report."""
    claim: str
    """The claim as a sentence, with its threshold."""
    measured: Mapping[str, Any]
    """The numbers the verdict was computed from, units in the names."""
    verdict: Verdict
    """Computed by one of the verdict functions."""
    published: Mapping[str, Any] = field(default_factory=dict)
    """The paper's own figures for the same claim, where it has them."""


@dataclass(frozen=True)
class Report:
    """What a reproduction ran, measured and found."""

    method: str
    """Name of the method."""
    scale: Scale
    """Size of the run: quick (under two minutes), default (half an hour on two cores), paper (as published)."""
    seeds: Sequence[int]
    """Training seeds."""
    config: Mapping[str, Any]
    """The resolved configuration."""
    findings: Sequence[Finding]
    """Every claim with its verdict."""
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    """Named tables of what was measured, a mapping a row; the documentation's tables are built from them."""
    environment: Mapping[str, Any]
    """Library versions, processor, threads."""
    seconds: float
    """Wall time of the whole run, in seconds."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON document."""
        return {"kind": "embedworks-report", "schema": _SCHEMA, **asdict(self)}

    def write(self, path: Path) -> None:
        """Write the report to a JSON file atomically."""
        LOCAL_FILES.replace_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Report:
        """Read a report from a JSON file.

        Raises:
            StorageError: The file is not a report of this schema.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document.pop("kind") != "embedworks-report" or document.pop("schema") != _SCHEMA:
                raise KeyError("kind")
            findings = [Finding(**{**entry, "verdict": Verdict(entry["verdict"])}) for entry in document["findings"]]
            return cls(**{**document, "findings": findings})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(
                "is not a report of this version", where=str(path), mend="write it with: embedworks reproduce"
            ) from error
