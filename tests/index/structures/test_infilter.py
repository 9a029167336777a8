"""In-filtering: hnswlib's rule against a slow walk, its counters, and k rows where k pass."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes
from embedworks.index.structures.infilter import InFilter
from embedworks.index.structures.structure import Vectors


def generic(rows: int, dimension: int, seed: int) -> Vectors:
    vectors = random_generator(seed, "generic").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow_walk(structure: InFilter, query: Vectors, mask: np.ndarray, beam: int) -> list[int]:
    """Rows that pass, nearest first: walk on while a row waits that is nearer than the furthest of a full beam."""
    graph, vectors = structure.graph, structure.vectors.astype(np.float64)

    def key(row: int) -> tuple[float, int]:
        return max(0.0, 2 - 2 * float(vectors[row] @ query.astype(np.float64))), row

    row = graph.entry
    for layer in range(graph.top, 0, -1):
        while True:
            line = graph.upper_links[graph.starts[row] + layer - 1]
            best = min([row, *(int(other) for other in line if other >= 0)], key=key)
            if best == row:
                break
            row = best
    seen, waiting = {row}, [row]
    found = [row] if mask[row] else []
    while waiting:
        row = min(waiting, key=key)
        if len(found) == beam and key(found[-1]) < key(row):
            break
        waiting.remove(row)
        for other in (int(each) for each in graph.links[row] if each >= 0):
            if other in seen:
                continue
            seen.add(other)
            if len(found) == beam and not key(other) < key(found[-1]):
                continue
            waiting.append(other)
            if mask[other]:
                found = sorted([*found, other], key=key)[:beam]
    return found


@lru_cache(maxsize=1)
def walked() -> tuple[InFilter, Attributes]:
    """A graph that is not so dense that every walk meets every row."""
    structure = InFilter.build(generic(400, 8, 1), degree=4, construction_beam=40, seed=2)
    return structure, Attributes(pa.table({"place": np.arange(400)}))


@settings(max_examples=40)
@given(seed=st.integers(0, 500), share=st.sampled_from([0.05, 0.3, 1.0]), beam=st.sampled_from([5, 20, 100]))
def test_it_finds_what_the_slow_walk_finds(seed: int, share: float, beam: int) -> None:
    structure, places = walked()
    mask = random_generator(seed, "mask").random(400) < share
    query = generic(1, 8, seed)[0]
    expected = slow_walk(structure, query, mask, beam)[:5]
    found = structure.search(query, 5, places.arbitrary(mask), beam=beam)
    if len(expected) == min(5, int(mask.sum())):
        assert found.rows.tolist() == expected
    else:
        assert found.exact  # the walk ended before, so all that pass were compared


def test_k_come_back_where_k_pass_even_of_equal_rows_that_no_list_names() -> None:
    vectors = np.repeat(generic(2, 6, 0), 300, axis=0)
    structure = InFilter.build(vectors, seed=1)
    where = Attributes(pa.table({"place": np.arange(600)})).range("place", low=450)
    found = structure.search(vectors[599], 20, where, beam=10)
    assert found.rows.tolist() == list(range(450, 470))
    assert found.exact


def test_counters_count_the_rows_compared() -> None:
    vectors = generic(300, 8, 2)
    attributes = Attributes(pa.table({"place": np.arange(300)}))
    structure = InFilter.build(vectors, degree=4, construction_beam=50)
    assert structure.graph.top > 0
    found = structure.search(vectors[7], 5, attributes.everything(), beam=300)
    # The beam holds all rows, so each is compared once in layer 0, and the walk down compares some more.
    assert 300 <= found.counters.distances <= 300 + 100
    assert 300 <= found.counters.hops <= 300 + 20
    assert found.counters.rejected == 0
    half = attributes.range("place", low=200)
    assert structure.search(vectors[7], 5, half, beam=300).counters.rejected == 200


def test_searches_of_several_threads_do_not_mix() -> None:
    vectors = generic(3000, 16, 9)
    attributes = Attributes(pa.table({"place": np.arange(3000)}))
    structure = InFilter.build(vectors, degree=8, construction_beam=40)
    wheres = [attributes.range("place", low=low) for low in (0, 1500, 2700)]

    def ask(number: int) -> list[int]:
        rows: list[int] = structure.search(vectors[number], 10, wheres[number % 3], beam=40).rows.tolist()
        return rows

    alone = [ask(number) for number in range(600)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(600))) == alone
