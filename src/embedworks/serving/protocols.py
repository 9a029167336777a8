"""What the server knows of an index: the few calls it makes, and the fields of the answers it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Mode = Literal["vector", "lexical", "hybrid"]


class SearchEntry(Protocol):
    """One entry of an index."""

    @property
    def id(self) -> str:
        """Id of the entry."""
        ...

    @property
    def text(self) -> str | None:
        """Its text, or None where the index keeps none."""
        ...

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Its attributes by name."""
        ...


class SearchHit(SearchEntry, Protocol):
    """One entry that was found."""

    @property
    def score(self) -> float:
        """How near it is; larger is nearer."""
        ...


class SearchAnswer(Protocol):
    """What a search returned."""

    @property
    def hits(self) -> Sequence[SearchHit]:
        """Entries, nearest first."""
        ...

    @property
    def milliseconds(self) -> float:
        """Time the search took."""
        ...

    @property
    def how(self) -> str:
        """How it was done, in words."""
        ...

    @property
    def passing(self) -> int:
        """Number of entries that pass the filter."""
        ...


@runtime_checkable
class SearchIndex(Protocol):
    """An index that can be served; :class:`embedworks.index.Index` is one."""

    def __len__(self) -> int:
        """Number of entries."""
        ...

    @property
    def dimension(self) -> int:
        """Components of a vector."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The attributes."""
        ...

    def search(
        self,
        vector: NDArray[np.float32] | None = None,
        *,
        text: str | None = None,
        k: int = 10,
        where: str | None = None,
        mode: Mode = "vector",
    ) -> SearchAnswer:
        """Find the entries nearest to a vector, to a text, or to both."""
        ...

    def more_like(self, id: str, *, k: int = 10, where: str | None = None) -> SearchAnswer:  # noqa: A002
        """Find the entries nearest to one of the index's own."""
        ...

    def facets(self, name: str, *, where: str | None = None) -> dict[Any, int]:
        """Count the values of an attribute over the entries that pass a filter, the most frequent first."""
        ...
