"""BM25 against bm25s and against a loop by the book."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import bm25s
import numpy as np
import pytest
from bm25s.stopwords import STOPWORDS_EN
from hypothesis import given
from hypothesis import strategies as st

from embedworks.index import Index
from embedworks.index.postings import TermScorer, build_postings, default_settings, rearranged_postings, tokenizer
from embedworks.index.terms import ENGLISH_STOPWORDS

SETTINGS = default_settings()
TEXT = st.lists(st.sampled_from(["dune", "fjord", "kelp", "The", "Fjord,", "x", "wave"]), max_size=6).map(" ".join)


def reference_scores(texts: list[str], query: str) -> np.ndarray:
    tokens = bm25s.tokenize(texts, stopwords="en", show_progress=False)
    model = bm25s.BM25(k1=SETTINGS.k1, b=SETTINGS.b, method="lucene")
    model.index(tokens, show_progress=False)
    words = bm25s.tokenize([query], stopwords="en", return_ids=False, show_progress=False)[0]
    known = [word for word in words if word in tokens.vocab]
    return model.get_scores(known) if known else np.zeros(len(texts))


def test_the_stop_words_are_those_of_bm25s() -> None:
    assert tuple(STOPWORDS_EN) == ENGLISH_STOPWORDS


@given(st.lists(TEXT, min_size=1, max_size=8), TEXT, st.integers(1, 8))
def test_scores_equal_bm25s(texts: list[str], query: str, cut: int) -> None:
    cut_words = tokenizer(SETTINGS)
    parts = [part for part in (texts[:cut], texts[cut:]) if part]
    segments = [build_postings(part, cut_words) for part in parts]
    alive = np.ones(len(texts), dtype=np.bool_)
    scores = TermScorer(segments, alive, SETTINGS).scores(query)
    if any(cut_words(text) for text in texts):
        np.testing.assert_allclose(scores, reference_scores(texts, query), atol=2e-6)
    else:
        assert not scores.any()


@given(st.lists(st.tuples(TEXT, st.booleans()), min_size=1, max_size=8), TEXT, st.integers(1, 8), st.randoms())
def test_deleted_rows_count_for_nothing_and_another_order_changes_nothing(
    rows: list[tuple[str, bool]], query: str, cut: int, random: Random
) -> None:
    cut_words = tokenizer(SETTINGS)
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    segments = [build_postings([text for text, _ in part], cut_words) for part in parts]
    alive = np.array([lives for _, lives in rows])
    scores = TermScorer(segments, alive, SETTINGS).scores(query)
    left = [text for text, lives in rows if lives]
    anew = TermScorer([build_postings(left, cut_words)], np.ones(len(left), dtype=np.bool_), SETTINGS).scores(query)
    np.testing.assert_allclose(scores[alive], anew, rtol=1e-12)
    order = np.flatnonzero(alive)
    random.shuffle(order)
    rearranged = rearranged_postings(segments, order)
    again = TermScorer([rearranged], np.ones(len(left), dtype=np.bool_), SETTINGS).scores(query)
    place_of = np.cumsum(alive) - 1
    np.testing.assert_array_equal(again, anew[place_of[order]])


@given(st.lists(TEXT, max_size=9), st.lists(st.integers(0, 8), max_size=9, unique=True), st.integers(0, 9))
def test_rearranged_postings_are_those_of_the_rows_in_their_new_order(
    texts: list[str], wanted: list[int], cut: int
) -> None:
    """Any rows of two segments in any order, none among them, against counting their texts anew."""
    cut_words = tokenizer(SETTINGS)
    order = np.array([row for row in wanted if row < len(texts)], dtype=np.int64)
    segments = [build_postings(part, cut_words) for part in (texts[:cut], texts[cut:])]
    found = rearranged_postings(segments, order)
    anew = build_postings([texts[row] for row in order], cut_words)
    assert sorted(found.terms.to_pylist()) == sorted(anew.terms.to_pylist())
    for term in anew.terms.to_pylist():
        np.testing.assert_array_equal(found.of(term), anew.of(term))
    np.testing.assert_array_equal(found.lengths, anew.lengths)
    assert found.starts.dtype == np.int64
    assert found.entries.dtype == found.lengths.dtype == np.int32


def test_the_formula_by_hand() -> None:
    postings = build_postings(["dune dune kelp", "kelp", None], tokenizer(SETTINGS))
    scores = TermScorer([postings], np.ones(3, dtype=np.bool_), SETTINGS).scores("Dune")
    idf = np.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    mean_length = 4 / 3
    assert scores == pytest.approx([idf * 2 / (2 + 1.5 * (0.25 + 0.75 * 3 / mean_length)), 0, 0])


def test_the_index_ranks_as_bm25s_does(searched: tuple[Index, dict[str, Any]]) -> None:
    index, rows = searched
    for query in ("glacier", "kelp lagoon kelp", "amber nothing"):
        expected = dict(zip(rows["ids"], reference_scores(rows["texts"], query), strict=True))
        for hit in index.search(text=query, mode="lexical", k=30).hits:
            assert hit.score == pytest.approx(expected[hit.id], abs=2e-6)
        best = sorted(expected.values(), reverse=True)[:30]
        found = [hit.score for hit in index.search(text=query, mode="lexical", k=30).hits]
        assert found == pytest.approx([score for score in best if score > 0], abs=2e-6)


def test_an_index_without_a_lexical_side_says_so(index_path: Path, make_rows: Callable[..., dict[str, Any]]) -> None:
    index = Index.create(index_path, dimension=8, lexical=False)
    index.add(**make_rows(3))
    assert not index.lexical
    assert not list(index_path.rglob("terms.arrow"))
    with pytest.raises(ValueError, match="no lexical side"):
        index.search(text="dune", mode="lexical")
