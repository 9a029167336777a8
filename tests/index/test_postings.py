"""BM25 against bm25s and against a loop by the book."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest
from bm25s.stopwords import STOPWORDS_EN
from hypothesis import given
from hypothesis import strategies as st

from embedworks.index import Index
from embedworks.index.postings import TermScorer, build_postings, default_settings, merged_postings, tokenizer
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


@given(st.lists(st.tuples(TEXT, st.booleans()), min_size=1, max_size=8), TEXT, st.integers(1, 8))
def test_deleted_rows_count_for_nothing_and_merging_changes_nothing(
    rows: list[tuple[str, bool]], query: str, cut: int
) -> None:
    cut_words = tokenizer(SETTINGS)
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    segments = [build_postings([text for text, _ in part], cut_words) for part in parts]
    alive = np.array([lives for _, lives in rows])
    scores = TermScorer(segments, alive, SETTINGS).scores(query)
    left = [text for text, lives in rows if lives]
    anew = TermScorer([build_postings(left, cut_words)], np.ones(len(left), dtype=np.bool_), SETTINGS).scores(query)
    np.testing.assert_allclose(scores[alive], anew, rtol=1e-12)
    kept = [np.flatnonzero([lives for _, lives in part]) for part in parts]
    merged = merged_postings(list(zip(segments, kept, strict=True)))
    again = TermScorer([merged], np.ones(len(left), dtype=np.bool_), SETTINGS).scores(query)
    np.testing.assert_array_equal(again, anew)


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
