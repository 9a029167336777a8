"""Pairs from classes: whose positive and negatives are of which class, what is left out, and what masks know."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.data import Labelled
from embedworks.foundation import InputError
from embedworks.training import pairs_by_example, pairs_by_label
from embedworks.training.identities import identities_of

LABELLED = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=1, max_size=40)


def of(rows) -> Labelled:
    return Labelled.from_columns([f"text {text}" for text, _ in rows], [f"class {label}" for _, label in rows])


def single_class(rows) -> dict[str, str]:
    """The texts that stand under one class only, and that class; the slow way."""
    found = {}
    for text, label in rows:
        if len({other for same, other in rows if same == text}) == 1:
            found[f"text {text}"] = f"class {label}"
    return found


@given(rows=LABELLED, negatives=st.integers(0, 9), seed=st.integers(0, 3), mark=st.booleans())
def test_examples_are_of_the_classes_they_should_be(rows, negatives, seed, mark):
    known = single_class(rows)
    sizes = Counter(known.values())
    if len(sizes) < 2 or max(sizes.values()) < 2:
        with pytest.raises(InputError, match="pairs from classes"):
            pairs_by_example(of(rows))
        return
    options = {"negatives_per_query": negatives, "seed": seed, "mark_classes": mark}
    pairs, report = pairs_by_example(of(rows), **options)
    assert pairs.queries == [text for text in known if sizes[known[text]] > 1]
    for query, positive, row in zip(pairs.queries, pairs.positives, pairs.negatives, strict=True):
        assert positive != query
        assert known[positive] == known[query]
        assert all(known[text] != known[query] for text in row)
        assert len(set(row)) == len(row) == min(negatives, len(known) - sizes[known[query]])
    contradictory = sum(f"text {text}" not in known for text, _ in rows)
    assert (report.texts, report.pairs, report.classes) == (len(rows), len(pairs), len(sizes))
    assert (report.contradictory, report.repeated) == (contradictory, len(rows) - contradictory - len(known))
    assert report.alone == sum(size == 1 for size in sizes.values())
    assert pairs_by_example(of(rows), **options) == (pairs, report)


@given(rows=LABELLED, negatives=st.integers(0, 9), seed=st.integers(0, 3))
def test_labels_are_the_own_and_the_others(rows, negatives, seed):
    known = single_class(rows)
    names = set(known.values())
    if len(names) < 2:
        with pytest.raises(InputError, match="pairs from classes"):
            pairs_by_label(of(rows))
        return
    pairs, report = pairs_by_label(of(rows), negatives_per_query=negatives, seed=seed)
    assert dict(zip(pairs.queries, pairs.positives, strict=True)) == known
    for positive, row in zip(pairs.positives, pairs.negatives, strict=True):
        assert set(row) <= names - {positive}
        assert len(set(row)) == len(row) == min(negatives, len(names) - 1)
    assert report.pairs == len(known) == len(pairs)
    assert pairs_by_label(of(rows), negatives_per_query=negatives, seed=seed)[0] == pairs


def test_every_text_of_the_class_and_of_the_others_is_drawn():
    names = [f"{label}{n}" for label in "abc" for n in range(4)]
    labelled = Labelled.from_columns(names, [name[0] for name in names])
    positives, negatives = Counter(), Counter()
    for seed in range(400):
        pairs, _ = pairs_by_example(labelled, negatives_per_query=2, seed=seed)
        positives[pairs.positives[5]] += 1
        negatives.update(pairs.negatives[5])
    assert set(positives) == {"b0", "b2", "b3"}
    assert set(negatives) == {f"{label}{n}" for label in "ac" for n in range(4)}
    assert max(positives.values()) < 2 * min(positives.values())
    assert max(negatives.values()) < 2 * min(negatives.values())


def test_marked_classes_are_one_number_in_all_columns_and_unmarked_ones_are_not():
    names = [f"{label}{n}" for label in "abc" for n in range(5)]
    labelled = Labelled.from_columns(names, [name[0] for name in names])
    pairs, _ = pairs_by_example(labelled, negatives_per_query=3)
    identities = identities_of(pairs)
    number = {query[0]: int(n) for query, n in zip(pairs.queries, identities.queries, strict=True)}
    assert len(set(number.values())) == 3
    assert [number[text[0]] for text in pairs.queries] == identities.queries.tolist()
    assert [number[text[0]] for text in pairs.positives] == identities.positives.tolist()
    assert [[number[text[0]] for text in row] for row in pairs.negatives] == identities.negatives
    unmarked, _ = pairs_by_example(labelled, negatives_per_query=3, mark_classes=False)
    assert (unmarked.queries, unmarked.positives, unmarked.negatives) == (
        pairs.queries,
        pairs.positives,
        pairs.negatives,
    )
    assert len(set(identities_of(unmarked).queries.tolist())) == 15


def test_the_task_keeps_classes_of_several_tasks_apart():
    labelled = Labelled.from_columns(["u", "v", "w", "x"], ["0", "0", "1", "1"])
    pairs, _ = pairs_by_example(labelled, task="mood", instruction="Find: ")
    assert pairs.query_ids == ["mood/0", "mood/0", "mood/1", "mood/1"]
    assert pairs.tasks == ["mood"] * 4
    assert pairs.instructions == ["Find: "] * 4


def test_label_texts_stand_in_the_place_of_labels():
    labelled = Labelled.from_columns(["u", "v"], ["0", "1"])
    pairs, _ = pairs_by_label(labelled, label_texts={"0": "no", "1": "yes", "2": "unused"})
    assert pairs.positives == ["no", "yes"]
    assert pairs.positive_ids == ["0", "1"]
    with pytest.raises(InputError, match="the label '1' has no text"):
        pairs_by_label(labelled, label_texts={"0": "no"})
    with pytest.raises(InputError, match="'0' and '1' have the same text"):
        pairs_by_label(labelled, label_texts={"0": "no", "1": "no"})


def test_what_is_left_out_is_said_and_what_cannot_be_used_is_refused(caplog):
    labelled = Labelled.from_columns(["u", "u", "v", "w", "w", "x"], ["0", "0", "0", "0", "1", "1"])
    with caplog.at_level(logging.WARNING):
        pairs, report = pairs_by_example(labelled)
    assert (pairs.queries, pairs.positives, pairs.negatives) == (["u", "v"], ["v", "u"], [["x"], ["x"]])
    assert (report.repeated, report.contradictory, report.alone) == (1, 2, 1)
    assert "2 of 6 texts stand under several classes" in caplog.text
    assert "1 of 3 texts are alone in their class" in caplog.text
    for labels, message in ((["0", "0"], "all texts are of one class, '0'"), (["0", "1"], "no class has two texts")):
        with pytest.raises(InputError, match=message) as caught:
            pairs_by_example(Labelled.from_columns(["u", "v"], labels))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no text stands under one class only"):
        pairs_by_label(Labelled.from_columns(["u", "u"], ["0", "1"]))
    for convert in (pairs_by_example, pairs_by_label):
        with pytest.raises(InputError, match="negatives_per_query is -1"):
            convert(labelled, negatives_per_query=-1)
