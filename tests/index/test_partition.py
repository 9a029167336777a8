"""The lists: how rows come into them, when, and that a search by them keeps the promises whatever is passed over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index import Index, Storage, calibration, planner, quick_search, segments, writer
from embedworks.index.codes import encode_rows
from embedworks.index.partition import partition_rows
from embedworks.index.planner import Plan
from embedworks.index.stored_vectors import read_rows

ROWS, LATER, DIMENSION, CLUSTERS = 3_000, 100, 16, 20
EVERY = 50
"""Every so manieth row is deleted."""


def _by_lists(margin: float, *, least_share: float = 0.0) -> Callable[..., Plan]:
    """Plan a search by lists, whatever it costs: at this size a scan is always cheaper."""

    def plan(_: Any, *, rows: int, passing: int, k: int, wanted_recall: float) -> Plan:
        if passing < least_share * rows:
            return Plan("scan", 1.0, 1.0, 1.0)
        return Plan("lists", 1.0, 1.0, min(0.97, wanted_recall), margin)

    return plan


def _take_lists(monkeypatch: pytest.MonkeyPatch, index: Index, margin: float, **settings: float) -> Index:
    """The index opened anew, so that nothing is remembered, its searches by lists from now on."""
    monkeypatch.setattr(quick_search, "plan", _by_lists(margin, **settings))
    return Index.open(index.path)


def _clustered(
    number: int, *, seed: int = 0, dimension: int = DIMENSION
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    generator = random_generator(seed, "lists")
    centres = generator.standard_normal((CLUSTERS, dimension))
    cluster = generator.integers(0, CLUSTERS, number)
    return centres[cluster] + 0.5 * generator.standard_normal((number, dimension)), cluster


def _measure_little(patch: pytest.MonkeyPatch) -> None:
    """Fewer measurements when lists are made, for where nobody looks at what they say."""
    patch.setattr(calibration, "_QUERIES", 5)
    patch.setattr(calibration, "MARGINS", calibration.MARGINS[::12])


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are made with few measurements."""
    _measure_little(monkeypatch)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """3,000 rows in lists, 100 newer rows outside them, and deleted rows in both."""
    vectors, cluster = _clustered(ROWS + LATER)
    share = np.linspace(0, 1, ROWS + LATER, endpoint=False)
    random_generator(0, "shares").shuffle(share)
    index = Index.create(tmp_path_factory.mktemp("lists") / "grown.index", dimension=DIMENSION)
    with pytest.MonkeyPatch.context() as patch:
        _measure_little(patch)
        patch.setattr(writer, "PARTITIONED_ROWS", ROWS)
        for start, end in ((0, ROWS), (ROWS, ROWS + LATER)):
            index.add(
                [f"{place:05d}" for place in range(start, end)],
                vectors[start:end],
                texts=[f"cluster{cluster[place]}" for place in range(start, end)],
                attributes={"share": share[start:end], "cluster": cluster[start:end]},
            )
        index.delete([f"{place:05d}" for place in range(0, ROWS + LATER, EVERY)])
    assert index._store.snapshot.partition is not None
    return index


@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 120),
    share=st.sampled_from([0.0, 0.001, 0.05, 0.4, 0.8, 1.0, None]),
    margin=st.sampled_from([-2.0, 0.0, 0.4, 0.8, 50.0]),
    together=st.booleans(),
)
def test_the_promises_hold_with_lists(
    grown: Index, seed: int, k: int, share: float | None, margin: float, together: bool
) -> None:
    """However far a list is trusted to reach: k come back, none fails the filter, and what is said is so."""
    query = random_generator(seed, "query").standard_normal(DIMENSION)
    where = None if share is None else f"share < {share}"
    with pytest.MonkeyPatch.context() as patch:
        index = _take_lists(patch, grown, margin)
        answer = (
            index.search_batch(query[np.newaxis], k=k, where=where)[0]
            if together
            else index.search(query, k=k, where=where)
        )
    exact = grown.search(query, k=k, where=where, exact=True)
    assert len(answer.hits) == len(exact.hits) == min(k, answer.passing)
    assert len({hit.id for hit in answer.hits}) == len(answer.hits)
    if share is not None:
        assert all(hit.attributes["share"] < share for hit in answer.hits)
    assert not any(int(hit.id) % EVERY == 0 for hit in answer.hits)
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    everything = {hit.id: hit.score for hit in exact.hits}
    assert all(everything.get(hit.id, hit.score) == hit.score for hit in answer.hits)
    assert not exact.approximate
    assert exact.recall == 1.0
    if answer.approximate:
        assert answer.recall == 0.97
        assert f" of {_lists(grown)} lists over " in answer.how
        newer = int((grown._store.snapshot.passing(where).rows >= ROWS).sum())
        assert answer.how.endswith(f", and all of {newer} newer ones" if newer else " rows")
    else:
        assert answer.hits == exact.hits
        assert answer.recall == 1.0
        assert answer.how == exact.how


