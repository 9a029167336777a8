"""Post-filtering: how many rows it asks for, and k rows where k pass."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, hnsw
from embedworks.index.structures.postfilter import PostFilter
from embedworks.index.structures.structure import Vectors


def generic(rows: int, dimension: int, seed: int) -> Vectors:
    vectors = random_generator(seed, "generic").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("low", "k", "beam"), [(0, 10, 5), (200, 10, 5), (300, 7, 100), (390, 3, 1), (398, 10, 1)])
def test_it_asks_for_k_over_the_selectivity_and_a_fifth_and_doubles(
    low: int, k: int, beam: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = generic(400, 8, 3)
    where = Attributes(pa.table({"place": np.arange(400)})).range("place", low=low)
    structure = PostFilter.build(vectors, degree=8, construction_beam=60)
    asked: list[int] = []
    search = hnsw.search_hnsw

    def recorded(graph: Any, vectors: Any, query: Any, mask: Any, beam: int, workspace: Any) -> Any:
        assert mask.all()
        asked.append(beam)
        return search(graph, vectors, query, mask, beam, workspace)

    monkeypatch.setattr(hnsw, "search_hnsw", recorded)
    found = structure.search(vectors[5], k, where, beam=beam)
    assert len(found.rows) == min(k, 400 - low)
    first = max(beam, ceil(1.2 * min(k, 400 - low) / ((400 - low) / 400)))
    assert asked == [first * 2**step for step in range(len(asked))]
    assert all(number < 400 for number in asked)
    assert bool(asked) == (first < 400)


def test_the_beam_grows_until_k_pass() -> None:
    vectors = generic(2000, 10, 4)
    nearness = vectors @ vectors[0]
    where = Attributes(pa.table({"nearness": nearness})).range("nearness", high=float(np.quantile(nearness, 0.5)))
    structure = PostFilter.build(vectors, degree=8, construction_beam=60)
    found = structure.search(vectors[0], 10, where, beam=10)
    exact = np.argsort(-nearness[where.passing], kind="stable")[:10]
    assert len(set(found.rows) & set(where.passing[exact])) >= 9
    assert found.counters.rejected > 500  # the nearest half of all rows fails


def test_k_come_back_where_k_pass_even_of_equal_rows_that_no_list_names() -> None:
    vectors = np.repeat(generic(2, 6, 0), 300, axis=0)
    structure = PostFilter.build(vectors, seed=1)
    where = Attributes(pa.table({"place": np.arange(600)})).range("place", low=450)
    found = structure.search(vectors[599], 20, where, beam=10)
    assert found.rows.tolist() == list(range(450, 470))
    assert found.exact
