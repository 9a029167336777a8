"""Exact search against a full sort, at every block size, with ties and damaged vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.evaluation.exact_search import exact_search, paired_cosines, top_k
from embedworks.foundation import InputError, NonFiniteError


def naive_top_k(row: list[float], k: int) -> list[int]:
    return sorted(range(len(row)), key=lambda column: (-row[column], column))[:k]


@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=width, max_size=width), min_size=1, max_size=4
        )
    ),
    k=st.integers(1, 6),
)
def test_top_k_equals_a_full_sort(rows: list[list[float]], k: int) -> None:
    columns, values = top_k(np.asarray(rows), k)
    expected = [naive_top_k(row, k) for row in rows]
    assert columns.tolist() == expected
    assert values.tolist() == [[row[column] for column in found] for row, found in zip(rows, expected, strict=True)]


@pytest.mark.parametrize("document_block", [1, 3, 7, 50, 4096])
@pytest.mark.parametrize("query_block", [1, 2, 256])
@pytest.mark.parametrize("k", [1, 5, 49, 50, 200])
def test_blocks_do_not_change_the_answer(document_block: int, query_block: int, k: int) -> None:
    generator = np.random.default_rng(0)
    documents = generator.normal(size=(50, 8)).astype(np.float32)
    documents[10:30] = documents[generator.integers(10, size=20)]  # equal vectors, many ties
    documents[31] = 0
    queries = generator.normal(size=(3, 8)).astype(np.float32)
    rows, scores = exact_search(queries, documents, k=k, query_block=query_block, document_block=document_block)
    for query in range(3):
        cosines = []
        for document in documents.astype(float):
            length = np.sqrt((document**2).sum()) * np.sqrt((queries[query].astype(float) ** 2).sum())
            cosines.append(round(float((document * queries[query]).sum() / length), 9) if length else 0.0)
        assert rows[query].tolist() == naive_top_k(cosines, k)
        np.testing.assert_allclose(scores[query], [cosines[row] for row in rows[query]], atol=2e-9)


def test_no_query_and_no_document() -> None:
    rows, _ = exact_search(np.empty((0, 4)), np.ones((3, 4)), k=2)
    assert rows.shape == (0, 2)
    rows, scores = exact_search(np.ones((2, 4)), np.empty((0, 4)), k=2)
    assert rows.shape == scores.shape == (2, 0)


def test_damaged_vectors_are_refused_with_their_row() -> None:
    documents = np.ones((5, 2), np.float32)
    documents[3, 1] = np.nan
    with pytest.raises(NonFiniteError, match="documents, row 3"):
        exact_search(np.ones((1, 2)), documents, k=1, document_block=2)


def test_shapes_and_k_are_checked() -> None:
    with pytest.raises(InputError, match="no common dimension"):
        exact_search(np.ones((1, 2)), np.ones((1, 3)), k=1)
    with pytest.raises(InputError, match="k is 0"):
        exact_search(np.ones((1, 2)), np.ones((1, 2)), k=0)


def test_paired_cosines() -> None:
    first = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1e-30, 1e-30]])
    second = np.array([[0.0, 2.0], [-3.0, -3.0], [1.0, 0.0], [2.0, 2.0]])
    np.testing.assert_allclose(paired_cosines(first, second), [0.0, -1.0, 0.0, 1.0], atol=1e-9)
    with pytest.raises(InputError, match="differ"):
        paired_cosines(first, second[:2])
