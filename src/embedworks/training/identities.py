"""Which texts of a set of pairs mean the same: equal texts, and texts under equal ids."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedworks.data import Pairs


@dataclass(frozen=True)
class Identities:
    """One whole number a text; equal numbers say that neither text is a negative of the other."""

    queries: NDArray[np.int64]
    """Numbers of the queries, shape (n,)."""
    positives: NDArray[np.int64]
    """Numbers of the positives, shape (n,)."""
    negatives: list[list[int]]
    """Numbers of each pair's negatives."""


def identities_of(pairs: Pairs) -> Identities:
    """Number the texts of all columns in one space, so that a query that is another row's positive is seen too.

    Two texts have the same number if they are equal, if their ids (``query_id``, ``positive_id``) are equal, or if
    a chain of such steps joins them.

    Example:
        >>> pairs = Pairs.from_columns(["a", "b"], ["x", "y"], query_ids=["1", "1"], negatives=[["y"], []])
        >>> found = identities_of(pairs)
        >>> found.queries.tolist(), found.positives.tolist(), found.negatives
        ([0, 0], [1, 2], [[2], []])
    """
    groups = _Groups()
    queries, positives = pairs.queries, pairs.positives
    negatives = pairs.negatives or [[] for _ in queries]
    for texts, ids, kind in ((queries, pairs.query_ids, "query"), (positives, pairs.positive_ids, "positive")):
        if ids is not None:
            for text, identifier in zip(texts, ids, strict=True):
                groups.join(("text", text), (kind, identifier))
    numbers: dict[Hashable, int] = {}

    def number(text: str) -> int:
        return numbers.setdefault(groups.root(("text", text)), len(numbers))

    return Identities(
        queries=np.array([number(text) for text in queries], dtype=np.int64),
        positives=np.array([number(text) for text in positives], dtype=np.int64),
        negatives=[[number(text) for text in row] for row in negatives],
    )


def fingerprint(pairs: Pairs) -> str:
    """Return the SHA-256 of all that training reads from the pairs, in their order."""
    digest = hashlib.sha256()
    columns = (pairs.queries, pairs.positives, pairs.negatives, pairs.query_ids, pairs.positive_ids, pairs.instructions)
    for column in columns:
        digest.update(b"\x00absent" if column is None else b"\x00present")
        for cell in column or ():
            for text in [cell] if isinstance(cell, str) else [str(len(cell)), *cell]:
                encoded = text.encode("utf-8", errors="surrogatepass")
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


class _Groups:
    """Disjoint sets with path halving."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def root(self, item: Hashable) -> Hashable:
        while (parent := self._parent.get(item, item)) != item:
            self._parent[item] = self._parent.get(parent, parent)
            item = self._parent[item]
        return item

    def join(self, first: Hashable, second: Hashable) -> None:
        self._parent[self.root(second)] = self.root(first)