def _lists(index: Index) -> int:
    partition = index._store.snapshot.partition
    assert partition is not None
    return len(partition.means)


def test_a_list_that_is_never_trusted_is_not_opened_before_k_are_found(
    grown: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a margin below every score only as many lists are opened as hold k rows."""
    index = _take_lists(monkeypatch, grown, -100.0)
    query = random_generator(9, "query").standard_normal(DIMENSION)
    assert index.search(query, k=1).cost.lists == 1
    many = index.search(query, k=500)
    assert len(many.hits) == 500
    assert 500 / ROWS * _lists(grown) / 5 < many.cost.lists < _lists(grown)


def test_the_rows_of_a_list_stand_together(grown: Index) -> None:
    """Means, starts and order against NumPy; and every row is where it is nearest, but for what rounds moved."""
    snapshot = grown._store.snapshot
    partition, entry = snapshot.partition, snapshot.manifest.partition
    assert partition is not None
    assert entry is not None
    segment = snapshot.segments[snapshot.partitioned]
    assert segment.entry.name == entry.segment
    assert entry.rows == segment.entry.rows == partition.starts[-1] == ROWS
    assert entry.lists == len(partition.means) <= round(ROWS**0.5)
    assert partition.starts[0] == 0
    assert (np.diff(partition.starts) >= 1).all()
    numbers = np.array([int(name) for name in snapshot.ids(np.arange(ROWS))])
    assert sorted(numbers.tolist()) == list(range(ROWS))
    rows = read_rows(segment.vectors)
    np.testing.assert_allclose(rows, _unit(_clustered(ROWS + LATER)[0])[numbers], atol=1e-7)
    spreads = []
    for mean, (first, last) in zip(partition.means, pairwise(partition.starts), strict=True):
        assert (np.diff(numbers[first:last]) > 0).all(), "rows of a list keep their order"
        np.testing.assert_allclose(mean, rows[first:last].mean(axis=0), atol=1e-6)
        spreads.append(np.sqrt(((rows[first:last] - mean) ** 2).sum(axis=1).mean()))
    values, bounds, spread = partition.compiled
    expected_values, expected_bounds = encode_rows(np.array(partition.means))
    np.testing.assert_array_equal(values, expected_values)
    np.testing.assert_array_equal(bounds, expected_bounds)
    np.testing.assert_allclose(spread, spreads, atol=2e-3)
    list_of = np.repeat(np.arange(entry.lists), np.diff(partition.starts))
    nearest = (rows @ _unit(partition.means.astype(np.float64)).T).argmax(axis=1)
    assert (nearest == list_of).mean() > 0.85


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def test_lists_are_the_same_every_time_and_of_live_rows_only(grown: Index) -> None:
    snapshot = grown._store.snapshot
    (once, rows), (again, rows_again) = partition_rows(snapshot), partition_rows(snapshot)
    assert sorted(rows.tolist()) == np.flatnonzero(snapshot.alive).tolist()
    np.testing.assert_array_equal(rows, rows_again)
    np.testing.assert_array_equal(once.means, again.means)
    np.testing.assert_array_equal(once.starts, again.starts)


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_few_rows_make_lists_too(index_path: Path, quickly: None, number: int) -> None:
    """And rows that are all the same make fewer lists than were wanted, none of them empty."""
    index = Index.create(index_path, dimension=2)
    index.add([f"{row}" for row in range(number)], [[1.0, 0.0]] * number)
    partition, rows = partition_rows(index._store.snapshot)
    assert rows.tolist() == list(range(number))
    assert partition.starts.tolist() == [0, number]
    np.testing.assert_allclose(partition.means, [[1.0, 0.0]])
    assert partition.compiled[2].tolist() == pytest.approx([0.0], abs=1e-3)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """12,000 rows in lists of which everything has been measured."""
    vectors, cluster = _clustered(12_000, seed=5, dimension=64)
    index = Index.create(tmp_path_factory.mktemp("lists") / "large.index", dimension=64, lexical=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "PARTITIONED_ROWS", 12_000)
        draw = random_generator(5, "draw").random(12_000)
        index.add([f"{row:05d}" for row in range(12_000)], vectors, attributes={"cluster": cluster, "draw": draw})
    return index


def _shared(found: Any, exact: Any) -> float:
    pairs = zip(found, exact, strict=True)
    return float(
        np.mean([len({hit.id for hit in a.hits} & {hit.id for hit in b.hits}) / len(b.hits) for a, b in pairs])
    )


@pytest.mark.parametrize("where", [None, "draw < 0.3", "draw < 0.04", "cluster in (3, 8)"])
def test_the_recall_that_was_wanted_comes_back(
    large: Index, monkeypatch: pytest.MonkeyPatch, where: str | None
) -> None:
    """Of queries like the rows, by the margin that is taken where a scan costs far more, as over millions of rows."""

    def plan(prices: Any, **known: Any) -> Plan:
        return planner.plan(replace(prices, scan_nanoseconds=1e9), **known)

    monkeypatch.setattr(quick_search, "plan", plan)
    index = Index.open(large.path)
    queries, _ = _clustered(200, seed=5, dimension=64)
    exact = index.search_batch(queries, where=where, exact=True)
    opened = []
    for wanted in (0.9, 0.99):
        found = index.search_batch(queries, where=where, recall=wanted)
        assert any(answer.approximate for answer in found)
        assert all(answer.recall >= wanted for answer in found)
        assert 1 - _shared(found, exact) <= 1.5 * (1 - wanted) + 0.01, "what 200 queries can say of 200 others"
        opened.append(found[0].cost.lists / 200)
    assert opened[0] <= opened[1] < 0.2 * _lists(large)


def test_a_filter_that_shuns_the_query_opens_more_lists_and_still_answers(
    large: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing near the query passes, the best of what is far is looked for in more lists."""
    index = _take_lists(monkeypatch, large, 0.9)
    vectors, cluster = _clustered(12_000, seed=5, dimension=64)
    centres = _unit(np.stack([vectors[cluster == which].mean(axis=0) for which in range(CLUSTERS)]))
    everywhere, elsewhere, shared = [], [], []
    for centre in centres:
        near = np.argsort(-(centres @ centre))[:8]
        where = f"not cluster in ({', '.join(map(str, near.tolist()))})"
        answer, exact = index.search(centre, where=where), index.search(centre, where=where, exact=True)
        assert len(answer.hits) == 10
        assert all(hit.attributes["cluster"] not in near for hit in answer.hits)
        everywhere.append(index.search(centre).cost.lists)
        elsewhere.append(answer.cost.lists)
        shared.append(_shared([answer], [exact]))
    assert np.mean(elsewhere) > 1.5 * np.mean(everywhere)
    assert np.mean(shared) > 0.9


def test_lists_without_a_row_that_passes_are_not_opened(large: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index = _take_lists(monkeypatch, large, 50.0)
    snapshot = index._store.snapshot
    passing = snapshot.passing("cluster = 3")
    holding = int((np.diff(passing.offsets) > 0).sum())
    assert 0 < holding < _lists(large)
    answer = index.search(random_generator(1, "query").standard_normal(64), where="cluster = 3")
    assert answer.cost.lists == holding
    assert answer.cost.codes == answer.passing
    assert not answer.approximate
    nothing = index.search(np.ones(64), where="cluster = 99")
    assert nothing.hits == []
    assert not nothing.approximate


@given(seed=st.integers(0, 2**20), k=st.integers(1, 30), margin=st.floats(-0.5, 1.5))
def test_a_tighter_filter_loses_nothing(large: Index, seed: int, k: int, margin: float) -> None:
    """However little the lists are trusted: a hit of the wider filter is there again, unless k better ones are."""
    generator = random_generator(seed, "filters")
    query = generator.standard_normal(64)
    widest = generator.uniform(0.05, 1)
    clusters = ", ".join(map(str, generator.choice(CLUSTERS, size=6, replace=False)))
    wheres = [None, f"draw < {widest}", f"draw < {widest / 2}", f"draw < {widest / 2} and cluster in ({clusters})"]
    with pytest.MonkeyPatch.context() as patch:
        index = _take_lists(patch, large, margin)
        wide, *tighter = (index.search(query, k=k, where=where) for where in wheres)
        for tight, where in zip(tighter, wheres[1:], strict=True):
            found = {hit.id for hit in tight.hits}
            passing = {hit.id for hit in index.search(query, k=12_000, where=where, exact=True).hits}
            lost = [hit for hit in wide.hits if hit.id in passing and hit.id not in found]
            assert all(hit.score <= tight.hits[-1].score for hit in lost)
            assert not lost or len(found) == k
            wide = tight


@pytest.mark.parametrize("k", [11, 5_000])
def test_fewer_rows_than_wanted_all_come_back(grown: Index, monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    index = _take_lists(monkeypatch, grown, 0.1)
    answer = index.search(np.ones(DIMENSION), k=k, where="share < 0.003")
    assert 0 < answer.passing < 11
    assert len(answer.hits) == answer.passing
    assert not answer.approximate
    assert answer.hits == index.search(np.ones(DIMENSION), k=k, where="share < 0.003", exact=True).hits


def test_newer_rows_are_found_beside_the_lists(grown: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index = _take_lists(monkeypatch, grown, 0.3, least_share=0.1)
    newest = index.get(["03099"])[0]
    answer = index.search(newest.vector, k=1)
    assert answer.hits[0].id == "03099"
    opened = answer.cost.lists
    assert answer.how == f"{opened} of {_lists(grown)} lists over 3,038 rows, and all of 98 newer ones"
    assert answer.cost.codes > 98
    assert index.search(newest.vector, where="share < 0.01").how.startswith("exact over ")
    both = index.search(newest.vector, text="cluster3", mode="hybrid", k=5)
    assert both.how.startswith(
        f"{both.cost.lists} of {_lists(grown)} lists over 3,038 rows, and all of 98 newer ones; BM25"
    )
    assert both.approximate


def test_more_like_a_row_in_a_list_leaves_it_out(grown: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index = _take_lists(monkeypatch, grown, 0.6)
    for name in ("00001", "02999", "03001"):
        answer = index.more_like(name, k=7)
        assert answer.approximate
        assert len(answer.hits) == 7
        assert name not in {hit.id for hit in answer.hits}
        assert answer.passing == len(index) - 1


def test_an_explanation_tells_of_the_lists(grown: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index = _take_lists(monkeypatch, grown, 0.4)
    said = index.explain(np.ones(DIMENSION), k=5)
    assert said.answer.approximate
    assert said.to_dict()["lists"] == said.answer.cost.lists > 0
    assert f"{said.answer.cost.lists:,} lists opened" in str(said)
    assert "0.970 expected" in str(said)
    assert index.explain(np.ones(DIMENSION), k=5, exact=True).to_dict()["lists"] == 0


def test_each_answer_of_a_batch_says_its_own_way(grown: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A margin at which some queries open every list and others do not."""
    generator = random_generator(3, "queries")
    queries = np.concatenate([generator.standard_normal((12, DIMENSION)), _clustered(ROWS)[0][:12]])
    for margin in np.arange(0.5, 4.0, 0.1):
        answers = _take_lists(monkeypatch, grown, float(margin)).search_batch(queries)
        if 4 <= sum(answer.approximate for answer in answers) <= 20:
            break
    assert {answer.approximate for answer in answers} == {True, False}
    exact = grown.search_batch(queries, exact=True)
    for answer, true in zip(answers, exact, strict=True):
        assert answer.how.startswith("exact over") != answer.approximate
        assert (" lists over " in answer.how) == answer.approximate
        assert (answer.recall < 1) == answer.approximate
        assert answer.approximate or answer.hits == true.hits
    index = Index.open(grown.path)
    for query, answer in zip(queries, answers, strict=True):
        alone = index.search(query)
        assert (alone.how, alone.recall, alone.hits) == (answer.how, answer.recall, answer.hits)


def test_the_recall_wanted_decides_the_way(grown: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index = _take_lists(monkeypatch, grown, 0.5)
    query = random_generator(4, "queries").standard_normal(DIMENSION)
    exact = index.search(query, recall=1.0)
    assert not exact.approximate
    assert exact.hits == index.search(query, exact=True).hits
    assert index.search(query).approximate
    assert index.search(query, recall=0.9).recall == 0.9
    for refused in (0.0, 1.01, float("nan")):
        with pytest.raises(InputError, match="not above 0 and at most 1"):
            index.search(query, recall=refused)


@pytest.mark.parametrize("storage", get_args(Storage))
def test_a_query_alone_has_the_answer_of_a_batch_bit_for_bit(
    index_path: Path, quickly: None, monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    """With every kind of code; rows repeat, so scores tie; deleted rows are in the lists."""
    monkeypatch.setattr(segments, "CODED_ROWS", 1_000)
    monkeypatch.setattr(writer, "PARTITIONED_ROWS", 1_200)
    vectors, cluster = _clustered(1_200, seed=2)
    vectors[100:140] = vectors[99]
    built = Index.create(index_path, dimension=DIMENSION, lexical=False, storage=storage)
    built.add([f"{row:04d}" for row in range(1_200)], vectors, attributes={"cluster": cluster})
    built.delete([f"{row:04d}" for row in range(0, 1_200, 13)])
    assert len(built._store.snapshot.segments) == 1
    queries = np.concatenate(
        [random_generator(0, "alone").standard_normal((20, DIMENSION)), vectors[99:101], 1e101 * vectors[:2]]
    )
    approximate = 0
    for margin in (0.2, 0.7, 3.0):
        index = _take_lists(monkeypatch, built, margin)
        for where in (None, "cluster < 10", "cluster = 4", "cluster = 77"):
            for k in (1, 10, 45):
                for query, whole in zip(queries, index.search_batch(queries, where=where, k=k), strict=True):
                    alone = index.search(query, where=where, k=k)
                    assert [(hit.id, hit.score) for hit in alone.hits] == [(hit.id, hit.score) for hit in whole.hits]
                    assert (alone.how, alone.passing, alone.rows, alone.recall, alone.approximate) == (
                        whole.how, whole.passing, whole.rows, whole.recall, whole.approximate,
                    )  # fmt: skip
                    approximate += alone.approximate
    assert approximate > 100


def _add(index: Index, rows: dict[str, Any], start: int, end: int) -> int | None:
    index.add(rows["ids"][start:end], rows["vectors"][start:end], texts=rows["texts"][start:end])
    entry = index._store.snapshot.manifest.partition
    return None if entry is None else entry.rows


def test_lists_are_made_when_due_and_dropped_with_their_segment(
    index_path: Path, quickly: None, make_rows: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PARTITIONED_ROWS", 100)
    index = Index.create(index_path, dimension=8)
    rows = make_rows(330)
    assert _add(index, rows, 0, 99) is None
    assert not (index_path / "partitions").exists()
    assert _add(index, rows, 99, 100) == 100
    assert _add(index, rows, 100, 199) == 100
    assert _add(index, rows, 199, 200) == 200
    assert _add(index, rows, 200, 299) == 200
    assert len(list((index_path / "partitions").iterdir())) <= 2
    index.delete(rows["ids"][:60])
    index.compact()
    entry = index._store.snapshot.manifest.partition
    assert entry is not None
    assert entry.rows == len(index) == 239
    assert len(list((index_path / "partitions").iterdir())) == 1
    Index.open(index_path).verify()
    monkeypatch.setattr(writer, "PARTITIONED_ROWS", 1_000)
    index.delete(rows["ids"][60:80])
    index.compact()
    assert index._store.snapshot.partition is None
    assert index._store.snapshot.list_starts.tolist() == [0]
    assert list((index_path / "partitions").iterdir()) == []
    assert len(index.search(np.ones(8), k=400).hits) == 219


def test_a_segment_that_is_mostly_deleted_takes_its_lists_along(
    index_path: Path, quickly: None, make_rows: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PARTITIONED_ROWS", 100)
    index = Index.create(index_path, dimension=8)
    rows = make_rows(150)
    assert _add(index, rows, 0, 120) == 120
    index.delete(rows["ids"][:50])
    assert index._store.snapshot.manifest.partition is not None
    index.delete(rows["ids"][50:70])
    assert index._store.snapshot.manifest.partition is None, "50 rows are left, too few for lists"
    assert _add(index, rows, 120, 150) is None


def test_other_rows_come_and_go_and_the_lists_stay_open(grown: Index) -> None:
    """What has been checked and mapped once is used again at the next commit."""
    index = Index.open(grown.path)
    partition = index._store.snapshot.partition
    assert index._store.refresh() is False
    index.set_fusion(index.fusion)
    assert index._store.snapshot.partition is partition


@pytest.mark.parametrize("storage", ["float32", "int8", "pq"])
def test_another_order_of_the_rows_changes_no_row_and_no_answer(
    index_path: Path,
    quickly: None,
    make_rows: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    storage: Any,
) -> None:
    """Ids, texts, attributes, vectors bit for bit, and every score, vector and lexical, before and after."""
    rows = make_rows(300, seed=4)
    index = Index.create(index_path, dimension=8, storage=storage)
    for start, end in ((0, 120), (120, 290)):
        index.add(
            rows["ids"][start:end],
            rows["vectors"][start:end],
            texts=rows["texts"][start:end],
            attributes={name: values[start:end] for name, values in rows["attributes"].items()},
        )
    gone = set(rows["ids"][::9])
    index.delete([name for name in rows["ids"][:290] if name in gone])
    left = sorted(set(rows["ids"][:290]) - gone)
    query = random_generator(8, "query").standard_normal(8)

    def seen() -> Any:
        items = index.get(left)
        answers = [
            index.search(query, k=300),
            index.search(query, k=300, where="kind = 'class' and words > 20"),
            index.search(text="dune kelp amber", mode="lexical", k=300),
            index.search(text="fjord", mode="lexical", k=5, where="tags contains 'dune'"),
            index.search(query, text="island harbour", mode="hybrid", k=20),
        ]
        return (
            [(item.id, item.text, item.attributes, item.vector.tobytes()) for item in items],
            [[(hit.id, hit.score, hit.text, hit.attributes) for hit in answer.hits] for answer in answers],
            index.facets("kind"),
            list(index.facets("date").items()),
        )

    before, order_before = seen(), index._store.snapshot.ids(np.flatnonzero(index._store.snapshot.alive))
    monkeypatch.setattr(writer, "PARTITIONED_ROWS", 200)
    index.add(rows["ids"][290:], rows["vectors"][290:], texts=rows["texts"][290:])
    snapshot = index._store.snapshot
    assert snapshot.partition is not None
    assert len(snapshot.segments) == 1
    order_after = snapshot.ids(np.arange(len(order_before) + 10))
    assert order_after != [*order_before, *rows["ids"][290:]], "rows stand in another order now"
    assert sorted(order_after) == sorted([*order_before, *rows["ids"][290:]])
    index.delete(rows["ids"][290:])
    assert seen() == before
    index = Index.open(index_path)
    index.compact()
    assert seen() == before
    index.verify()
