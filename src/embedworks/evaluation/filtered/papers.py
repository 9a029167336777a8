"""The arXiv set as a thing to search: vectors and attributes of some papers, and others held out as queries."""

from __future__ import annotations

import json
import lzma
import os
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.foundation import InputError, StorageError
from embedworks.foundation.randomness import random_generator

_FOLDER = "arxiv-abstracts-2025-26"
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
    """Read the arXiv set from the folder that ``EMBEDWORKS_DATA`` names.

    Args:
        rows: How many papers to search; all that are not held out unless given.
        queries: How many papers to hold out.
        seed: Decides which.

    Raises:
        InputError: The folder is not there.
        StorageError: A file is damaged.
    """
    folder = Path(os.environ.get("EMBEDWORKS_DATA", "")) / _FOLDER
    path = folder / "abstracts.jsonl.xz"
    if not path.is_file():
        mend = "set EMBEDWORKS_DATA to the folder of the data sets"
        raise InputError("the arXiv set is not there", where=str(path), mend=mend)
    try:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            papers = [json.loads(line) for line in lines]
        stored = np.load(folder / "minilm.f16.npy", mmap_mode="r")
    except (lzma.LZMAError, EOFError, ValueError, KeyError, OSError) as error:
        raise StorageError(f"is damaged ({error})", where=str(folder), mend="restore it from a copy") from error
    random = random_generator(seed, "filtered search", "held out")
    order = random.permutation(len(papers))
    asked = order[:queries]
    kept = np.sort(order[queries:] if rows is None else order[queries : queries + rows])
    return PaperSet(
        ids=[str(papers[row]["id"]) for row in kept],
        vectors=_unit(stored, kept),
        table=_attributes([papers[row] for row in kept], random.random(len(kept))),
        queries=_unit(stored, asked),
        asked_primary=[str(papers[row]["categories"][0]) for row in asked],
    )


def _unit(stored: NDArray[np.float16], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    vectors = np.asarray(stored[rows], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors)


def _attributes(papers: list[dict[str, object]], draw: NDArray[np.float64]) -> pa.Table:
    categories = [list(paper["categories"]) for paper in papers]  # type: ignore[call-overload]
    authors = [sorted(set(paper["authors"])) for paper in papers]  # type: ignore[call-overload]
    return pa.table(
        {
            "date": pa.array([date.fromisoformat(str(paper["date"])) for paper in papers], pa.date32()),
            "primary_category": [names[0] for names in categories],
            "categories": categories,
            "authors": authors,
            "number_of_authors": [len(names) for names in authors],
            "number_of_categories": [len(names) for names in categories],
            "draw": draw,
        }
    )
