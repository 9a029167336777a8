"""Exactness: a removed phrase is gone in every spelling, against a slow search over all runs of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.data.words import contains_phrase, first_sentence, normalised, without_phrase, words_of

pieces = st.sampled_from(
    ["read", "csv", "Read", "CSV", "readcsv", "pd", ".", "_", " ", "\n", "-", "(", "the", "readCsv"]
)
running_text = st.lists(pieces, max_size=25).map("".join)
phrases = st.lists(st.sampled_from(["read", "csv", "the", "pd"]), min_size=1, max_size=3)


def slow_contains(text: str, phrase: list[str]) -> bool:
    words = words_of(text)
    runs = ["".join(words[start:stop]) for start in range(len(words)) for stop in range(start + 1, len(words) + 1)]
    return "".join(phrase) in runs


@given(running_text, phrases)
def test_contains_phrase_equals_a_slow_search(text: str, phrase: list[str]) -> None:
    assert contains_phrase(text, phrase) == slow_contains(text, phrase)


@given(running_text, phrases)
def test_nothing_is_left_of_a_removed_phrase(text: str, phrase: list[str]) -> None:
    left = without_phrase(text, phrase)
    assert not slow_contains(left, phrase)
    if not slow_contains(text, phrase):
        assert left == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Use read_csv here.", "Use here."),
        ("Use:\n    read_csv(x)\n    pass", "Use:\n    (x)\n    pass"),
        ("Use `pd.read_csv`(x)", "Use ``(x)"),
        ("ReadCSV, readCsv, READ_CSV, read-csv and read csv.", ", , , and ."),
        ("a _read_csv_ name", "a name"),
        ("read the csv", "read the csv"),
        ("readcsvs", "readcsvs"),
    ],
)
def test_spellings(text: str, left: str) -> None:
    assert without_phrase(text, ["read", "csv"]) == left


def test_an_empty_phrase_is_nowhere() -> None:
    assert not contains_phrase("some text", [])
    assert without_phrase("some  text", []) == "some  text"


@pytest.mark.parametrize(
    ("paragraph", "sentence"),
    [
        ("One. Two.", "One."),
        ("Version 1.2 of it. Next", "Version 1.2 of it."),
        ("A list, e.g. Of names. Next.", "A list, e.g. Of names."),
        ("Wraps over\n  two lines. Then more.", "Wraps over two lines."),
        ("No end", "No end"),
        ("Is it so? Yes.", "Is it so?"),
        ("See `x.` Next one.", "See `x.`"),
        ("", ""),
    ],
)
def test_first_sentence(paragraph: str, sentence: str) -> None:
    assert first_sentence(paragraph) == sentence


def test_normalised_texts_differ_in_words_only() -> None:
    assert normalised("Read_CSV  (the file)") == normalised("readCSV the\nFILE!") == "read csv the file"
    assert normalised("Größe ändern 数据") == "größe ändern 数据"
