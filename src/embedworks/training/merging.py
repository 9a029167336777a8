"""Merging the weights of several fine-tuned models of one architecture into one model.

Uniform and greedy soup: Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves
accuracy without increasing inference time" (https://arxiv.org/abs/2203.05482), section 2 and recipe 1.
Delta-guided fusion: the idea of CoDiEmb (https://arxiv.org/abs/2508.11442), which weights each part of a checkpoint by
how far it has moved from the common start. Its formula is not published where we could read it; the one here is ours.

All means are taken in float64, tensor by tensor, and rounded once to the dtype of the weights. They are computed as one
checkpoint plus the weighted distances of the others from it, so equal weights stay equal to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import torch
from torch import Tensor

from embedworks.foundation import InputError

State = Mapping[str, Tensor]
"""Names to tensors: what ``state_dict`` gives."""
Granularity = Literal["tensor", "row", "element"]


@dataclass(frozen=True)
class GreedySoup:
    """What a greedy soup is made of."""

    state: dict[str, Tensor]
    """The merged weights."""
    chosen: tuple[int, ...]
    """Places of the models in it, in the order they were taken."""
    scores: tuple[float, ...]
    """The score of each model alone, in the order given."""
    score: float
    """The score of the soup."""


def uniform_soup(states: Sequence[State], *, weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Average models.

    Args:
        states: Weights of models of one architecture.
        weights: The share of each model, not negative, in any unit; equal shares where None.

    Returns:
        The average, on the device and in the dtype of the first; whole numbers and booleans as in all of them.

    Raises:
        InputError: The models are unlike, whole numbers differ, a weight is NaN or infinite, or shares do not fit.

    Example:
        >>> first, second = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, 2.0])}
        >>> uniform_soup([first, second])["w"]
        tensor([2., 2.])
    """
    check_alike(states)
    shares = _shares_of(len(states), weights)
    return {name: _combined(name, [state[name] for state in states], shares) for name in states[0]}


def greedy_soup(states: Sequence[State], score: Callable[[State], float]) -> GreedySoup:
    """Begin with the best model and take each further one, from the best down, if the soup does not get worse with it.

    Args:
        states: Weights of models of one architecture.
        score: Judges weights on validation data; higher is better. It is called 2 n - 1 times for n models.

    Returns:
        The soup, which scores no worse than the best model alone.

    Raises:
        InputError: As :func:`uniform_soup`, or a score is NaN or infinite.
    """
    check_alike(states)

    def judged(state: State) -> float:
        value = float(score(state))
        if not math.isfinite(value):
            _refuse(f"the score is {value}", "the validation function must give a finite number")
        return value

    scores = tuple(judged(state) for state in states)
    first, *others = sorted(range(len(states)), key=lambda place: -scores[place])  # stable: ties by place
    chosen, best = [first], scores[first]
    soup = uniform_soup([states[first]])
    for place in others:
        candidate = uniform_soup([states[member] for member in (*chosen, place)])
        value = judged(candidate)
        if value >= best:
            soup, best = candidate, value
            chosen.append(place)
    return GreedySoup(state=soup, chosen=tuple(chosen), scores=scores, score=best)


def delta_guided_fusion(
    base: State, states: Sequence[State], *, granularity: Granularity = "tensor", power: float = 1.0
) -> dict[str, Tensor]:
    r"""Average models fine-tuned from one start, each part of each weighted by how far it has moved.

    With the start :math:`\theta_0`, checkpoints :math:`\theta_c`, and g a tensor, a row of one (along its first
    dimension) or an element:

    .. math:: w_{c,g} = \frac{\|\theta_{c,g} - \theta_{0,g}\|^\rho}{\sum_{c'} \|\theta_{c',g} - \theta_{0,g}\|^\rho},
              \qquad \theta_g = \theta_{0,g} + \sum_c w_{c,g} (\theta_{c,g} - \theta_{0,g})

    Dividing the distances by the norm of the start, to make them relative, would change no weight. Where nothing has
    moved, all count alike. A negative power where something has not moved is the limit: only what has not moved counts.

    Args:
        base: The weights that all were trained from.
        states: The weights of the checkpoints.
        granularity: What has a weight of its own.
        power: The exponent; 0 is the uniform soup, above it far movers count more, below it near ones.

    Returns:
        The fused weights, as :func:`uniform_soup`.

    Raises:
        InputError: As :func:`uniform_soup`, or the granularity or power is out of range.

    Example:
        >>> start = {"v": torch.tensor([1.0, 1.0]), "w": torch.tensor([2.0])}
        >>> first = start | {"v": torch.tensor([2.0, 1.0])}
        >>> second = start | {"w": torch.tensor([5.0])}
        >>> delta_guided_fusion(start, [first, second])  # both moves are kept, as they do not collide
        {'v': tensor([2., 1.]), 'w': tensor([5.])}
    """
    if granularity not in ("tensor", "row", "element"):
        _refuse(f"granularity is {granularity!r}", "it must be tensor, row or element")
    if not math.isfinite(power):
        _refuse(f"power is {power}", "it must be a finite number")
    check_alike([base, *states])
    if not states:
        _refuse("no models", "give at least one beside the base")
    merged: dict[str, Tensor] = {}
    for name, start in base.items():
        tensors = [state[name] for state in states]
        if not start.is_floating_point():
            merged[name] = _combined(name, [*tensors, start], torch.ones(len(tensors) + 1))
            continue
        distances = torch.stack([_distances(tensor.double() - start.double(), granularity) for tensor in tensors])
        merged[name] = _combined(name, tensors, _shares(distances, power))
    return merged


