"""Merging against float64 by hand, to the bit where nothing differs, and unlike models refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embedworks.foundation import InputError
from embedworks.training import delta_guided_fusion, greedy_soup, uniform_soup

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


def states(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"matrix": (4, 3), "bias": (4,), "scale": ()}
    return [
        {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
        | {"positions": torch.arange(5), "flag": torch.tensor([True, False])}
        for _ in range(count)
    ]


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.ndim else bits(tensor[None])


def same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and bits(first[name]) == bits(second[name]) for name in first
    )


@given(rows=arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=FLOATS))
def test_the_uniform_soup_is_the_exact_mean_rounded_once(rows):
    found = uniform_soup([{"w": torch.from_numpy(row)} for row in rows])["w"].numpy()
    exact = [sum(map(Fraction, column.tolist())) / len(rows) for column in rows.T]
    # In float64 an error of a few ulp of the largest member is left, far below one of float32 unless the sum cancels.
    largest = np.abs(rows).max(axis=0).astype(np.float64)
    wanted = np.array([float(value) for value in exact])
    assert np.all(np.abs(found - wanted) <= np.abs(wanted) * 2.0**-24 + largest * 2.0**-48 + 2.0**-149)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_soups_equal_float64_by_hand(dtype):
    models = states(5, dtype=dtype)
    shares = [0.5, 2.0, 0.0, 1.0, 1.5]
    for weights in (None, shares):
        by = np.array(weights or [1.0] * 5) / sum(weights or [1.0] * 5)
        merged = uniform_soup(models, weights=weights)
        for name in ("matrix", "bias", "scale"):
            wanted = sum(share * model[name].double().numpy() for share, model in zip(by, models, strict=True))
            assert merged[name].dtype == dtype
            torch.testing.assert_close(
                merged[name].double(), torch.as_tensor(wanted), rtol=torch.finfo(dtype).eps, atol=1e-15
            )
        assert torch.equal(merged["positions"], torch.arange(5))


ODD = torch.tensor([0.1, -0.0, 0.0, 1e-45, -3e38, 1 / 3, 1e-30, 3.0])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 10])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_merging_a_model_with_itself_gives_it_back_to_the_bit(count, dtype):
    model = states(1, dtype=dtype)[0] | {"odd": ODD.to(dtype)}
    model["odd"] = torch.where(model["odd"].isfinite(), model["odd"], 0.0)
    copies = [dict(model) for _ in range(count)]
    assert same_bits(uniform_soup(copies), model)
    assert same_bits(uniform_soup(copies, weights=[1 + n / 3 for n in range(count)]), model)
    assert same_bits(greedy_soup(copies, lambda _: 1.0).state, model)
    assert greedy_soup(copies, lambda _: 1.0).chosen == tuple(range(count))
    start = states(1, seed=9, dtype=dtype)[0] | {"odd": torch.ones(8, dtype=dtype)}
    for granularity in ("tensor", "row", "element"):
        for power in (-1.0, 0.0, 0.5, 2.0):
            options = {"granularity": granularity, "power": power}
            assert same_bits(delta_guided_fusion(start, copies, **options), model)
            assert same_bits(delta_guided_fusion(model, copies, **options), model)  # nothing has moved


def test_the_soup_does_not_change_its_ingredients():
    models = states(3)
    before = [{name: tensor.clone() for name, tensor in model.items()} for model in models]
    merged = uniform_soup(models)
    for tensor in merged.values():
        tensor.zero_()
    assert all(same_bits(model, kept) for model, kept in zip(models, before, strict=True))


def test_greedy_takes_from_the_best_down_what_does_not_harm():
    models = [{"w": torch.tensor([value])} for value in (0.0, 4.0, -1.0, 2.0)]
    asked: list[float] = []

    def score(state) -> float:  # best at 1.5
        asked.append(state["w"].item())
        return -abs(state["w"].item() - 1.5)

    soup = greedy_soup(models, score)
    assert soup.scores == (-1.5, -2.5, -2.5, -0.5)
    # 2 alone; with 0 it is 1, no worse; with 4 it is 2, no worse; with -1 it is 1.25, better.
    assert soup.chosen == (3, 0, 1, 2)
    assert soup.state["w"].item() == 1.25
    assert soup.score == -0.25
    assert asked == [0.0, 4.0, -1.0, 2.0, 1.0, 2.0, 1.25]
    alone = greedy_soup(models, lambda state: state["w"].item())
    assert (alone.chosen, alone.score) == ((1,), 4.0)
    with pytest.raises(InputError, match="the score is nan"):
        greedy_soup(models, lambda _: float("nan"))


def fused_by_hand(start, tensors, granularity, power):
    """The formula of the docstring, one part at a time, in Python floats."""
    shape = start.shape
    flat = [np.asarray(t, dtype=np.float64).reshape(-1) for t in (start, *tensors)]
    size = flat[0].size
    if granularity == "element" or (granularity == "row" and len(shape) == 1):
        parts = [[n] for n in range(size)]
    elif granularity == "row" and len(shape) > 1:
        width = size // shape[0]
        parts = [list(range(row * width, (row + 1) * width)) for row in range(shape[0])]
    else:
        parts = [list(range(size))]
    result = flat[0].copy()
    for part in parts:
        moves = [vector[part] - flat[0][part] for vector in flat[1:]]
        distances = [float(np.sqrt((move**2).sum())) for move in moves]
        if power < 0 and 0.0 in distances:
            weights = [float(d == 0) for d in distances]
        elif not any(distances):
            weights = [1.0] * len(moves)
        else:
            weights = [d**power for d in distances]
        for weight, move in zip(weights, moves, strict=True):
            result[part] += weight / sum(weights) * move
    return result.reshape(shape)


@given(
    count=st.integers(1, 4),
    seed=st.integers(0, 50),
    granularity=st.sampled_from(["tensor", "row", "element"]),
    power=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0]),
    stay=st.integers(0, 15),
)
def test_delta_guided_fusion_equals_the_formula_by_hand(count, seed, granularity, power, stay):
    start, *models = states(count + 1, seed=seed)
    for place, model in enumerate(models):
        if stay >> place & 1:
            model["matrix"] = start["matrix"].clone()
            model["bias"][0] = start["bias"][0]
    merged = delta_guided_fusion(start, models, granularity=granularity, power=power)
    for name in ("matrix", "bias", "scale"):
        wanted = fused_by_hand(start[name], [model[name] for model in models], granularity, power)
        np.testing.assert_allclose(merged[name].numpy(), wanted, rtol=2e-6, atol=2e-6)


def test_delta_guided_fusion_keeps_moves_that_do_not_collide_and_the_soup_halves_them():
    start = {"v": torch.tensor([1.0, 1.0]), "w": torch.tensor([2.0])}
    first, second = start | {"v": torch.tensor([2.0, 1.0])}, start | {"w": torch.tensor([5.0])}
    assert same_bits(
        delta_guided_fusion(start, [first, second]), {"v": torch.tensor([2.0, 1.0]), "w": torch.tensor([5.0])}
    )
    assert same_bits(uniform_soup([first, second]), {"v": torch.tensor([1.5, 1.0]), "w": torch.tensor([3.5])})
    assert same_bits(delta_guided_fusion(start, [first, second], power=0.0), uniform_soup([first, second]))
    # A negative power favours near movers; who has not moved at all is the nearest.
    assert same_bits(delta_guided_fusion(start, [first, second], power=-1.0), start)


def test_unlike_models_are_refused_in_one_line():
    model = states(1)[0]
    unlike = {
        "model 1 has flag, and model 2 has not": {name: t for name, t in model.items() if name != "flag"},
        "model 2 has more, and model 1 has not": model | {"more": torch.ones(1)},
        r"bias has shape \(4,\) in model 1 and \(5,\) in model 2": model | {"bias": torch.ones(5)},
        "bias has dtype torch.float32 in model 1 and torch.float64": model | {"bias": torch.ones(4).double()},
        "bias of model 2 holds NaN or infinity": model | {"bias": torch.full((4,), torch.inf)},
        "positions holds whole numbers that differ between model 1 and model 2": model
        | {"positions": torch.ones(5).long()},
    }
    for message, other in unlike.items():
        merges = [
            lambda pair: uniform_soup(pair),
            lambda pair: greedy_soup(pair, lambda _: 0.0),
            lambda pair: delta_guided_fusion(pair[0], pair[1:]),
        ]
        for merge in merges:
            with pytest.raises(InputError) as caught:
                merge([model, other])
            assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match=message):
            uniform_soup([model, other])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]])
def test_shares_that_are_none_are_refused(weights):
    with pytest.raises(InputError, match="weights"):
        uniform_soup(states(2), weights=weights)


def test_nothing_to_merge_and_unknown_options_are_refused():
    for merge in (lambda: uniform_soup([]), lambda: delta_guided_fusion(states(1)[0], [])):
        with pytest.raises(InputError, match="no models"):
            merge()
    with pytest.raises(InputError, match="granularity is 'layer'"):
        delta_guided_fusion(states(1)[0], states(2), granularity="layer")
    with pytest.raises(InputError, match="power is nan"):
        delta_guided_fusion(states(1)[0], states(2), power=float("nan"))
