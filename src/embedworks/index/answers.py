"""What a search gives back: the hits, how they were found, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError

Mode = Literal["vector", "lexical", "hybrid"]


@dataclass(frozen=True)
class Fusion:
    """How a hybrid search joins the vector side and the lexical side.

    Args:
        method: ``score`` adds the two sides' scores, each scaled to [0, 1] over the candidates of the query;
            ``reciprocal-rank`` adds ``weight / (constant + rank)`` (Cormack, Clarke and Buettcher, SIGIR 2009).
        vector_weight: Share of the vector side, between 0 and 1; the lexical side has the rest.
        constant: The constant of the reciprocal-rank form; the paper's value.
        candidates: How many of each side's best are joined (at least k).
    """

    method: Literal["score", "reciprocal-rank"] = "score"
    vector_weight: float = 0.5
    constant: int = 60
    candidates: int = 100

    def __post_init__(self) -> None:
        if self.method not in {"score", "reciprocal-rank"}:
            raise InputError(f"{self.method!r} is unknown", where="fusion method", mend="use score or reciprocal-rank")
        if not 0.0 <= self.vector_weight <= 1.0:
            raise InputError(f"{self.vector_weight} is outside 0 to 1", where="fusion vector_weight")
        if self.constant < 1 or self.candidates < 1:
            raise InputError("constant and candidates are at least 1", where="fusion")


@dataclass(frozen=True)
class Hit:
    """One row found: its id, its score (higher is better), its text and attributes."""

    id: str
    score: float
    text: str | None
    attributes: dict[str, Any]


class Hits(Sequence[Hit]):
    """The rows found, best first; their texts and attributes are read when they are first looked at.

    Args:
        count: How many there are.
        read: Reads them.
    """

    def __init__(self, count: int, read: Callable[[], list[Hit]]) -> None:
        self._count = count
        self._read = read
        self._found: list[Hit] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Hit: ...

    @overload
    def __getitem__(self, place: slice) -> list[Hit]: ...

    def __getitem__(self, place: int | slice) -> Hit | list[Hit]:
        return self._all()[place]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._all())

    def _all(self) -> list[Hit]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(self._all())


@dataclass(slots=True)
class Cost:
    """What finding the hits of one query, or of all queries with the same filter, took.

    Args:
        codes: Rows compared with a query by their codes.
        vectors: Rows compared by their vectors, in float64.
        lists: Lists that were opened.
        milliseconds: Step to wall time, in the order they were taken.
    """

    codes: int = 0
    vectors: int = 0
    lists: int = 0
    milliseconds: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """The hits of one query, best first, ties in the order of their ids.

    Args:
        hits: At most k rows.
        milliseconds: Wall time until the rows were known; in a batch, the batch's time divided by its queries.
        how: One line saying which way was taken over how many rows.
        passing: Rows that the filter lets pass (all live rows without one).
        rows: Live rows in the index.
        mode: ``vector``, ``lexical`` or ``hybrid``.
        approximate: Whether only some lists were opened, which may miss a neighbour.
        recall: Share of the true nearest rows that is expected among the hits; 1 unless approximate. It was measured on
            stored rows when the lists were made.
        cost: What it took; in a batch, all queries with the same filter together.
    """

    hits: Hits
    milliseconds: float
    how: str
    passing: int
    rows: int
    mode: Mode
    approximate: bool
    recall: float
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON-ready values; dates become ISO text."""
        return {
            "hits": [
                {
                    "id": hit.id,
                    "score": hit.score,
                    "text": hit.text,
                    "attributes": {name: _plain(value) for name, value in hit.attributes.items()},
                }
                for hit in self.hits
            ],
            "milliseconds": self.milliseconds,
            "how": self.how,
            "passing": self.passing,
            "rows": self.rows,
            "mode": self.mode,
            "approximate": self.approximate,
            "recall": self.recall,
        }


@dataclass(frozen=True)
class Explanation:
    """How a search went, step by step.

    Args:
        answer: What it found.
        estimated_share: Share of the rows expected to pass, from a sample.
        expected_milliseconds: What the way taken was expected to cost; None where there was no choice.
        scan_milliseconds: What a scan of all that passes was expected to cost; likewise.
    """

    answer: Answer
    estimated_share: float
    expected_milliseconds: float | None
    scan_milliseconds: float | None

    @property
    def true_share(self) -> float:
        """Share of the rows that pass."""
        return self.answer.passing / max(1, self.answer.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the hits as JSON-ready values."""
        return {
            "how": self.answer.how,
            "selectivity": {"estimated": self.estimated_share, "true": self.true_share},
            "recall": self.answer.recall,
            "compared": {"codes": self.answer.cost.codes, "vectors": self.answer.cost.vectors},
            "lists": self.answer.cost.lists,
            "expected_milliseconds": self.expected_milliseconds,
            "scan_milliseconds": self.scan_milliseconds,
            "milliseconds": dict(self.answer.cost.milliseconds),
        }

    def __str__(self) -> str:
        cost = self.answer.cost
        lines = [
            f"plan         {self.answer.how}",
            f"selectivity  {self.estimated_share:.2%} estimated, {self.true_share:.2%} true "
            f"({self.answer.passing:,} of {self.answer.rows:,} rows)",
            f"recall       {self.answer.recall:.3f} expected" if self.answer.approximate else "recall       exact",
            f"compared     {cost.codes:,} codes, {cost.vectors:,} vectors; {cost.lists:,} lists opened",
        ]
        if self.expected_milliseconds is not None and self.scan_milliseconds is not None:
            lines.append(f"expected     {self.expected_milliseconds:.3f} ms; a scan {self.scan_milliseconds:.3f} ms")
        lines += [f"{step:<12} {taken:.3f} ms" for step, taken in cost.milliseconds.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Item:
    """One stored row.

    Args:
        id: Its id.
        text: Its text, or None.
        attributes: Its attributes, null ones as None.
        vector: Its vector at unit length, float32, shape (dimension,).
    """

    id: str
    text: str | None
    attributes: dict[str, Any]
    vector: NDArray[np.float32] = field(repr=False, compare=False)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value
