"""Every way to keep vectors: exact over what is kept, kept bit for bit, and smaller on the disk than float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index import Index, Storage, calibration, quick_search, segments, writer
from embedworks.index.planner import Plan

ROWS, DIMENSION, CODED = 1200, 24, 600
STORAGES = get_args(Storage)
Built = dict[str, Index]


def _clustered(number: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((15, DIMENSION))
    return centres[generator.integers(0, 15, number)] + 0.5 * generator.standard_normal((number, DIMENSION))


def _ids(rows: range) -> list[str]:
    return [f"{row:04d}" for row in rows]


def _parts(index: Index) -> list[set[str]]:
    return [set(entry.files) for entry in index._store.snapshot.manifest.segments]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same rows in every storage, in a large segment, a small one, and with deleted ones in both."""
    patch = pytest.MonkeyPatch()
    patch.setattr(segments, "CODED_ROWS", CODED)
    vectors, folder = _clustered(ROWS), tmp_path_factory.mktemp("storage")
    indexes = {}
    for storage in STORAGES:
        index = Index.create(folder / storage, dimension=DIMENSION, storage=storage, lexical=False)
        for rows in (range(900), range(900, ROWS)):
            share = [row * 7919 % ROWS / ROWS for row in rows]
            index.add(_ids(rows), vectors[rows.start : rows.stop], attributes={"share": share})
        index.delete(_ids(range(ROWS))[::11])
        indexes[storage] = Index.open(index.path)
    yield indexes
    patch.undo()


@given(
    storage=st.sampled_from(STORAGES),
    seed=st.integers(0, 10**6),
    k=st.integers(1, 40),
    share=st.sampled_from([None, 0.0, 0.01, 0.3, 0.9]),
)
def test_exact_over_what_is_kept(built: Built, storage: str, seed: int, k: int, share: float | None) -> None:
    index = built[storage]
    snapshot = index._store.snapshot
    shares = snapshot.table.column("share").to_numpy()
    passing = snapshot.alive & (shares < (2.0 if share is None else share))
    kept = snapshot.stored_vectors(np.arange(ROWS)).astype(np.float64)
    query = np.random.default_rng(seed).standard_normal(DIMENSION) + kept[seed % ROWS]
    answer = index.search(query, k=k, where=None if share is None else f"share < {share}")
    cosines = (kept @ query) / np.linalg.norm(kept, axis=1) / np.linalg.norm(query)
    rows = np.flatnonzero(passing)
    expected = rows[np.argsort(-cosines[rows], kind="stable")][:k]  # rows stand in the order of their ids
    assert [int(hit.id) for hit in answer.hits] == expected.tolist()
    near = 1e-12 if storage != "float32" else 2e-7  # a float32 row's own length is 1 only to its precision
    assert [hit.score for hit in answer.hits] == pytest.approx(cosines[expected], abs=near)
    assert len(answer.hits) == min(k, int(passing.sum()))
    assert not answer.approximate


