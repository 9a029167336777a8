"""The groups of UNG and its label navigating graph, against definitions spelled out in plain Python."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.ung_label_graph import LabelGroups

label_sets = st.lists(st.lists(st.sampled_from("abcdefg"), max_size=5), min_size=1, max_size=40)


def column_of(sets: list[list[str]]) -> LabelColumn:
    column = Attributes(pa.table({"tags": pa.array(sets, pa.list_(pa.string()))})).column("tags")
    assert isinstance(column, LabelColumn)
    return column


def codes(column: LabelColumn, labels: list[str]) -> frozenset[int]:
    return frozenset(column.code(label) for label in labels)


def minimal_among(sets: set[frozenset[int]], wanted: frozenset[int], *, proper: bool) -> set[frozenset[int]]:
    """The supersets that occur and contain no other one."""
    above = {each for each in sets if (wanted < each if proper else wanted <= each)}
    return {each for each in above if not any(other < each for other in above)}


@given(label_sets)
def test_rows_are_grouped_by_their_whole_set(sets: list[list[str]]) -> None:
    column = column_of(sets)
    groups = LabelGroups.of(column)
    own = [codes(column, labels) for labels in sets]
    assert len(groups) == len(set(own))
    found = [frozenset(groups.labels(group)) for group in range(len(groups))]
    assert set(found) == set(own)
    sizes = [(len(groups.labels(group)), groups.labels(group)) for group in range(len(groups))]
    assert sizes == sorted(sizes)
    for group, labels in enumerate(found):
        assert groups.rows(group).tolist() == [row for row, each in enumerate(own) if each == labels]
        assert groups.find(labels) == group
    assert groups.group_of.tolist() == [found.index(each) for each in own]
    # The rows of a group lie together, so that every row stands once.
    assert sorted(groups.members.tolist()) == list(range(len(sets)))


@given(label_sets, st.lists(st.sampled_from("abcdefg"), max_size=4), st.booleans())
def test_minimal_supersets_are_those_of_the_definition(sets: list[list[str]], wanted: list[str], proper: bool) -> None:
    column = column_of(sets)
    groups = LabelGroups.of(column)
    own = {codes(column, labels) for labels in sets}
    asked = codes(column, [label for label in wanted if column.code(label) >= 0])
    chosen = groups.minimal_supersets(asked, proper=proper)
    assert chosen == sorted(chosen)
    assert {frozenset(groups.labels(group)) for group in chosen} == minimal_among(own, asked, proper=proper)
    assert len(chosen) == len(set(chosen))


@given(label_sets)
def test_the_navigating_graph_leads_to_the_minimal_proper_supersets(sets: list[list[str]]) -> None:
    column = column_of(sets)
    groups = LabelGroups.of(column)
    own = {codes(column, labels) for labels in sets}
    starts, above = groups.navigating_graph()
    assert starts[0] == 0
    assert starts[-1] == len(above)
    for group in range(len(groups)):
        leads_to = {frozenset(groups.labels(other)) for other in above[starts[group] : starts[group + 1]]}
        assert leads_to == minimal_among(own, frozenset(groups.labels(group)), proper=True)


@pytest.mark.parametrize("labels", [30, 120])
def test_many_labels_give_the_same_graph_as_the_definition(labels: int) -> None:
    generator = random_generator(0, "label graph")
    weights = 1 / np.arange(1, labels + 1)
    sets = [
        sorted({str(label) for label in generator.choice(labels, generator.integers(1, 6), p=weights / weights.sum())})
        for _ in range(400)
    ]
    column = column_of(sets)
    groups = LabelGroups.of(column)
    own = {codes(column, each) for each in sets}
    starts, above = groups.navigating_graph()
    for group in range(len(groups)):
        leads_to = {frozenset(groups.labels(other)) for other in above[starts[group] : starts[group + 1]]}
        assert leads_to == minimal_among(own, frozenset(groups.labels(group)), proper=True)


def test_every_superset_is_reached_from_a_minimal_one() -> None:
    generator = random_generator(1, "label graph")
    sets = [sorted(set(generator.choice(list("abcdef"), generator.integers(0, 5)).tolist())) for _ in range(80)]
    column = column_of(sets)
    groups = LabelGroups.of(column)
    starts, above = groups.navigating_graph()
    for wanted in [frozenset[int](), *(frozenset([code]) for code in range(6)), frozenset([0, 2])]:
        open_groups = groups.minimal_supersets(wanted, proper=False)
        reached = set(open_groups)
        while open_groups:
            group = open_groups.pop()
            further = set(above[starts[group] : starts[group + 1]].tolist()) - reached
            reached |= further
            open_groups += further
        assert reached == {group for group in range(len(groups)) if wanted <= set(groups.labels(group))}


def test_what_nothing_contains_has_no_superset() -> None:
    groups = LabelGroups.of(column_of([["a"], ["b"], ["b"]]))
    assert groups.minimal_supersets(frozenset([0, 1]), proper=False) == []
    assert groups.find(frozenset([0, 1])) == -1
    assert groups.find(frozenset()) == -1
    assert groups.minimal_supersets(frozenset(), proper=False) == [0, 1]
