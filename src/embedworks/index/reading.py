"""What an opened index tells: its facts, its rows by their ids, and the nearest of them under a filter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from embedworks.foundation import InputError
from embedworks.index.answers import Answer, Explanation, Fusion, Item, Mode
from embedworks.index.facets import value_counts
from embedworks.index.intake import Strings, checked_ids
from embedworks.index.listing import Listing
from embedworks.index.quick_search import answer_one, expected_plan
from embedworks.index.searching import WANTED_RECALL, Request, answer_all, checked_queries
from embedworks.index.store import Store
from embedworks.index.stored_vectors import Storage


class IndexReader:
    """Everything of an :class:`embedworks.index.Index` that changes nothing on the disk.

    Args:
        store: The opened directory.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def path(self) -> Path:
        """The directory."""
        return self._store.path

    def __len__(self) -> int:
        return self._store.snapshot.live_rows

    def __contains__(self, id: object) -> bool:  # noqa: A002 - the record's own word
        return isinstance(id, str) and bool(self._store.snapshot.rows_of(pa.array([id]))[0] >= 0)

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, rows={len(self)}, dimension={self.dimension})"

    @property
    def dimension(self) -> int:
        """Components of every vector."""
        return self._store.snapshot.manifest.dimension

    @property
    def storage(self) -> Storage:
        """How vectors are kept: float32, float16, int8 or pq."""
        return self._store.snapshot.manifest.storage

    @property
    def model(self) -> str | None:
        """Name or path of the model the vectors come from."""
        return self._store.snapshot.manifest.model

    @property
    def lexical(self) -> bool:
        """Whether texts are indexed by their terms too."""
        return self._store.snapshot.manifest.lexical is not None

    @property
    def fusion(self) -> Fusion:
        """How a hybrid search joins its two sides unless a call says otherwise."""
        return self._store.snapshot.manifest.fusion

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the attributes."""
        return self._store.snapshot.manifest.schema

    @property
    def attributes(self) -> dict[str, str]:
        """Names of the attributes and their types: int64, float64, string, bool, date, timestamp, list<string>."""
        return dict(self._store.snapshot.manifest.attributes)

    def get(self, ids: Strings) -> list[Item]:
        """Return rows by their ids.

        Args:
            ids: Distinct ids of rows that exist.

        Returns:
            The items in the order of the ids.

        Raises:
            InputError: An id is not in the index.
        """
        snapshot, names = self._store.snapshot, checked_ids(ids)
        rows = snapshot.existing(names, where=str(self.path))
        found = snapshot.records(rows).to_pylist()
        return [
            Item(id=row.pop("id"), text=row.pop("text"), attributes=row, vector=vector)
            for row, vector in zip(found, snapshot.vectors(rows), strict=True)
        ]

    def refresh(self) -> bool:
        """Go on to the last commit, which another process may have made; return whether there was a newer one."""
        return self._store.refresh()

    def listing(self) -> Listing:
        """Return the live rows as a list: by date, counted by day, with their vectors, without a query."""
        return Listing(self._store.snapshot)

    def facets(self, name: str, *, where: str | None = None) -> dict[Any, int]:
        """Count the values of an attribute over the live rows, the most frequent first.

        Args:
            name: An attribute; of a set, each member counts.
            where: Only rows that pass this filter count.

        Returns:
            Value to number of rows; nulls are left out, equal counts stand in the order of their values.

        Raises:
            InputError: There is no such attribute, or the filter is refused.
        """
        return value_counts(self._store.snapshot, name, where)

    def search(
        self,
        vector: ArrayLike | None = None,
        *,
        text: str | None = None,
        k: int = 10,
        where: str | None = None,
        mode: Mode = "vector",
        fusion: Fusion | None = None,
        exact: bool = False,
        recall: float = WANTED_RECALL,
    ) -> Answer:
        """Find the k best rows.

        No hit ever violates ``where``, and if at least k rows pass, k come back (in ``lexical`` mode: k of those that
        share a term with the query).

        Args:
            vector: The query's vector, shape (dimension,), for modes ``vector`` and ``hybrid``.
            text: The query's text, for modes ``lexical`` and ``hybrid``.
            k: How many hits are wanted.
            where: A filter such as ``"year >= 2025 and kind = 'function'"``; see docs/rooms/index.md.
            mode: ``vector`` ranks by cosine, ``lexical`` by BM25, ``hybrid`` by both.
            fusion: How a hybrid search joins its sides; the index's own unless given.
            exact: Whether all rows that pass are scanned; then the ranking is that of a float64 brute force.
            recall: Least share of the true nearest rows to expect of an approximate answer, above 0 and at most 1.

        Returns:
            The hits and how they were found.

        Raises:
            InputError: The filter, the vector or the combination cannot be used.
        """
        one = None if vector is None else np.asarray(vector)
        if one is not None and one.ndim != 1:
            raise InputError(f"the shape is {one.shape}", where="vector", mend="pass one vector, or use search_batch")
        if mode == "vector" and one is not None:
            wanted = 1.0 if exact else recall
            answer = answer_one(self._store.snapshot, one, k=k, where=where, recall=wanted)
            if answer is not None:
                return answer
        return self.search_batch(
            None if one is None else one[np.newaxis],
            texts=None if text is None else [text],
            k=k,
            where=where,
            mode=mode,
            fusion=fusion,
            exact=exact,
            recall=recall,
        )[0]

    def explain(
        self,
        vector: ArrayLike | None = None,
        *,
        text: str | None = None,
        k: int = 10,
        where: str | None = None,
        mode: Mode = "vector",
        fusion: Fusion | None = None,
        exact: bool = False,
        recall: float = WANTED_RECALL,
    ) -> Explanation:
        """Search, and say how: the plan, the selectivity, what was compared, and the milliseconds of each step.

        Args:
            vector: As in :meth:`search`, like the others.
            text: The query's text.
            k: How many hits are wanted.
            where: A filter.
            mode: ``vector``, ``lexical`` or ``hybrid``.
            fusion: How a hybrid search joins its sides.
            exact: Whether all rows that pass are scanned.
            recall: Least recall to expect.

        Returns:
            The explanation, with the answer in it; printed, it is a few lines.

        Raises:
            InputError: As in :meth:`search`.
        """
        answer = self.search(vector, text=text, k=k, where=where, mode=mode, fusion=fusion, exact=exact, recall=recall)
        snapshot = self._store.snapshot
        wide = k if mode == "vector" else max(k, (fusion or snapshot.manifest.fusion).candidates)
        chosen = None
        if mode != "lexical":
            chosen = expected_plan(snapshot, snapshot.passing(where), k=wide, recall=1.0 if exact else recall)
        return Explanation(
            answer,
            estimated_share=snapshot.estimated_share(where),
            expected_milliseconds=None if chosen is None else chosen.nanoseconds / 1e6,
            scan_milliseconds=None if chosen is None else chosen.scan_nanoseconds / 1e6,
        )

    def search_batch(
        self,
        vectors: ArrayLike | None = None,
        *,
        texts: Sequence[str] | None = None,
        k: int = 10,
        where: str | Sequence[str | None] | None = None,
        mode: Mode = "vector",
        fusion: Fusion | None = None,
        exact: bool = False,
        recall: float = WANTED_RECALL,
    ) -> list[Answer]:
        """Find the k best rows for each of many queries; those with the same filter share one scan.

        Args:
            vectors: Query vectors, shape (queries, dimension).
            texts: Query texts, length (queries,).
            k: How many hits each query wants.
            where: One filter for all, or one a query.
            mode: As in :meth:`search`.
            fusion: As in :meth:`search`.
            exact: As in :meth:`search`.
            recall: As in :meth:`search`.

        Returns:
            One answer a query.

        Raises:
            InputError: As in :meth:`search`, or the numbers of vectors, texts and filters differ.
        """
        snapshot = self._store.snapshot
        fusion = fusion or snapshot.manifest.fusion
        request = Request(k=k, mode=mode, fusion=fusion, recall=1.0 if exact else recall)
        return answer_all(snapshot, checked_queries(snapshot, request, vectors=vectors, texts=texts, where=where))

    def more_like(self, id: str, *, k: int = 10, where: str | None = None) -> Answer:  # noqa: A002
        """Find the rows nearest to a stored one, itself left out.

        Args:
            id: The id of a row.
            k: How many hits are wanted.
            where: A filter.

        Returns:
            The hits and how they were found.

        Raises:
            InputError: There is no such row, or the filter is refused.
        """
        snapshot = self._store.snapshot
        row = snapshot.existing(checked_ids([id]), where=str(self.path))
        request = Request(k=k, mode="vector", fusion=snapshot.manifest.fusion, recall=WANTED_RECALL)
        queries = checked_queries(snapshot, request, vectors=snapshot.vectors(row), texts=None, where=where)
        return answer_all(snapshot, queries, left_out=int(row[0]))[0]
