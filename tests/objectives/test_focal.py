"""Focal weights against a float64 oracle written with loops; gamma 0 is InfoNCE; what the weights do."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from embedworks.foundation import InputError
from embedworks.objectives import FocalInfoNCE, InfoNCE


def case(b, m, seed, d=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(b, d), (b, d), (b, m, d)]
    vectors = [torch.randn(*shape, dtype=dtype, generator=generator) for shape in shapes]
    present = torch.rand(b, m, generator=generator) > 0.4
    excluded = torch.rand(b, b * (1 + m), generator=generator) > 0.7
    return (*vectors, present, excluded)


def oracle(query, positive, negatives, present, excluded, *, temperature, gamma, symmetric):
    b, m = negatives.shape[:2]

    def cosine(x, y):
        dot = sum(p * q for p, q in zip(x.tolist(), y.tolist(), strict=True))
        return dot / math.sqrt(sum(p * p for p in x.tolist())) / math.sqrt(sum(q * q for q in y.tolist()))

    def focal(own, others):
        top = max([own, *others])
        share = math.exp(own - top) / math.fsum(math.exp(v - top) for v in [own, *others])
        return (1 - share) ** gamma * -math.log(share)

    rows, columns = [], []
    for i in range(b):
        others = [cosine(query[i], positive[j]) / temperature for j in range(b) if j != i and not excluded[i, j]]
        for j in range(b):
            for k in range(m):
                if present[j, k] and not excluded[i, b + j * m + k]:
                    others.append(cosine(query[i], negatives[j, k]) / temperature)
        own = cosine(query[i], positive[i]) / temperature
        rows.append(focal(own, others))
        mirror = [cosine(query[j], positive[i]) / temperature for j in range(b) if j != i and not excluded[j, i]]
        columns.append(focal(own, mirror))
    return (sum(rows) + sum(columns)) / 2 / b if symmetric else sum(rows) / b


@pytest.mark.parametrize("detach", [True, False])
def test_value_equals_the_oracle_over_the_grid(detach):
    for number, (b, m, temperature, gamma, symmetric) in enumerate(
        itertools.product([1, 2, 5], [0, 2], [1.0, 0.1], [0.0, 0.5, 2.0], [False, True])
    ):
        *vectors, present, excluded = case(b, m, number)
        objective = FocalInfoNCE(temperature, gamma=gamma, detach_weights=detach, symmetric=symmetric)
        value = objective(*vectors, present=present, excluded=excluded).item()
        wanted = oracle(*vectors, present, excluded, temperature=temperature, gamma=gamma, symmetric=symmetric)
        assert value == pytest.approx(wanted, abs=1e-10, rel=1e-8)


@pytest.mark.parametrize("symmetric", [False, True])
def test_gamma_zero_is_infonce_in_value_and_gradient(symmetric):
    for detach in (True, False):
        *vectors, present, excluded = case(4, 3, 1)
        results = []
        for objective in (
            InfoNCE(0.05, symmetric=symmetric),
            FocalInfoNCE(0.05, gamma=0.0, symmetric=symmetric, detach_weights=detach),
        ):
            leaves = [v.clone().requires_grad_() for v in vectors]
            loss = objective(*leaves, present=present, excluded=excluded)
            results.append([loss, *torch.autograd.grad(loss, leaves)])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_detached_gradient_is_the_weighted_sum_of_the_rows_gradients():
    query, positive, negatives, *_ = case(3, 2, 2)
    query.requires_grad_()
    rows = torch.stack([InfoNCE(0.2)(query, positive, negatives, rows=slice(i, i + 1)) for i in range(3)])
    weights = (1 - torch.exp(-rows.detach())) ** 0.5
    (wanted,) = torch.autograd.grad((weights * rows).sum() / 3, query, retain_graph=True)
    (gradient,) = torch.autograd.grad(FocalInfoNCE(0.2, gamma=0.5)(query, positive, negatives), query)
    torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("symmetric", [False, True])
def test_gradcheck_through_the_weights(gamma, symmetric):
    *vectors, present, excluded = case(3, 2, 5)
    objective = FocalInfoNCE(0.5, gamma=gamma, detach_weights=False, symmetric=symmetric)
    leaves = [v.requires_grad_() for v in vectors]
    assert gradcheck(lambda *v: objective(*v, present=present, excluded=excluded), leaves)


@given(losses=st.lists(st.floats(0, 1e4), min_size=1, max_size=8), gamma=st.floats(0.01, 5))
def test_weights_lie_in_the_unit_interval_and_fall_in_the_probability(losses, gamma):
    ordered = torch.tensor(sorted(losses), dtype=torch.float64)
    weights = FocalInfoNCE(gamma=gamma).weights(ordered)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights.diff() >= 0).all()  # a larger loss is a smaller probability


@pytest.mark.parametrize("gamma", [0.25, 0.5, 3.0])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("temperature", [1e-3, 0.05, 100.0])
def test_alone_masked_and_extreme_rows_have_finite_gradients(gamma, detach, temperature):
    objective = FocalInfoNCE(temperature, gamma=gamma, detach_weights=detach, symmetric=True)
    for b in (1, 4):
        query, positive, negatives, present, excluded = case(b, 2, 3, dtype=torch.float32)
        for masks in (
            {"present": torch.zeros_like(present), "excluded": torch.ones_like(excluded)},
            {},
        ):
            leaves = [v.clone().requires_grad_() for v in (query, positive, negatives)]
            loss = objective(*leaves, **masks)
            gradients = torch.autograd.grad(loss, leaves)
            assert loss.isfinite()
            assert all(g.isfinite().all() for g in gradients)
            if masks:
                assert loss == 0
                assert not any(g.any() for g in gradients)


def test_ties_by_hand():
    vectors = torch.ones(4, 3, dtype=torch.float64)
    assert FocalInfoNCE(gamma=2.0)(vectors, vectors).item() == pytest.approx(0.75**2 * math.log(4))


def test_float32_under_autocast():
    query, positive, negatives, *_ = case(6, 2, 0, d=32, dtype=torch.float32)
    plain = FocalInfoNCE(0.02)(query, positive, negatives)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(FocalInfoNCE(0.02)(query, positive, negatives), plain)
    low = FocalInfoNCE(0.02)(query.bfloat16(), positive.bfloat16(), negatives.bfloat16())
    assert low.dtype == torch.float32


@pytest.mark.parametrize("gamma", [-0.5, math.nan, math.inf])
def test_a_wrong_gamma_is_refused(gamma):
    with pytest.raises(InputError, match="gamma"):
        FocalInfoNCE(gamma=gamma)
