"""The promises of a search: no hit violates the filter, min(k, passing) come back, exact is a float64 brute force."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index import Fusion, Index

FILTERS: list[tuple[str | None, Callable[[dict[str, Any]], bool]]] = [
    (None, lambda row: True),
    ("words >= 50", lambda row: row["words"] >= 50),
    ("words < 3", lambda row: row["words"] < 3),
    ("words > 1000", lambda row: False),
    ("kind = 'function'", lambda row: row["kind"] == "function"),
    ("not kind = 'function'", lambda row: row["kind"] == "class"),
    ("kind is null and words <= 90", lambda row: row["kind"] is None and row["words"] <= 90),
    ("tags contains 'dune'", lambda row: "dune" in row["tags"]),
    ("date between '2026-02-01' and '2026-02-10'", lambda row: date(2026, 2, 1) <= row["date"] <= date(2026, 2, 10)),
    ("id like '%7'", lambda row: row["id"].endswith("7")),
    ("text like '%fjord%'", lambda row: "fjord" in row["text"]),
]


def passing(rows: dict[str, Any], holds: Callable[[dict[str, Any]], bool]) -> list[bool]:
    names = list(rows["attributes"])
    return [
        holds({"id": name, "text": text, **dict(zip(names, values, strict=True))})
        for name, text, *values in zip(rows["ids"], rows["texts"], *rows["attributes"].values(), strict=True)
    ]


@given(choice=st.integers(0, len(FILTERS) - 1), seed=st.integers(0, 10**6), k=st.integers(1, 700))
def test_vector_search_equals_brute_force(
    searched: tuple[Index, dict[str, Any]],
    brute_force: Callable[..., list[tuple[str, float]]],
    choice: int,
    seed: int,
    k: int,
) -> None:
    index, rows = searched
    where, holds = FILTERS[choice]
    query = random_generator(seed, "query").standard_normal(8)
    allowed = passing(rows, holds)
    answer = index.search(query, k=k, where=where)
    expected = brute_force(rows["ids"], rows["vectors"], query, k, allowed)
    assert answer.passing == sum(allowed)
    assert answer.rows == len(index) == 600
    assert len(answer.hits) == min(k, sum(allowed))
    assert [hit.id for hit in answer.hits] == [name for name, _ in expected]
    assert [hit.score for hit in answer.hits] == pytest.approx([score for _, score in expected], abs=1e-6)
    assert not answer.approximate


@given(
    choice=st.integers(0, len(FILTERS) - 1),
    seed=st.integers(0, 10**6),
    k=st.integers(1, 40),
    mode=st.sampled_from(["lexical", "hybrid"]),
    method=st.sampled_from(["score", "reciprocal-rank"]),
)
def test_no_hit_violates_the_filter_and_none_is_missing(
    searched: tuple[Index, dict[str, Any]], choice: int, seed: int, k: int, mode: Any, method: Any
) -> None:
    index, rows = searched
    where, holds = FILTERS[choice]
    text = "fjord harbour"
    answer = index.search(
        random_generator(seed, "query").standard_normal(8),
        text=text,
        k=k,
        where=where,
        mode=mode,
        fusion=Fusion(method=method, candidates=5),
    )
    allowed = dict(zip(rows["ids"], passing(rows, holds), strict=True))
    assert all(allowed[hit.id] for hit in answer.hits)
    shares_a_term = dict(
        zip(rows["ids"], [bool(set(text.split()) & set(words.split())) for words in rows["texts"]], strict=True)
    )
    findable = sum(allowed[name] and (mode == "hybrid" or shares_a_term[name]) for name in allowed)
    assert len(answer.hits) == min(k, findable)
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)


@given(seed=st.integers(0, 10**6), k=st.integers(1, 30))
def test_a_row_has_one_score_whatever_surrounds_it(searched: tuple[Index, dict[str, Any]], seed: int, k: int) -> None:
    index, _ = searched
    queries = random_generator(seed, "queries").standard_normal((3, 8))
    alone = [index.search(query, k=k) for query in queries]
    assert [answer.hits for answer in index.search_batch(queries, k=k)] == [answer.hits for answer in alone]
    everything = {hit.id: hit.score for hit in index.search(queries[0], k=600).hits}
    for where, _ in FILTERS:
        for hit in index.search(queries[0], k=k, where=where).hits:
            assert hit.score == everything[hit.id]


def test_ties_are_broken_by_id(index_path: Path) -> None:
    index = Index.create(index_path, dimension=2)
    index.add(["d", "b", "e"], [[1, 0], [1, 0], [0, 1]], texts=["same", "same", "other"])
    index.add(["c", "a"], [[2, 0], [3, 0]], texts=["same", "same"])
    assert [hit.id for hit in index.search([1, 0], k=3).hits] == ["a", "b", "c"]
    assert [hit.id for hit in index.search([1, 0], k=5).hits] == ["a", "b", "c", "d", "e"]
    assert [hit.id for hit in index.search(text="same", mode="lexical", k=2).hits] == ["a", "b"]
    assert [hit.id for hit in index.search([1, 0], text="same", mode="hybrid", k=2).hits] == ["a", "b"]


def test_near_ties_of_float32_are_settled_in_float64(index_path: Path) -> None:
    """Rows whose float32 scores differ only by rounding come in the order of their exact ones."""
    generator = random_generator(3, "near ties")
    base = generator.standard_normal(384)
    vectors = (base + 3e-7 * generator.standard_normal((300, 384))).astype(np.float32)
    index = Index.create(index_path, dimension=384, lexical=False)
    names = [f"{place:03d}" for place in generator.permutation(300)]
    index.add(names, vectors)
    stored = {item.id: item.vector.astype(np.float64) for item in index.get(names)}
    query = base + 0.1 * generator.standard_normal(384)
    unit = query / np.linalg.norm(query)
    expected = sorted(names, key=lambda name: (-float((stored[name] * unit).sum()), name))
    assert [hit.id for hit in index.search(query, k=20).hits] == expected[:20]


def test_batches_may_have_a_filter_for_each_query(searched: tuple[Index, dict[str, Any]]) -> None:
    index, _ = searched
    queries = random_generator(5, "queries").standard_normal((4, 8))
    filters = ["words < 20", None, "words < 20", "kind = 'class'"]
    answers = index.search_batch(queries, k=5, where=filters)
    for query, where, answer in zip(queries, filters, answers, strict=True):
        alone = index.search(query, k=5, where=where)
        assert (answer.hits, answer.how, answer.passing) == (alone.hits, alone.how, alone.passing)
    assert index.search_batch(np.zeros((0, 8))) == []


def test_an_answer_says_how_it_was_found(searched: tuple[Index, dict[str, Any]]) -> None:
    index, _ = searched
    query = np.ones(8)
    assert index.search(query).how == "exact over 600 rows"
    few = index.search(query, where="words < 3")
    assert few.how == f"exact over {few.passing} of 600 rows"
    assert index.search(text="dune", mode="lexical").how == "BM25 over 600 rows"
    both = index.search(query, text="dune", mode="hybrid", fusion=Fusion("reciprocal-rank", vector_weight=0.7))
    assert both.how == ("exact over 600 rows; BM25 over 600 rows; joined by reciprocal rank (0.7 vector, 0.3 BM25)")
    assert both.milliseconds > 0


def test_more_like_leaves_the_row_itself_out(searched: tuple[Index, dict[str, Any]]) -> None:
    index, rows = searched
    name = rows["ids"][10]
    answer = index.more_like(name, k=5)
    expected = index.search(rows["vectors"][10], k=6).hits
    assert expected[0].id == name
    assert [hit.id for hit in answer.hits] == [hit.id for hit in expected[1:]]
    assert answer.passing == 599
    assert name not in [hit.id for hit in index.more_like(name, k=600, where="words >= 0").hits]
    with pytest.raises(InputError, match="no row with the id 'nothing'"):
        index.more_like("nothing")


def test_an_empty_index_answers_with_nothing(index_path: Path) -> None:
    index = Index.create(index_path, dimension=2)
    for mode in ("vector", "lexical", "hybrid"):
        answer = index.search([1.0, 0.0], text="a word", mode=mode)  # type: ignore[arg-type]
        assert answer.hits == []
        assert answer.passing == 0
    index.add(["a"], [[1, 0]], texts=["the the the"])
    assert index.search(text="the", mode="lexical").hits == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "whole number"),
        ({"k": 2.5}, "whole number"),
        ({"k": True}, "whole number"),
        ({"vector": None}, "needs the query's vector"),
        ({"vector": None, "text": "dune"}, "mode='lexical'"),
        ({"vector": np.ones(7)}, "dimension 8"),
        ({"vector": np.ones((1, 8))}, "search_batch"),
        ({"vector": np.full(8, np.nan)}, "NaN"),
        ({"vector": np.zeros(8)}, "zero"),
        ({"vector": ["a"] * 8}, "real numbers"),
        ({"mode": "magic"}, "vector, lexical or hybrid"),
        ({"mode": "lexical"}, "needs the query's text"),
        ({"mode": "hybrid"}, "needs the query's text"),
        ({"where": "wordz > 3"}, "did you mean 'words'"),
        ({"where": 3}, "neither text"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    searched: tuple[Index, dict[str, Any]], arguments: dict[str, Any], message: str
) -> None:
    index, _ = searched
    with pytest.raises(InputError, match=message):
        index.search(**{"vector": np.ones(8), **arguments})


def test_numbers_that_differ_in_a_batch_are_refused(searched: tuple[Index, dict[str, Any]]) -> None:
    index, _ = searched
    with pytest.raises(InputError, match="differ"):
        index.search_batch(np.ones((2, 8)), where=["words > 3"])
    with pytest.raises(InputError, match="differ"):
        index.search_batch(np.ones((2, 8)), texts=["dune"], mode="hybrid")
    with pytest.raises(InputError, match="list of strings"):
        index.search_batch(texts="dune", mode="lexical")


@pytest.mark.parametrize("storage", ["float32", "float16", "int8", "pq"])
def test_a_query_alone_has_the_answer_of_a_batch(
    make_rows: Callable[..., dict[str, Any]], tmp_path: Path, storage: Any
) -> None:
    """One segment, where a scan for one query has a way of its own; rows repeat, so scores tie."""
    rows = make_rows(300)
    rows["vectors"][100:140] = rows["vectors"][99]
    index = Index.create(tmp_path / "one.index", dimension=8, lexical=False, storage=storage)
    index.add(rows["ids"], rows["vectors"], attributes=rows["attributes"])
    index.delete(rows["ids"][5:9])
    queries = [*random_generator(0, "alone").standard_normal((20, 8)), rows["vectors"][99], 1e101 * np.ones(8)]
    for where in (None, "words < 3", "kind = 'class'", "words > 1000", "words is null"):
        for k in (1, 10, 45, 400):
            for query, whole in zip(queries, index.search_batch(np.stack(queries), where=where, k=k), strict=True):
                alone = index.search(query, where=where, k=k)
                assert alone.hits == whole.hits
                assert (alone.how, alone.passing, alone.rows, alone.recall, alone.approximate) == (
                    whole.how, whole.passing, whole.rows, whole.recall, whole.approximate,
                )  # fmt: skip


@pytest.mark.parametrize("query", [np.full(8, np.nan), np.zeros(8), np.ones(7), np.array(["a"] * 8), np.ones((1, 8))])
def test_a_query_alone_is_refused_like_many(searched: tuple[Index, dict[str, Any]], query: Any) -> None:
    with pytest.raises(InputError, match="vector"):
        searched[0].search(query)


@pytest.mark.parametrize("k", [0, -1, 2.5, True])
def test_a_number_of_hits_that_is_none_is_refused(searched: tuple[Index, dict[str, Any]], k: Any) -> None:
    with pytest.raises(InputError, match=r"^k: "):
        searched[0].search(np.ones(8), k=k)
