"""A result: one system on one data set, with the score of every unit, in and out of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from embedworks.evaluation.statistic import Statistic, statistic_value
from embedworks.foundation import LOCAL_FILES, InputError

Task = Literal["retrieval", "sts", "classification", "nearest-neighbours", "clustering"]

RESULTS_KIND = "embedworks-results"
RESULTS_SCHEMA = 1

_TOLERANCE = 1e-6  # float64 sums in another order differ far less


@dataclass(frozen=True)
class Result:
    """What one system scored on one data set, unit by unit.

    All metrics are fractions (a Spearman correlation of 82.03 points is 0.8203). Every metric can be computed again
    from ``per_unit``, and is when the result is made, so that a figure and its units never disagree:

    * a name that stands in ``per_unit`` is the plain mean of its values;
    * ``spearman`` and ``pearson`` are correlations of ``per_unit["cosine"]`` with ``per_unit["gold"]``;
    * ``v-measure`` is the mean over seeds of the V-measure of ``per_unit["cluster_0"]``, ``per_unit["cluster_1"]``,
      ... against ``per_unit["label"]`` (label numbers).

    Args:
        system: Name of what was measured.
        data_set: Name of what it was measured on.
        task: Kind of task.
        metrics: Metric name to value.
        primary: The metric of ``metrics`` that decides.
        unit_ids: Ids of queries, pairs or texts, in the order of the values.
        per_unit: Name to one number a unit.
        data_hash: SHA-256 of what was judged (:func:`hash_of`); two results are compared only when equal.
        details: Facts of the protocol, such as depth, draws, skipped queries.
        environment: Library versions and machine (``foundation.environment``).

    Raises:
        InputError: Lengths differ, a value is not finite, or a metric is not what its units give.
    """

    system: str
    data_set: str
    task: Task
    metrics: dict[str, float]
    primary: str
    unit_ids: list[str]
    per_unit: dict[str, list[float]]
    data_hash: str
    details: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"result of {self.system!r} on {self.data_set!r}"
        if self.task not in get_args(Task):
            raise InputError(f"{self.task!r} is no task", where=where, mend=f"use one of {', '.join(get_args(Task))}")
        if self.primary not in self.metrics:
            raise InputError(f"the primary metric {self.primary!r} is not among the metrics", where=where)
        if not self.unit_ids:
            raise InputError("there is no unit", where=where, mend="judge at least one query, pair or text")
        if len(set(self.unit_ids)) != len(self.unit_ids):
            raise InputError("unit ids repeat", where=where, mend="give every query, pair or text its own id")
        for name, values in self.per_unit.items():
            if len(values) != len(self.unit_ids):
                raise InputError(
                    f"{len(self.unit_ids)} units but {len(values)} values", where=f"{where}, per_unit {name!r}"
                )
            if not np.isfinite(np.asarray(values, np.float64)).all():
                raise InputError("a value is not finite", where=f"{where}, per_unit {name!r}")
        for name, value in self.metrics.items():
            again = float(statistic_value(self.statistic_of(name), self.columns_of(name))[0])
            if not (math.isfinite(value) and abs(again - value) <= _TOLERANCE):
                raise InputError(
                    f"the value is {value}, but the units give {again}",
                    where=f"{where}, metric {name!r}",
                    mend="the file was altered, or per-unit values belong to another run",
                )

    @property
    def value(self) -> float:
        """The primary metric, as a fraction."""
        return self.metrics[self.primary]

    @property
    def statistic(self) -> Statistic:
        """How the primary metric is computed from the units."""
        return self.statistic_of(self.primary)

    def statistic_of(self, metric: str) -> Statistic:
        """Return how a metric is computed from the units.

        Raises:
            InputError: The units needed are not there.
        """
        where = f"result of {self.system!r} on {self.data_set!r}, metric {metric!r}"
        if metric in self.per_unit:
            return "mean"
        if metric in ("spearman", "pearson") and {"cosine", "gold"} <= self.per_unit.keys():
            return "spearman" if metric == "spearman" else "pearson"
        if metric == "v-measure" and {"label", "cluster_0"} <= self.per_unit.keys():
            return "v-measure"
        raise InputError(
            "cannot be computed from the per-unit values",
            where=where,
            mend=f"choose one of {', '.join(self.metrics)}",
        )

    def columns_of(self, metric: str) -> list[list[float]]:
        """Return the per-unit columns a metric is computed from, in the order its statistic wants them."""
        statistic = self.statistic_of(metric)
        if statistic == "mean":
            return [self.per_unit[metric]]
        if statistic == "v-measure":
            seeds = [name for name in self.per_unit if name.startswith("cluster_")]
            return [self.per_unit["label"], *(self.per_unit[name] for name in seeds)]
        return [self.per_unit["cosine"], self.per_unit["gold"]]

    def renamed(self, system: str) -> Result:
        """Return the same result under another system name."""
        return replace(self, system=system)

    def to_json(self) -> dict[str, Any]:
        """Return a document of JSON types; ``points`` is the primary metric times 100."""
        return {
            "system": self.system,
            "data_set": self.data_set,
            "task": self.task,
            "primary": self.primary,
            "points": round(100 * self.value, 4),
            "statistic": self.statistic,
            "metrics": self.metrics,
            "units": len(self.unit_ids),
            "details": self.details,
            "environment": self.environment,
            "data_hash": self.data_hash,
            "unit_ids": self.unit_ids,
            "per_unit": self.per_unit,
        }

    @classmethod
    def from_json(cls, document: Any, *, where: str = "result") -> Result:
        """Read what :meth:`to_json` returned, checking every field.

        Args:
            document: Parsed JSON.
            where: File and place, for error messages.

        Raises:
            InputError: A field is missing, of the wrong type, or contradicts the per-unit values.
        """
        if not isinstance(document, Mapping):
            raise InputError("is no JSON object", where=where, mend="give a results file written by embedworks")
        return cls(
            system=_text(document, "system", where),
            data_set=_text(document, "data_set", where),
            task=_text(document, "task", where),  # type: ignore[arg-type]  # checked by the constructor
            metrics={
                name: _number(value, f"{where}, metrics, {name!r}")
                for name, value in _object(document, "metrics", where).items()
            },
            primary=_text(document, "primary", where),
            unit_ids=[
                _string(value, f"{where}, unit_ids, entry {row}")
                for row, value in enumerate(_array(document, "unit_ids", where))
            ],
            per_unit={
                name: [
                    _number(value, f"{where}, per_unit, {name!r}, entry {row}")
                    for row, value in enumerate(_array(columns, name, f"{where}, per_unit"))
                ]
                for columns in [_object(document, "per_unit", where)]
                for name in columns
            },
            data_hash=_text(document, "data_hash", where),
            details=dict(_object(document, "details", where)),
            environment=dict(_object(document, "environment", where)),
        )


def write_results(path: Path, results: Sequence[Result]) -> None:
    """Write a results file whole or not at all.

    Args:
        path: File to write; one that exists is replaced.
        results: Any number of results.
    """
    LOCAL_FILES.replace_json(Path(path), results_document(results))


def results_document(results: Sequence[Result]) -> dict[str, Any]:
    """Return the JSON document of a results file: kind, schema and the results."""
    return {
        "kind": RESULTS_KIND,
        "schema": RESULTS_SCHEMA,
        "results": [result.to_json() for result in results],
    }


def read_results(path: Path) -> list[Result]:
    """Read a results file.

    Args:
        path: A file written by :func:`write_results`.

    Raises:
        InputError: The file is missing, no JSON, of another kind or schema, or a result in it is unsound.
    """
    where = str(path)
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "no such file", where=where, mend="write one with: embedworks evaluate MODEL --on DATA --json FILE"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as JSON ({error})", where=where, mend="write it again") from error
    if not isinstance(document, Mapping) or document.get("kind") != RESULTS_KIND:
        raise InputError(
            f"is no results file (its kind is not {RESULTS_KIND!r})",
            where=where,
            mend="write one with: embedworks evaluate MODEL --on DATA --json FILE",
        )
    if document.get("schema") != RESULTS_SCHEMA:
        raise InputError(
            f"schema {document.get('schema')!r} is not known to this version", where=where, mend="update embedworks"
        )
    return [
        Result.from_json(entry, where=f"{where}, result {row}")
        for row, entry in enumerate(_array(document, "results", where))
    ]


def hash_of(*columns: Iterable[str]) -> str:
    """Return a SHA-256 of columns of texts: which data set was judged, whatever file it came from.

    Args:
        columns: Texts in order; the hash depends on the columns, their order and every text.

    Example:
        >>> hash_of(["ab", "c"]) == hash_of(["a", "bc"])
        False
    """
    digest = sha256()
    for column in columns:
        digest.update(b"column")
        for text in column:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()


def _field(document: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in document:
        raise InputError(f"the field {name!r} is missing", where=where, mend="write the file again")
    return document[name]


def _text(document: Mapping[str, Any], name: str, where: str) -> str:
    return _string(_field(document, name, where), f"{where}, {name}")


def _object(document: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = _field(document, name, where)
    if not isinstance(value, Mapping):
        raise InputError(f"is {type(value).__name__}, not an object", where=f"{where}, {name}")
    return value


def _array(document: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = _field(document, name, where)
    if not isinstance(value, list):
        raise InputError(f"is {type(value).__name__}, not an array", where=f"{where}, {name}")
    return value


def _string(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"is {type(value).__name__}, not a text", where=where)
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"is {type(value).__name__}, not a number", where=where)
    return float(value)
