"""The join against a comparison of all pairs in Python, and what normalisation makes equal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.training import near_duplicates
from embedworks.training.near_duplicates import near_pairs, normalised


def shingles(text: str) -> set[str]:
    padded = f" {text} ".ljust(4)
    return {padded[at : at + 4] for at in range(len(padded) - 3)}


def jaccard(first: str, second: str) -> float:
    a, b = shingles(first), shingles(second)
    return len(a & b) / len(a | b)


WORDS = st.lists(st.sampled_from(["card", "cards", "rate", "rates", "lost", "my", "ü", "字", "the"]), max_size=7)
TEXTS = st.lists(st.one_of(WORDS.map(" ".join), st.text(alphabet="ab \U0001f600", max_size=9)), max_size=12)


@given(
    first=TEXTS,
    second=TEXTS,
    threshold=st.one_of(st.sampled_from([0.5, 0.6, 0.75, 0.8, 1.0]), st.floats(0.3, 1.0)),
    piece=st.integers(1, 50),
)
def test_equal_to_a_comparison_of_all_pairs(first, second, threshold, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "_PAIRS_AT_A_TIME", piece)
        ones, others, likeness = near_pairs(first, second, threshold=threshold)
    wanted = {
        (i, j): jaccard(a, b)
        for j, b in enumerate(second)
        for i, a in enumerate(first)
        if jaccard(a, b) >= threshold - 1e-12
    }
    assert list(zip(ones.tolist(), others.tolist(), strict=True)) == list(wanted)
    assert likeness.tolist() == list(wanted.values())


def test_texts_of_many_letters_are_told_apart():
    # Three thousand characters: four of them side by side do not fit a number of 63 bits one by one.
    letters = [chr(0x4E00 + n) for n in range(3000)]
    first = ["".join(letters[at : at + 30]) for at in range(0, 3000, 30)]
    second = [text[:-1] + "x" for text in first]
    ones, others, likeness = near_pairs(first, second, threshold=0.5)
    assert ones.tolist() == others.tolist() == list(range(100))
    assert all(math.isclose(value, jaccard(a, b)) for a, b, value in zip(first, second, likeness, strict=True))


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("What's the rate?", "whats THE  rate", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("Stra\u00dfe", "STRASSE", True),
        ("\uff21\uff22", "ab", True),  # full width
        ("e-mail", "e mail", True),
        ("C", "C#", False),
        ("C", "C++", False),
        ("\u0915\u093f", "\u0915\u093e", False),  # two Hindi syllables that differ in the vowel sign alone
        ("?!", "...", False),  # nothing but punctuation stays as it is
        ("", "  ", True),
    ],
)
def test_what_is_equal_after_normalisation(first, second, equal):
    assert (normalised(first) == normalised(second)) is equal
    assert normalised(normalised(first)) == normalised(first)
