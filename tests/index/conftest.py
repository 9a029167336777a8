"""Indexes that several tests search, and the brute force that they are held against."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index import Index

WORDS = ("amber", "basalt", "cobalt", "dune", "ember", "fjord", "glacier", "harbour", "island", "kelp", "lagoon")
Rows = dict[str, Any]


def _rows(number: int, *, seed: int, dimension: int) -> Rows:
    generator = random_generator(seed, "index", "rows")
    return {
        "ids": [f"item-{place:05d}" for place in generator.permutation(number)],
        "vectors": generator.standard_normal((number, dimension)).astype(np.float32),
        "texts": [" ".join(generator.choice(WORDS, size=generator.integers(0, 8))) for _ in range(number)],
        "attributes": {
            "words": generator.integers(0, 100, number).tolist(),
            "kind": [["function", "class", None][place] for place in generator.integers(0, 3, number)],
            "date": [date(2026, 1, 1) + timedelta(days=int(days)) for days in generator.integers(0, 90, number)],
            "tags": [sorted(set(generator.choice(WORDS, size=2).tolist())) for _ in range(number)],
        },
    }


@pytest.fixture(scope="session", autouse=True)
def _no_flushing() -> Iterator[None]:
    """Leave flushing out: no test here cuts the power, the crash matrix models it, and a disk takes its time."""
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda descriptor: None)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., Rows]:
    """Rows to add: ids, vectors, texts and attributes."""

    def make(number: int, *, seed: int = 0, dimension: int = 8) -> Rows:
        return _rows(number, seed=seed, dimension=dimension)

    return make


@pytest.fixture(scope="session")
def brute_force() -> Callable[..., list[tuple[str, float]]]:
    """The k best ids and cosines by a loop over all rows, in float64."""

    def search(
        ids: Sequence[str], vectors: NDArray[np.float32], query: NDArray[np.float64], k: int, passing: Sequence[bool]
    ) -> list[tuple[str, float]]:
        unit = query / np.linalg.norm(query)
        scored = []
        for name, vector, passes in zip(ids, np.asarray(vectors, dtype=np.float64), passing, strict=True):
            if passes:
                scored.append((name, float(vector @ unit / np.linalg.norm(vector))))
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]

    return search


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Index, Rows]:
    """An index of 600 rows in three segments, with deleted rows in each, and the rows that are left."""
    rows = _rows(700, seed=1, dimension=8)
    index = Index.create(tmp_path_factory.mktemp("index") / "searched.index", dimension=8)
    for start, end in ((0, 400), (400, 650), (650, 700)):
        index.add(
            rows["ids"][start:end],
            rows["vectors"][start:end],
            texts=rows["texts"][start:end],
            attributes={name: values[start:end] for name, values in rows["attributes"].items()},
        )
    index.delete(rows["ids"][::7])
    kept = [place for place in range(700) if place % 7]
    return index, {
        "ids": [rows["ids"][place] for place in kept],
        "vectors": rows["vectors"][kept],
        "texts": [rows["texts"][place] for place in kept],
        "attributes": {name: [values[place] for place in kept] for name, values in rows["attributes"].items()},
    }


@pytest.fixture
def index_path(tmp_path: Path) -> Path:
    """Where an index may be made."""
    return tmp_path / "my.index"
