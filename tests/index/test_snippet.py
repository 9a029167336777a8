"""The window that shows why a text was found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.index import snippet

FILLER = "lorem ipsum dolor sit amet " * 20


def marked(text: str, query: str, length: int = 60) -> tuple[str, list[str]]:
    found = snippet(text, query, length=length)
    return found.text, [found.text[start:end] for start, end in found.highlights]


def test_a_short_text_is_shown_whole() -> None:
    found = snippet("Read a Parquet file.", "parquet")
    assert found.text == "Read a Parquet file."
    assert found.highlights == ((7, 14),)
    assert (found.start, found.cut_before, found.cut_after) == (0, False, False)


def test_the_window_with_most_different_words_wins() -> None:
    text = f"parquet parquet parquet {FILLER}a parquet table {FILLER}"
    window, words = marked(text, "parquet table")
    assert words == ["parquet", "table"]
    assert "a parquet table" in window


def test_without_a_match_the_beginning_is_shown() -> None:
    found = snippet(f"Beginning {FILLER}", "nothing", length=40)
    assert found.text.startswith("Beginning lorem")
    assert found.highlights == ()
    assert (found.cut_before, found.cut_after) == (False, True)


def test_words_match_across_case_plural_and_underscore_but_not_within_words() -> None:
    _, words = marked("Tables: read_table is unstable", "TABLE")
    assert words == ["Tables", "table"]


def test_stop_words_are_marked_only_when_there_is_nothing_else() -> None:
    assert marked("to be or not", "to table")[1] == []
    assert marked("to be or not", "to be")[1] == ["to", "be"]


@given(st.text(max_size=300), st.text(max_size=30), st.integers(1, 80))
def test_any_window_is_a_part_of_the_text_with_every_match_in_it_marked(text: str, query: str, length: int) -> None:
    found = snippet(text, query, length=length)
    assert len(found.text) <= length
    assert text[found.start : found.start + len(found.text)] == found.text
    ends = [0, *(place for pair in found.highlights for place in pair), len(found.text)]
    assert ends == sorted(ends)
    assert all(start < end for start, end in found.highlights)


@given(st.lists(st.sampled_from(["dune", "kelp", "ocean", "a", "\n"]), max_size=60), st.integers(10, 60))
def test_a_matching_word_is_always_shown(words: list[str], length: int) -> None:
    found = snippet(" ".join(words), "the kelp", length=length)
    shown = [found.text[start:end] for start, end in found.highlights]
    assert bool(shown) == ("kelp" in words)
    assert set(shown) <= {"kelp"}


def test_no_length_is_refused() -> None:
    with pytest.raises(InputError, match="length"):
        snippet("text", "text", length=0)
