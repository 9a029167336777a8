"""The leakage report on sets made for it, where the answer is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embedworks.data import Pairs
from embedworks.foundation import InputError
from embedworks.training import check_leakage, without_leaks

TRAINING = [
    "how do I order a new card for my account",  # 0
    "why was my payment declined yesterday evening",  # 1
    "what is the exchange rate for euros today",  # 2
    "Why was my payment declined, yesterday evening?",  # 3, row 1 after normalisation
]
TEST = [
    "How do I order a new card for my account?",  # row 0, exactly
    "what is the exchange rate for euros today please",  # row 2, nearly
    "my phone was stolen",  # nothing
    "WHY was my payment declined yesterday evening",  # rows 1 and 3
    "how do I order a new card for my account",  # row 0 again
]


def test_exact_and_near_duplicates_are_counted_and_named_by_row():
    report = check_leakage(TRAINING, {"test": TEST, "clean": ["nothing of the kind"]}, examples=2)
    found, clean = report.sets
    assert (found.name, found.texts, found.exact, found.near) == ("test", 5, 3, 1)
    assert [(leak.training_row, leak.evaluation_row, leak.likeness) for leak in found.examples] == [
        (0, 0, 1.0),
        (1, 3, 1.0),
    ]
    assert (clean.exact, clean.near, clean.examples) == (0, 0, ())
    assert report.training_rows == (0, 1, 2, 3)
    assert not report.clean
    everything = check_leakage(TRAINING, {"test": TEST}, examples=9).sets[0].examples
    assert [leak.evaluation_row for leak in everything] == [0, 3, 4, 1]
    assert 0.8 <= everything[-1].likeness < 1
    assert check_leakage(TRAINING, {"test": TEST}, threshold=0.95).sets[0].near == 0


def test_the_report_can_be_printed_and_kept_and_holds_no_texts():
    report = check_leakage(TRAINING, {"test": TEST, "clean": ["nothing of the kind"]})
    assert report.lines()[0].startswith("test: 3 of 5 texts (60.0 %) are among the training texts, and 1 more nearly; ")
    assert report.lines()[1] == "clean: 0 of 1 texts (0.0 %) are among the training texts, and 0 more nearly"
    kept = json.dumps(report.to_dict(), allow_nan=False)
    assert "payment" not in kept + "".join(report.lines())
    assert json.loads(kept)["matching_training_texts"] == 4


def test_all_texts_of_a_pair_count_and_leaking_pairs_can_be_left_out():
    pairs = Pairs.from_columns(
        ["q0", "my phone was stolen", "q2", "q3"],
        ["p0", "p1", "why was my payment declined yesterday evening", "p3"],
        negatives=[["n0"], [], ["n2"], ["how do I order a new card for my account"]],
        instructions=["find: "] * 4,
    )
    report = check_leakage(pairs, {"test": TEST})
    assert report.training_rows == (1, 2, 3)
    left = without_leaks(pairs, report)
    assert (left.queries, left.negatives, left.instructions) == (["q0"], [["n0"]], ["find: "])
    assert check_leakage(left, {"test": TEST}).clean
    assert without_leaks(left, check_leakage(left, {"test": TEST})) == left
    with pytest.raises(InputError, match="the report is of 4 pairs, and these are 1"):
        without_leaks(left, report)
    with pytest.raises(InputError, match="every pair matches"):
        without_leaks(pairs, check_leakage(pairs, {"test": TEST, "more": ["q0"]}))


def test_planted_duplicates_are_found_among_many(tmp_path):
    generator = np.random.default_rng(0)
    words = np.array([f"{chr(97 + n % 26)}{n:x}ing" for n in range(3000)])
    training = [" ".join(generator.choice(words, 12)) for _ in range(4000)]
    test = [" ".join(generator.choice(words, 12)) for _ in range(1000)]
    exact, near = np.arange(0, 1000, 40), np.arange(7, 1000, 50)
    for row in exact:
        test[row] = training[3 * row].upper()
    for row in near:  # one letter of some eighty
        test[row] = training[2 * row][:20] + "x" + training[2 * row][21:]
    report = check_leakage(training, {"test": test}, examples=1000)
    found = report.sets[0]
    assert (found.exact, found.near) == (len(exact), len(near))
    assert {(leak.training_row, leak.evaluation_row) for leak in found.examples} == {
        *((3 * row, row) for row in exact.tolist()),
        *((2 * row, row) for row in near.tolist()),
    }


@pytest.mark.parametrize(
    ("training", "evaluation", "options", "message"),
    [
        ([], {"test": ["a"]}, {}, "no training texts"),
        (["a"], {}, {}, "no evaluation sets"),
        (["a"], {"test": []}, {}, "the evaluation set 'test' holds no list of texts"),
        (["a"], {"test": "a"}, {}, "the evaluation set 'test' holds no list of texts"),
        (["a"], {"test": ["a"]}, {"threshold": 0.4}, "threshold is 0.4"),
        (["a"], {"test": ["a"]}, {"threshold": 1.1}, "threshold is 1.1"),
        (["a"], {"test": ["a"]}, {"threshold": float("nan")}, "threshold is nan"),
        (["a"], {"test": ["a"]}, {"examples": -1}, "examples is -1"),
    ],
)
def test_what_cannot_be_compared_is_refused(training, evaluation, options, message):
    with pytest.raises(InputError, match=message) as caught:
        check_leakage(training, evaluation, **options)
    assert "\n" not in str(caught.value)