def check_alike(states: Sequence[State]) -> None:
    """Refuse models of which names, shapes or dtypes differ, or weights that are NaN or infinite.

    Raises:
        InputError: Says which tensor of which model; models are counted from 1.
    """
    if not states:
        _refuse("no models", "give at least one")
    first = states[0]
    for number, state in enumerate(states, start=1):
        if state.keys() != first.keys():
            name = min(state.keys() ^ first.keys())
            has, lacks = (number, 1) if name in state else (1, number)
            _refuse(f"model {has} has {name}, and model {lacks} has not", "merge models of one architecture")
        for name, tensor in state.items():
            for fact in ("shape", "dtype"):
                ours, theirs = getattr(first[name], fact), getattr(tensor, fact)
                if ours != theirs:
                    _refuse(
                        f"{name} has {fact} {_plain(ours)} in model 1 and {_plain(theirs)} in model {number}",
                        "merge models of one architecture and dtype",
                    )
            if tensor.is_complex():
                _refuse(f"{name} holds complex numbers", "only real weights can be merged")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                _refuse(f"{name} of model {number} holds NaN or infinity", "leave that model out")


def _combined(name: str, tensors: Sequence[Tensor], shares: Tensor) -> Tensor:
    """Return the weighted mean of tensors; ``shares`` sum to one over their first dimension, shape (k, ...)."""
    first = tensors[0]
    if not first.is_floating_point():
        for number, tensor in enumerate(tensors[1:], start=2):
            if not torch.equal(first, tensor.to(first.device)):
                # The mean of counters or positions means nothing, and taking the first would hide the difference.
                _refuse(
                    f"{name} holds whole numbers that differ between model 1 and model {number}",
                    "they cannot be averaged; merge models in which they agree",
                )
        return first.clone()
    wide = [tensor.to(first.device, torch.float64) for tensor in tensors]
    shares = shares.to(first.device, torch.float64).reshape(*shares.shape, *[1] * (first.ndim + 1 - shares.ndim))
    # Distances are taken from the tensor with the largest share: one that has all of it comes out to the last bit.
    reference, largest = wide[0], shares[0]
    for tensor, share in zip(wide[1:], shares[1:], strict=True):
        reference = torch.where(share > largest, tensor, reference)
        largest = torch.maximum(share, largest)
    moved = torch.zeros_like(reference)
    for tensor, share in zip(wide, shares, strict=True):
        moved += share * (tensor - reference)
    # Adding zero would make a negative zero positive.
    return torch.where(moved == 0, reference, reference + moved).to(first.dtype)


def _distances(moves: Tensor, granularity: Granularity) -> Tensor:
    """Return how far each part has moved: shape () for a tensor, (rows,) for rows, that of ``moves`` for elements."""
    distances = moves.abs()
    if granularity == "tensor" or not moves.ndim:
        distances = torch.linalg.vector_norm(moves)
    elif granularity == "row" and moves.ndim > 1:
        distances = torch.linalg.vector_norm(moves.flatten(1), dim=1)
    return distances


def _shares(distances: Tensor, power: float) -> Tensor:
    """Return the share of each checkpoint in each part, shape (k, ...) as the distances; they sum to one."""
    still = distances == 0
    powers = torch.ones_like(distances)
    if power > 0:
        # Divided by the largest first: no power of a share of one overflows.
        powers = torch.where(still, 0.0, distances / distances.amax(dim=0, keepdim=True)) ** power
        powers = torch.where(still.all(dim=0, keepdim=True), 1.0, powers)
    elif power < 0:
        least = torch.where(still, torch.inf, distances).amin(dim=0, keepdim=True)
        powers = torch.where(still, 1.0, distances / least) ** power
        powers = torch.where(still.any(dim=0, keepdim=True), still.double(), powers)
    return powers / powers.sum(dim=0, keepdim=True)


def _shares_of(count: int, weights: Sequence[float] | None) -> Tensor:
    shares = torch.ones(count, dtype=torch.float64)
    if weights is not None:
        shares = torch.tensor([float(weight) for weight in weights], dtype=torch.float64)
        if len(shares) != count:
            _refuse(f"{len(shares)} weights for {count} models", "give one weight a model")
        if not bool(torch.isfinite(shares).all()) or bool((shares < 0).any()) or not bool(shares.sum() > 0):
            _refuse("the weights hold a negative number, NaN or infinity, or are all zero", "give shares")
    return shares / shares.sum()


def _plain(fact: object) -> str:
    return str(tuple(fact)) if isinstance(fact, torch.Size) else str(fact)


def _refuse(what: str, mend: str) -> NoReturn:
    raise InputError(what, where="merging", mend=mend)
