"""A whole index copied to a server: everything arrives, what does not fit is refused, a killed copy is finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError, StorageError
from embedworks.index import Index
from embedworks.index.adapters import PgvectorCollection, copy_index, portable_schema
from embedworks.index.adapters import copying as module


@pytest.fixture
def small(tmp_path: Path) -> Index:
    """An index of two segments with deleted rows and an attribute that never had a value."""
    index = Index.create(tmp_path / "small.index", dimension=3)
    vectors = np.arange(60, dtype=np.float32).reshape(20, 3) + 1
    index.add([f"r{row}" for row in range(12)], vectors[:12], texts=["a"] * 12, attributes={"none": [None] * 12})
    index.add([f"r{row}" for row in range(12, 20)], vectors[12:], attributes={"year": [2024, None] * 4})
    index.delete(["r0", "r13"])
    return index


def test_a_copy_that_broke_off_is_finished(
    small: Index, old_postgres: str, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ROWS_A_BATCH", 5)
    collection = PgvectorCollection.create(old_postgres, name, dimension=3, schema=portable_schema(small))
    add, calls = collection.add, []

    def broken(*arguments: object, **settings: object) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise StorageError("the line is cut")
        add(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(collection, "add", broken)
    with pytest.raises(StorageError, match="cut"):
        copy_index(small, collection)
    assert collection.count() == 10
    monkeypatch.setattr(collection, "add", add)
    assert copy_index(small, collection) == collection.count() == 18
    assert "'none' has no value" in caplog.text
    assert collection.schema == pa.schema([("year", pa.int64())])
    for where in (None, "year = 2024", "text = 'a'"):
        ours = small.search([1.0, 0.0, 0.0], k=18, where=where, exact=True).hits
        theirs = collection.search([1.0, 0.0, 0.0], k=18, where=where).hits
        assert [(hit.id, hit.score, hit.text) for hit in theirs] == [(hit.id, hit.score, hit.text) for hit in ours]
    assert collection._table.graph
    collection.close()


def test_rows_of_another_origin_are_noticed(small: Index, old_postgres: str, name: str) -> None:
    collection = PgvectorCollection.create(old_postgres, name, dimension=3)
    collection.add(["stranger"], np.ones((1, 3)))
    with pytest.raises(StorageError, match="19 rows stand there, the index has 18"):
        copy_index(small, collection)
    collection.close()


def test_what_does_not_fit_is_refused(small: Index, old_postgres: str, name: str) -> None:
    collection = PgvectorCollection.create(old_postgres, name, dimension=4)
    with pytest.raises(InputError, match="dimension=3"):
        copy_index(small, collection)
    assert collection.count() == 0
    collection.close()
