"""What a search gives back: the hits, how they were found, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
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
        self._read = cache(read)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Hit: ...

    @overload
    def __getitem__(self, place: slice) -> list[Hit]: ...

    def __getitem__(self, place: int | slice) -> Hit | list[Hit]:
        return self._read()[place]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._read())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(self._read())


@dataclass(frozen=True)
class Answer:
    """The hits of one query, best first, ties in the order of their ids.

    Args:
        hits: At most k rows.
        milliseconds: Wall time until the rows were known; in a batch, the batch's time divided by its queries.
        how: One line saying which way was taken over how many rows.
        passing: Rows that the filter lets pass (all live rows without one).
        rows: Live rows in the index.
        mode: ``vector``, ``lexical`` or ``hybrid``.
        approximate: Whether a graph was used, which may miss a neighbour.
    """

    hits: Hits
    milliseconds: float
    how: str
    passing: int
    rows: int
    mode: Mode
    approximate: bool

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
        }


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
