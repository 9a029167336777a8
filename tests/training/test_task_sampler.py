"""The samplers' promises as properties: each row once, ranks disjoint, one data set a step, all without asking."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.training import MixedSampler, SingleTaskSampler

SETTINGS = st.fixed_dictionaries(
    {
        "sizes": st.dictionaries(st.sampled_from("abcd"), st.integers(1, 60), min_size=1),
        "batch": st.lists(st.integers(1, 7), min_size=4, max_size=4),
        "ranks": st.integers(1, 4),
        "seed": st.integers(0, 5),
        "keep_last": st.booleans(),
        "single": st.booleans(),
    }
)


def samplers(settings) -> list[SingleTaskSampler | MixedSampler] | None:
    """One for each rank; None where the data are too few, which must be refused."""
    batch = dict(zip("abcd", settings["batch"], strict=True))
    sizes, ranks = settings["sizes"], settings["ranks"]
    common = {"ranks": ranks, "seed": settings["seed"], "keep_last": settings["keep_last"]}
    if settings["single"]:
        batches = {name: batch[name] for name in sizes}
        fits = all(size >= ranks * (1 if settings["keep_last"] else batch[name]) for name, size in sizes.items())

        def make(rank):
            return SingleTaskSampler(sizes, batch_sizes=batches, rank=rank, **common)
    else:
        fits = sum(sizes.values()) >= ranks * (1 if settings["keep_last"] else batch["a"])

        def make(rank):
            return MixedSampler(sizes, batch_size=batch["a"], rank=rank, **common)

    if not fits:
        with pytest.raises(InputError, match="one step needs"):
            make(0)
        return None
    return [make(rank) for rank in range(ranks)]


def pairs_of(batch) -> list[tuple[int, int]]:
    return list(zip(batch.data_sets.tolist(), batch.rows.tolist(), strict=True))


@given(settings=SETTINGS, epoch=st.integers(0, 2))
def test_each_row_once_an_epoch_ranks_disjoint_and_equal_in_size(settings, epoch):
    ranks = samplers(settings)
    if ranks is None:
        return
    steps = ranks[0].steps_per_epoch
    seen: Counter[tuple[int, int]] = Counter()
    for step in range(epoch * steps, (epoch + 1) * steps):
        parts = [pairs_of(sampler.batch(step)) for sampler in ranks]
        sizes = [len(part) for part in parts]
        assert min(sizes) >= 1
        assert max(sizes) - min(sizes) <= (1 if settings["keep_last"] else 0)
        seen.update(pair for part in parts for pair in part)
    assert set(seen.values()) == {1}  # disjoint over ranks and steps
    everything = {(place, row) for place, size in enumerate(settings["sizes"].values()) for row in range(size)}
    if settings["keep_last"]:
        assert set(seen) == everything
    else:
        assert set(seen) <= everything


@given(settings=SETTINGS.map(lambda found: found | {"single": True}))
def test_one_data_set_a_step_the_same_on_every_rank_with_its_own_batch_size(settings):
    ranks = samplers(settings)
    if ranks is None:
        return
    steps: Counter[str] = Counter()
    names, batch = list(settings["sizes"]), dict(zip("abcd", settings["batch"], strict=True))
    for step in range(ranks[0].steps_per_epoch):
        found = {int(place) for sampler in ranks for place in sampler.batch(step).data_sets}
        assert len(found) == 1
        name = names[found.pop()]
        assert {sampler.task(sampler.batch(step)) for sampler in ranks} == {name}
        steps[name] += 1
        size = sum(len(sampler.batch(step).rows) for sampler in ranks)
        if settings["keep_last"]:
            assert size < batch[name] * len(ranks) + len(ranks)
        else:
            assert size == batch[name] * len(ranks)
    if not settings["keep_last"]:  # the published count
        wanted = {name: size // (batch[name] * len(ranks)) for name, size in settings["sizes"].items()}
        assert steps == wanted


@given(settings=SETTINGS, cut=st.integers(0, 80), length=st.integers(1, 40))
def test_a_state_saved_and_restored_gives_the_same_continuation(settings, cut, length):
    whole = samplers(settings)
    if whole is None:
        return
    for rank, sampler in enumerate(whole):
        wanted = [pairs_of(batch) for batch in sampler.batches(stop=cut + length)][cut:]
        state = json.loads(json.dumps(sampler.state(cut)))
        assert state == whole[0].state(cut)
        other = samplers(settings)[rank]
        start = other.resume(state)
        assert start == cut
        assert [pairs_of(batch) for batch in other.batches(start=start, stop=cut + length)] == wanted


def test_epochs_and_seeds_differ_and_a_data_set_is_dealt_alike_whatever_stands_beside_it():
    sizes = {"a": 40, "b": 24}

    def rows(sampler, epoch=0):
        steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
        return [pairs_of(sampler.batch(step)) for step in steps]

    for make in (
        lambda **changes: SingleTaskSampler(sizes, batch_sizes=4, **changes),
        lambda **changes: MixedSampler(sizes, batch_size=4, **changes),
    ):
        assert rows(make()) == rows(make())
        assert rows(make()) != rows(make(), epoch=1)
        assert rows(make()) != rows(make(seed=1))
    beside = SingleTaskSampler({"a": 40, "b": 8}, batch_sizes=4)
    assert [b for b in sorted(rows(beside)) if b[0][0] == 0] == [
        b for b in sorted(rows(SingleTaskSampler(sizes, batch_sizes=4))) if b[0][0] == 0
    ]


def test_the_order_of_data_sets_is_random_and_mixed_batches_hold_shares_as_the_sizes():
    single = SingleTaskSampler({"a": 400, "b": 400}, batch_sizes=4)
    order = [single.task(batch) for batch in single.batches(stop=200)]
    changes = sum(first != second for first, second in pairwise(order))
    assert 70 < changes < 130  # a fair coin: 99.5 expected, standard deviation 7
    mixed = MixedSampler({"a": 300, "b": 100}, batch_size=40)
    shares = [np.mean(batch.data_sets == 0) for batch in mixed.batches(stop=10)]
    assert min(shares) > 0.5
    assert max(shares) < 1.0
    assert np.mean(shares) == pytest.approx(0.75)


def test_two_processes_agree_without_communication():
    script = (
        "import json, sys\n"
        "from embedworks.training import SingleTaskSampler\n"
        "sampler = SingleTaskSampler({'a': 23, 'b': 9}, batch_sizes={'a': 3, 'b': 2}, ranks=2, rank=int(sys.argv[1]))\n"
        "found = [[sampler.task(batch), batch.rows.tolist()] for batch in sampler.batches(start=3, stop=15)]\n"
        "sys.stdout.write(json.dumps(found))\n"
    )
    ranks = [
        json.loads(subprocess.run([sys.executable, "-c", script, str(rank)], stdout=subprocess.PIPE, check=True).stdout)
        for rank in (0, 1)
    ]
    assert [task for task, _ in ranks[0]] == [task for task, _ in ranks[1]]
    assert all(not set(first) & set(second) for (_, first), (_, second) in zip(*ranks, strict=True))
    here = SingleTaskSampler({"a": 23, "b": 9}, batch_sizes={"a": 3, "b": 2}, ranks=2, rank=1)
    assert [rows for _, rows in ranks[1]] == [batch.rows.tolist() for batch in here.batches(start=3, stop=15)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": {}}, "no data sets"),
        ({"sizes": {"a": 5, "b": 0}}, "'b' has 0 rows"),
        ({"batch_sizes": {"a": 2}}, "'b' has no batch size"),
        ({"batch_sizes": {"a": 2, "b": 2, "c": 2}}, "'c' has a batch size and no rows"),
        ({"batch_sizes": {"a": 2, "b": 0}}, "the batch size of 'b' is 0"),
        ({"ranks": 0}, "rank is 0 of 0"),
        ({"ranks": 2, "rank": 2}, "rank is 2 of 2"),
        ({"ranks": 4}, "'b' has 3 rows, and one step needs 4"),
        ({"keep_last": False, "batch_sizes": 4}, "'b' has 3 rows, and one step needs 4"),
    ],
)
def test_what_cannot_be_dealt_is_refused(changes, message):
    with pytest.raises(InputError, match=message) as caught:
        SingleTaskSampler(**({"sizes": {"a": 5, "b": 3}, "batch_sizes": 2} | changes))
    assert "\n" not in str(caught.value)


def test_a_state_of_another_plan_is_refused():
    sampler = SingleTaskSampler({"a": 9, "b": 4}, batch_sizes=2)
    state = sampler.state(3)
    others = [
        SingleTaskSampler({"a": 9, "b": 5}, batch_sizes=2),
        SingleTaskSampler({"b": 4, "a": 9}, batch_sizes=2),
        SingleTaskSampler({"a": 9, "b": 4}, batch_sizes={"a": 2, "b": 1}),
        SingleTaskSampler({"a": 9, "b": 4}, batch_sizes=2, seed=1),
        SingleTaskSampler({"a": 9, "b": 4}, batch_sizes=2, ranks=2),
        SingleTaskSampler({"a": 9, "b": 4}, batch_sizes=2, keep_last=False),
        MixedSampler({"a": 9, "b": 4}, batch_size=2),
    ]
    for other in others:
        with pytest.raises(InputError, match="the state is of another plan"):
            other.resume(state)
    with pytest.raises(InputError, match="batch_size is 0"):
        MixedSampler({"a": 9}, batch_size=0)
