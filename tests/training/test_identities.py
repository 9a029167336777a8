"""Which texts mean the same."""

from __future__ import annotations

from embedworks.data import Pairs
from embedworks.training.identities import fingerprint, identities_of


def test_equal_texts_have_one_number_in_all_columns():
    pairs = Pairs.from_columns(["a", "b", "x"], ["x", "y", "a"], negatives=[["y"], ["a", "z"], []])
    found = identities_of(pairs)
    assert found.queries.tolist() == [0, 1, 2]
    assert found.positives.tolist() == [2, 3, 0]
    assert found.negatives == [[3], [0, 4], []]


def test_ids_join_texts_and_chains_hold():
    pairs = Pairs.from_columns(
        ["a", "b", "b", "c"], ["x", "y", "z", "w"], query_ids=["1", "1", "2", "2"], positive_ids=["p", "q", "q", "r"]
    )
    found = identities_of(pairs)
    assert len(set(found.queries.tolist())) == 1  # a ~ b by id 1, b ~ c by id 2
    assert found.positives[1] == found.positives[2]
    assert len({*found.positives.tolist()}) == 3


def test_a_query_id_and_a_positive_id_of_one_name_are_different_things():
    pairs = Pairs.from_columns(["a", "b"], ["x", "y"], query_ids=["1", "2"], positive_ids=["2", "1"])
    found = identities_of(pairs)
    assert len({*found.queries.tolist(), *found.positives.tolist()}) == 4


def test_fingerprint_sees_every_column_and_no_border():
    base = {"queries": ["ab", "c"], "positives": ["x", "y"]}
    prints = [
        fingerprint(Pairs.from_columns(**base)),
        fingerprint(Pairs.from_columns(queries=["a", "bc"], positives=["x", "y"])),
        fingerprint(Pairs.from_columns(queries=["c", "ab"], positives=["y", "x"])),
        fingerprint(Pairs.from_columns(**base, negatives=[["n", "m"], []])),
        fingerprint(Pairs.from_columns(**base, negatives=[["n"], ["m"]])),
        fingerprint(Pairs.from_columns(**base, query_ids=["1", "2"])),
        fingerprint(Pairs.from_columns(**base, positive_ids=["1", "2"])),
        fingerprint(Pairs.from_columns(**base, instructions=["1", "2"])),
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == fingerprint(Pairs.from_columns(**base, tasks=["t", "t"]))  # training does not read it
