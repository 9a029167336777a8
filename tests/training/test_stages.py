"""Stages: each is a run of its own on the same model, and a killed training goes on in the stage it was in."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from embedworks.data import Pairs
from embedworks.foundation import InputError
from embedworks.training import Stage, TrainingSettings, fit_pairs, fit_stages
from embedworks.training.schedule import Budget

FIRST = TrainingSettings(max_steps=4, epochs=9, batch_size=8, learning_rate=1e-3, checkpoint_every_steps=1)
SECOND = replace(FIRST, max_steps=3, in_batch_negatives="off", learning_rate=5e-4)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def with_negatives(pairs: Pairs) -> Pairs:
    rows = [row for row, negatives in enumerate(pairs.negatives) if negatives]
    columns = [[column[row] for row in rows] for column in (pairs.queries, pairs.positives, pairs.negatives)]
    return Pairs.from_columns(columns[0], columns[1], negatives=columns[2])


def test_stages_are_runs_one_after_another(tiny_model, pairs):
    hard = with_negatives(pairs)
    by_hand = tiny_model()
    wanted = (fit_pairs(by_hand, pairs, FIRST), fit_pairs(by_hand, hard, SECOND))
    model = tiny_model()
    logs = fit_stages(model, [Stage(pairs, FIRST), Stage(hard, SECOND)])
    assert [log.losses for log in logs] == [log.losses for log in wanted]
    assert equal(weights(model), weights(by_hand))
    assert len(logs[0].losses) == 4
    assert logs[1].learning_rates[-1] < logs[1].learning_rates[0]


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("cut_at", [3, 5, 6])  # in the first stage, before the second's first checkpoint, in the second
def test_a_killed_training_resumes_in_its_stage_to_the_same_bits(tiny_model, pairs, tmp_path, monkeypatch, cut_at):
    hard = with_negatives(pairs)
    whole = tiny_model()
    logs = fit_stages(whole, [Stage(pairs, FIRST), Stage(hard, SECOND)])
    resuming = [Stage(pairs, replace(FIRST, resume=True)), Stage(hard, replace(SECOND, resume=True))]
    begin, count = Budget.begin_step, [0]

    def cut(self: Budget) -> None:
        count[0] += 1
        if count[0] == cut_at:
            raise PowerCutError
        begin(self)

    with monkeypatch.context() as context:
        context.setattr(Budget, "begin_step", cut)
        with pytest.raises(PowerCutError):
            fit_stages(tiny_model(), resuming, out=tmp_path)
    model = tiny_model()
    resumed = fit_stages(model, resuming, out=tmp_path)
    assert [log.losses for log in resumed] == [log.losses for log in logs]
    assert equal(weights(model), weights(whole))


def test_stages_that_make_no_training_are_refused(tiny_model, pairs):
    with pytest.raises(InputError, match="no stages"):
        fit_stages(tiny_model(), [])
    with pytest.raises(InputError, match="only some stages have resume"):
        fit_stages(tiny_model(), [Stage(pairs, FIRST), Stage(pairs, replace(SECOND, resume=True))])