def test_what_lies_on_the_disk(built: Built) -> None:
    plain, coded = {"vectors", "codes", "bounds", "rows"}, {"vectors", "codes", "bounds", "rows", "codebooks"}
    assert _parts(built["float32"]) == _parts(built["float16"]) == [plain, plain]
    assert _parts(built["int8"]) == [plain - {"codes"}] * 2
    assert _parts(built["pq"]) == [coded, plain], "few rows are not worth codebooks"
    snapshots = {storage: index._store.snapshot.segments[0] for storage, index in built.items()}
    bytes_a_row = {storage: segment.vectors.nbytes // 900 for storage, segment in snapshots.items()}
    assert bytes_a_row == {"float32": 4 * DIMENSION, "float16": 2 * DIMENSION, "int8": DIMENSION, "pq": 2 * DIMENSION}
    assert snapshots["pq"].codes.values.nbytes == 900 * DIMENSION // 2
    assert snapshots["int8"].codes.values is snapshots["int8"].vectors


def test_codes_spare_most_rows_the_second_look(built: Built) -> None:
    for storage in STORAGES:
        query = built[storage].get(["0001"])[0].vector
        cost = built[storage].search(query, k=5).cost
        assert cost.codes == ROWS - len(range(0, ROWS, 11))
        assert 5 <= cost.vectors < cost.codes / 4


@pytest.mark.parametrize("storage", STORAGES)
def test_merging_and_updating_leave_vectors_bit_for_bit(
    index_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "CODED_ROWS", 300)
    vectors = _clustered(400)
    index = Index.create(index_path, dimension=DIMENSION, storage=storage, lexical=False)
    for rows in (range(200), range(200, 400)):
        index.add(_ids(rows), vectors[rows.start : rows.stop])

    def kept() -> bytes:
        snapshot = index._store.snapshot
        import pyarrow as pa

        return snapshot.stored_vectors(snapshot.rows_of(pa.array(_ids(range(400))))).tobytes()

    before, query = kept(), vectors[3] + 0.1
    hits = [(hit.id, hit.score) for hit in index.search(query, k=30).hits]
    for number in range(3):
        index.update(_ids(range(number, 400, 3)), attributes={"round": [number] * len(range(number, 400, 3))})
    assert kept() == before
    index.compact()
    assert kept() == before
    assert ("codebooks" in _parts(index)[0]) == (storage == "pq")
    assert [(hit.id, hit.score) for hit in Index.open(index_path).search(query, k=30).hits] == hits
    assert [item.vector.tobytes() for item in index.get(["0000"])] == [index.listing().vectors(np.array([0])).tobytes()]


@pytest.mark.parametrize("storage", STORAGES)
def test_lists_are_searched_over_the_codes_of_each(
    index_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "CODED_ROWS", CODED)
    monkeypatch.setattr(writer, "PARTITIONED_ROWS", ROWS)
    monkeypatch.setattr(calibration, "_QUERIES", 5)
    monkeypatch.setattr(quick_search, "plan", lambda *_, **known: Plan("lists", 1.0, 1.0, 0.9, margin=0.6))
    index = Index.create(index_path, dimension=DIMENSION, storage=storage, lexical=False)
    vectors = _clustered(ROWS)
    index.add(_ids(range(ROWS)), vectors, attributes={"even": [row % 2 == 0 for row in range(ROWS)]})
    queries = _clustered(ROWS)[::40] + 0.2 * np.random.default_rng(1).standard_normal((30, DIMENSION))
    for where in (None, "even"):
        listed = index.search_batch(queries, where=where)
        exact = index.search_batch(queries, where=where, exact=True)
        assert all(" lists over " in answer.how and answer.approximate for answer in listed)
        assert listed[0].cost.lists < 20 * len(listed), "of 35"
        shared = [
            len({hit.id for hit in left.hits} & {hit.id for hit in right.hits})
            for left, right in zip(listed, exact, strict=True)
        ]
        assert np.mean(shared) > 9.7
        assert ("codebooks" in _parts(index)[0]) == (storage == "pq")
        assert all(where is None or hit.attributes["even"] for answer in listed for hit in answer.hits)
    filters = [[None, "even", "not even"][place % 3] for place in range(30)]
    together = index.search_batch(queries, where=filters)
    for query, where, answer in zip(queries, filters, together, strict=True):
        alone = index.search(query, where=where)
        assert (answer.hits, answer.how, answer.recall) == (alone.hits, alone.how, alone.recall)
    Index.open(index_path).verify()


def test_the_storage_is_remembered_and_an_unknown_one_refused(index_path: Path) -> None:
    assert Index.create(index_path, dimension=2, storage="int8").storage == "int8"
    assert Index.open(index_path).storage == "int8"
    with pytest.raises(InputError, match="use float32, float16, int8, pq"):
        Index.create(index_path / "other", dimension=2, storage="float8")  # type: ignore[arg-type]


@pytest.mark.parametrize("storage", STORAGES)
def test_an_index_in_memory_answers_alike_and_maps_neither_vectors_nor_codes(
    index_path: Path, storage: Storage
) -> None:
    index = Index.create(index_path, dimension=DIMENSION, storage=storage, lexical=False)
    index.add(_ids(range(300)), _clustered(300))
    held = Index.open(index_path, in_memory=True)
    query = _clustered(300)[7]
    assert held.search(query).hits == index.search(query).hits
    (segment,) = held._store.snapshot.segments
    assert all(array.base is None for array in (segment.vectors, segment.codes.values, segment.codes.bounds))
    held.add(_ids(range(300, 310)), _clustered(310)[300:])
    assert all(part.vectors.base is None for part in held._store.snapshot.segments)
    assert len(held.search(query, k=400).hits) == 310
