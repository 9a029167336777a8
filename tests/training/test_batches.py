"""Batches: each row once an epoch, no like texts together where that is possible, parts that lose nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedworks.data import Pairs
from embedworks.training.batches import PairBatches, plan_epoch
from embedworks.training.identities import identities_of


def tokens(texts: list[str]) -> dict[str, torch.Tensor | str]:
    longest = max(len(text) for text in texts)
    codes = torch.zeros(len(texts), longest, dtype=torch.int64)
    for row, text in enumerate(texts):
        codes[row, : len(text)] = torch.tensor([ord(letter) for letter in text])
    return {"input_ids": codes, "modality": "text"}


def decode(batch: dict) -> list[str]:
    """The texts of a batch in canonical order."""
    encoded = []
    for part in sorted({key.split("_")[0] for key in batch if key.startswith("part")}, key=lambda name: int(name[4:])):
        for row in batch[f"{part}_input_ids"].tolist():
            encoded.append("".join(chr(code) for code in row if code))
    texts = [""] * len(encoded)
    for place, text in zip(batch["label"]["places"].tolist(), encoded, strict=True):
        texts[place] = text
    return texts


def batches_of(pairs: Pairs, **changes) -> PairBatches:
    options = {"batch_size": 4, "total_steps": 10, "hard_negatives": 4, "mini_batch_size": None, "seed": 0}
    return PairBatches(pairs, tokens, **(options | changes))


@given(
    queries=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
    positives=st.integers(1, 40),
)
def test_each_row_once_in_batches_of_the_size(queries, batch_size, seed, positives):
    pairs = Pairs.from_columns([f"q{q}" for q in queries], [f"p{(7 * row) % positives}" for row in range(len(queries))])
    plan = plan_epoch(identities_of(pairs), batch_size=batch_size, seed=seed, epoch=1)
    assert sorted(np.concatenate(plan).tolist()) == list(range(len(queries)))
    assert len(plan) == math.ceil(len(queries) / batch_size)
    assert all(len(batch) == batch_size for batch in plan[:-1])


def test_like_texts_are_kept_apart_where_that_is_possible():
    names = [f"t{row % 25}" for row in range(100)]  # each query four times
    pairs = Pairs.from_columns(names, [f"p{row % 50}" for row in range(100)])
    identities = identities_of(pairs)
    clashes = 0
    for batch in plan_epoch(identities, batch_size=10, seed=0, epoch=0)[:-1]:
        for numbers in (identities.queries[batch], identities.positives[batch]):
            clashes += len(numbers) - len(set(numbers.tolist()))
    assert clashes == 0


def test_a_query_that_is_a_positive_elsewhere_is_kept_apart():
    pairs = Pairs.from_columns(["a", "b", "c", "d"], ["b", "a", "x", "y"])
    for seed in range(20):
        plan = plan_epoch(identities_of(pairs), batch_size=2, seed=seed, epoch=0)
        assert {0, 1} not in [set(batch.tolist()) for batch in plan[:1]]


def test_like_texts_may_meet_where_they_need_not_be_kept_apart():
    pairs = Pairs.from_columns([f"q{row}" for row in range(40)], [f"p{row % 5}" for row in range(40)])

    def meetings(keep_apart: bool) -> list[int]:
        batches = batches_of(pairs, total_steps=10, keep_apart=keep_apart)
        return [len(batches.rows) - len({pairs.positives[row] for row in batches.rows}) for _ in batches]

    assert sum(meetings(True)) < sum(meetings(False))
    assert sum(meetings(True)[:5]) == 0
    rows = [batches_of(pairs, keep_apart=False)]
    assert sorted(row for _ in rows[0] for row in rows[0].rows.tolist()) == list(range(40))


def test_order_depends_on_seed_and_epoch_alone(pairs):
    def plan(**changes):
        options = {"batch_size": 4, "seed": 0, "epoch": 0} | changes
        return [batch.tolist() for batch in plan_epoch(identities_of(pairs), **options)]

    assert plan() == plan()
    assert plan() != plan(epoch=1)
    assert plan() != plan(seed=1)


@pytest.mark.parametrize("mini_batch_size", [None, 1, 3, 100])
def test_parts_hold_each_text_once_and_places_put_them_back(pairs, mini_batch_size):
    batches = batches_of(pairs, mini_batch_size=mini_batch_size)
    rows = [3, 0, 7, 21]
    wanted = [pairs.queries[row] for row in rows] + [pairs.positives[row] for row in rows]
    wanted += [text for row in rows for text in pairs.negatives[row]]
    batch = batches.collate(rows)
    assert decode(batch) == wanted
    if mini_batch_size is not None:
        sizes = [len(value) for key, value in batch.items() if key.endswith("_input_ids")]
        assert max(sizes) <= mini_batch_size
    identities = batch["label"]["identities"]
    assert identities.shape == (4, 2 + 3)
    assert (identities >= 0).sum(dim=1).tolist() == [2 + len(pairs.negatives[row]) for row in rows]


def _part_sizes(batch):
    return [len(batch[key]) for key in sorted(batch) if key.endswith("_input_ids")]


def test_texts_of_like_length_share_one_pass_and_others_do_not():
    alike = Pairs.from_columns([f"{n:04d}" for n in range(8)], [f"{n:05d}" for n in range(8)])
    unlike = Pairs.from_columns(list("abcdefgh"), [f"{n:050d}" for n in range(8)])
    for pairs, sizes in ((alike, [16]), (unlike, [8, 8])):
        assert _part_sizes(batches_of(pairs).collate(range(8))) == sizes


def test_beyond_what_training_reads_texts_are_of_like_length():
    pairs = Pairs.from_columns([f"{n:0100d}" for n in range(8)], [f"{n:0900d}" for n in range(8)])
    assert _part_sizes(batches_of(pairs).collate(range(8))) == [8, 8]
    assert _part_sizes(batches_of(pairs, max_tokens=20).collate(range(8))) == [16]


def test_padding_stays_below_a_third_where_lengths_vary():
    pairs = Pairs.from_columns([f"{n:0{n + 1}d}" for n in range(120)], [f"{n:0{121 - n}d}" for n in range(120)])
    batches = batches_of(pairs)
    texts = [*pairs.queries, *pairs.positives]
    parts = batches._parts(texts)
    assert sorted(place for part in parts for place in part) == list(range(240))
    padded = sum(len(part) * max(len(texts[place]) for place in part) for part in parts)
    assert padded < 1.33 * sum(map(len, texts))
    assert len(parts) <= 16


def test_hard_negatives_are_cut_and_can_be_left_out(pairs):
    assert batches_of(pairs, hard_negatives=1).collate([3])["label"]["identities"].shape == (1, 3)
    assert batches_of(pairs, hard_negatives=0).collate([3])["label"]["identities"].shape == (1, 2)


def test_instructions_stand_before_queries_only():
    pairs = Pairs.from_columns(["a"], ["b"], negatives=[["c"]], instructions=["find: "])
    assert decode(batches_of(pairs).collate([0])) == ["find: a", "b", "c"]


def test_starting_later_gives_the_same_batches_across_an_epoch(pairs):
    whole = batches_of(pairs, total_steps=15)
    seen = [whole.rows.tolist() for _ in whole]
    assert whole.batches_per_epoch == 6
    for start in (0, 4, 6, 11, 15):
        later = batches_of(pairs, total_steps=15)
        later.start = start
        assert [later.rows.tolist() for _ in later] == seen[start:]
    assert whole.position(7) == {"epoch": 1, "batch": 1, "batches_per_epoch": 6, "seed": 0}
