"""The arXiv set as a thing to search: vectors and attributes of some papers, and others held out as queries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.data import load_data_set
from embedworks.foundation.randomness import random_generator

_NAMES = {
    "date": "date",
    "primary": "primary_category",
    "categories": "categories",
    "authors": "authors",
    "number_of_authors": "number_of_authors",
    "number_of_sub_categories": "number_of_categories",
}
TUNING, MEASURING = 200, 200
"""Queries to choose settings by, and others to measure with."""


@dataclass(frozen=True, eq=False)
class PaperSet:
    """Papers to search and to ask for.

    Args:
        ids: arXiv ids, length (n,).
        vectors: Of length 1, float32, shape (n, d).
        table: Attributes date, primary_category, categories, authors, number_of_authors, number_of_categories and draw
            (a random number from [0, 1)), n rows.
        queries: Vectors of held-out papers, of length 1, float32, shape (q, d).
        asked_primary: Primary category of each held-out paper.
    """

    ids: list[str]
    vectors: NDArray[np.float32]
    table: pa.Table
    queries: NDArray[np.float32]
    asked_primary: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def days(self) -> NDArray[np.int64]:
        """Dates as days since 0001-01-01, int64, shape (n,)."""
        return np.array([day.toordinal() for day in self.table.column("date").to_pylist()], dtype=np.int64)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return an attribute with an order as numbers, float64, shape (n,); dates as days."""
        if name == "date":
            return self.days.astype(np.float64)
        return np.asarray(self.table.column(name).to_numpy(), dtype=np.float64)


def read_paper_set(*, rows: int | None = None, queries: int = TUNING + MEASURING, seed: int = 0) -> PaperSet:
    """Take the arXiv set apart into papers to search and papers to ask for.

    Args:
        rows: How many papers to search; all that are not held out unless given.
        queries: How many papers to hold out.
        seed: Decides which.

    Raises:
        StorageError: The set is neither in the folder of the data sets nor in the cache, or it is damaged.
    """
    parts: dict[str, Any] = dict(load_data_set("arxiv-abstracts-2025-26"))
    papers, stored = parts["papers"].table, parts["minilm"]
    random = random_generator(seed, "filtered search", "held out")
    order = random.permutation(papers.num_rows)
    asked = order[:queries]
    kept = np.sort(order[queries:] if rows is None else order[queries : queries + rows])
    found, draw = papers.take(kept), random.random(len(kept))
    return PaperSet(
        ids=found["id"].to_pylist(),
        vectors=_unit(stored, kept),
        table=found.select(list(_NAMES)).rename_columns(_NAMES).append_column("draw", pa.array(draw)),
        queries=_unit(stored, asked),
        asked_primary=papers["primary"].take(asked).to_pylist(),
    )


def _unit(stored: NDArray[np.float16], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    vectors = np.asarray(stored[rows], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors)
