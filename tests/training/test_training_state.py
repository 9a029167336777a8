"""Optimiser and random generators through safetensors and JSON, to the last bit."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from embedworks.foundation import StorageError
from embedworks.training import training_state


def draws() -> tuple:
    python = (random.random(), random.gauss(0, 1))
    numpy = (np.random.rand(3).tolist(), np.random.randn())  # noqa: NPY002 - it is the global state that is tested
    return (*python, *numpy, torch.rand(3).tolist())


@pytest.mark.parametrize("warm", [0, 1, 7])
def test_random_state_round_trip_with_half_used_pairs_of_normal_draws(tmp_path, warm):
    for _ in range(warm):
        draws()
    model = torch.nn.Linear(2, 2)
    training_state.write_state(tmp_path, model, torch.optim.AdamW(model.parameters()), {})
    wanted = [draws() for _ in range(3)]
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - it is the global state that is tested
    torch.manual_seed(1)
    training_state.load_random_state(tmp_path)
    assert [draws() for _ in range(3)] == wanted


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.SGD])
def test_optimiser_round_trip_and_the_next_step(tmp_path, make, fused):
    def build():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
        groups = [{"params": list(model[0].parameters()), "weight_decay": 0.1}, {"params": list(model[1].parameters())}]
        return model, make(groups, lr=0.1, fused=fused)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.ones(5, 3)).sum().backward()
        optimizer.step()

    model, optimizer = build()
    step(model, optimizer)
    optimizer.param_groups[0]["lr"] = 1 / 3
    training_state.write_state(tmp_path, model, optimizer, {"x": 1})
    again, other = build()
    training_state.load_weights(tmp_path, again)
    training_state.load_optimizer(tmp_path, other)
    assert other.param_groups[0]["lr"] == 1 / 3
    step(model, optimizer)
    step(again, other)
    for first, second in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second)


def test_tied_weights_come_back(tmp_path):
    model = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)])
    model[1].weight = model[0].weight
    wanted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training_state.write_state(tmp_path, model, torch.optim.SGD(model.parameters()), {})
    with torch.no_grad():
        model[0].weight.zero_()
    training_state.load_weights(tmp_path, model)
    assert all(torch.equal(wanted[name], tensor) for name, tensor in model.state_dict().items())


def test_weights_of_another_model_are_refused(tmp_path):
    model = torch.nn.Linear(2, 2)
    training_state.write_state(tmp_path, model, torch.optim.SGD(model.parameters()), {})
    with pytest.raises(StorageError, match="another model"):
        training_state.load_weights(tmp_path, torch.nn.Linear(3, 2))


def test_facts_are_json_without_nan(tmp_path):
    model = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="JSON"):
        training_state.write_state(tmp_path, model, torch.optim.SGD(model.parameters()), {"loss": float("nan")})
    training_state.write_state(tmp_path, model, torch.optim.SGD(model.parameters()), {"loss": 0.1})
    assert training_state.read_facts(tmp_path)["loss"] == 0.1
    assert json.loads((tmp_path / "training.json").read_text())["loss"] == 0.1
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(StorageError, match="unreadable"):
        training_state.read_facts(tmp_path)
