"""The state of an optimiser and of the random generators, as tensors and JSON, and back; nothing is pickled."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from embedworks.foundation import StorageError

_MODEL, _OPTIMIZER, _RANDOM = "model.safetensors", "optimizer.safetensors", "random.safetensors"
_STATE = "training.json"


def write_state(folder: Path, model: nn.Module, optimizer: Optimizer, facts: Mapping[str, Any]) -> None:
    """Write weights, optimiser, random generators and facts into a folder; its owner flushes and seals it.

    Args:
        folder: An empty folder.
        model: The model; all parameters and buffers are written.
        optimizer: The optimiser.
        facts: Further state, as JSON can hold it.
    """
    _save(folder / _MODEL, model.state_dict())
    tensors, scalars = split_optimizer(optimizer.state_dict())
    _save(folder / _OPTIMIZER, tensors)
    states, position = random_state()
    _save(folder / _RANDOM, states)
    document = {"optimizer": scalars, "random": position, **facts}
    (folder / _STATE).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint.

    Raises:
        StorageError: It is not the JSON that was written.
    """
    try:
        return dict(json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise StorageError("unreadable", where=str(folder / _STATE), mend="restore it from a copy") from error


def load_weights(folder: Path, model: nn.Module) -> None:
    """Put the stored weights into a model.

    Raises:
        StorageError: They are of a model of another form.
    """
    try:
        model.load_state_dict(load_file(folder / _MODEL))
    except RuntimeError as error:
        raise StorageError(
            "the weights are of another model", where=str(folder / _MODEL), mend="start from the same model"
        ) from error


def load_optimizer(folder: Path, optimizer: Optimizer) -> None:
    """Put the stored state into an optimiser over the same parameters."""
    optimizer.load_state_dict(join_optimizer(load_file(folder / _OPTIMIZER), read_facts(folder)["optimizer"]))


def load_random_state(folder: Path) -> None:
    """Set the generators of Python, NumPy, torch and its accelerators to what they were."""
    set_random_state(load_file(folder / _RANDOM), read_facts(folder)["random"])


def split_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state into tensors by name and the JSON rest."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for parameter, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{parameter}.{name}"] = value
            else:
                scalars.setdefault(str(parameter), {})[name] = value
    return tensors, {"scalars": scalars, "groups": state["param_groups"]}


def join_optimizer(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Undo :func:`split_optimizer`."""
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        parameter, name = key.split(".", 1)
        state.setdefault(int(parameter), {})[name] = tensor
    for parameter, entries in rest["scalars"].items():
        state.setdefault(int(parameter), {}).update(entries)
    return {"state": state, "param_groups": rest["groups"]}


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the states of the global generators as tensors and the JSON rest."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - libraries draw from the global state
    tensors = {
        "python": torch.tensor(words, dtype=torch.int64),
        "numpy": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        tensors |= {f"cuda.{device}": state for device, state in enumerate(torch.cuda.get_rng_state_all())}
    rest = {
        "python": {"version": version, "gauss": gauss},
        "numpy": {
            "position": int(numpy_state["state"]["pos"]),
            "has_gauss": int(numpy_state["has_gauss"]),
            "gauss": float(numpy_state["gauss"]),
        },
    }
    return tensors, rest


def set_random_state(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> None:
    """Undo :func:`random_state`; accelerators that are not here are passed over."""
    python, drawn = rest["python"], rest["numpy"]
    random.setstate((python["version"], tuple(tensors["python"].tolist()), python["gauss"]))
    key = {"key": tensors["numpy"].numpy().astype(np.uint32), "pos": drawn["position"]}
    np.random.set_state(  # noqa: NPY002 - libraries draw from the global state
        {"bit_generator": "MT19937", "state": key, "has_gauss": drawn["has_gauss"], "gauss": drawn["gauss"]}
    )
    torch.set_rng_state(tensors["torch"])
    for device in range(torch.cuda.device_count()):
        if f"cuda.{device}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{device}"], device)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        # safetensors refuses two names for one piece of memory (tied weights): the second gets its own.
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor.contiguous()
        seen.add(place)
    save_file(apart, path)
