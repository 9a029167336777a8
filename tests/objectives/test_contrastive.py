"""InfoNCE against a slow float64 oracle written with loops, in value and gradient, and its invariances."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from embedworks.objectives import InfoNCE


def oracle(query, positive, negatives, temperature, symmetric, similarity, present, excluded):
    """Value and gradients (query, positive, negatives) by the definition, in float64, one pair at a time."""
    query, positive = np.asarray(query, np.float64), np.asarray(positive, np.float64)
    b, d = query.shape
    negatives = np.zeros((b, 0, d)) if negatives is None else np.asarray(negatives, np.float64)
    m = negatives.shape[1]
    candidates = [("p", j) for j in range(b)] + [("n", j, k) for j in range(b) for k in range(m)]

    def raw(candidate):
        return positive[candidate[1]] if candidate[0] == "p" else negatives[candidate[1], candidate[2]]

    def allowed(i, c):
        candidate = candidates[c]
        if candidate == ("p", i):
            return True
        if excluded is not None and excluded[i, c]:
            return False
        return not (candidate[0] == "n" and present is not None and not present[candidate[1], candidate[2]])

    def similarity_and_gradients(x, y):
        if similarity == "dot":
            return float(x @ y), y, x
        nx, ny = math.sqrt(float(x @ x)) or 1.0, math.sqrt(float(y @ y)) or 1.0
        ux, uy = x / nx, y / ny
        s = float(ux @ uy)
        gx = (uy - s * ux) / nx if x.any() else uy
        gy = (ux - s * uy) / ny if y.any() else ux
        return s, gx, gy

    gradients = {"q": np.zeros_like(query), "p": np.zeros_like(positive), "n": np.zeros_like(negatives)}
    value = 0.0

    def spread(i, c, weight):
        candidate = candidates[c]
        _, gx, gy = similarity_and_gradients(query[i], raw(candidate))
        gradients["q"][i] += weight * gx / temperature
        if candidate[0] == "p":
            gradients["p"][candidate[1]] += weight * gy / temperature
        else:
            gradients["n"][candidate[1], candidate[2]] += weight * gy / temperature

    def softmax_loss(cells, own, share):
        nonlocal value
        logits = {
            cell: similarity_and_gradients(query[cell[0]], raw(candidates[cell[1]]))[0] / temperature for cell in cells
        }
        top = max(logits.values())
        total = math.fsum(math.exp(v - top) for v in logits.values())
        value += share * (top + math.log(total) - logits[own])
        for cell in cells:
            weight = math.exp(logits[cell] - top) / total - (1.0 if cell == own else 0.0)
            spread(*cell, share * weight)

    share = 1 / b / (2 if symmetric else 1)
    for i in range(b):
        softmax_loss([(i, c) for c in range(len(candidates)) if allowed(i, c)], (i, i), share)
        if symmetric:
            softmax_loss([(j, i) for j in range(b) if allowed(j, i)], (i, i), share)
    return value, gradients["q"], gradients["p"], gradients["n"]


def random_case(b, m, seed, d=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    present = torch.rand(b, m, generator=generator) > 0.4
    excluded = torch.rand(b, b * (1 + m), generator=generator) > 0.7
    return draw(b, d), draw(b, d), draw(b, m, d) if m else None, present, excluded


def value_and_gradients(objective, query, positive, negatives, **masks):
    leaves = [t.clone().requires_grad_() for t in (query, positive, negatives) if t is not None]
    loss = objective(*leaves, **masks)
    return loss.item(), torch.autograd.grad(loss, leaves)


GRID = list(
    itertools.product(
        [1, 2, 5],
        [0, 1, 3],
        [1.0, 0.05, 1e-3],
        [False, True],
        ["cosine", "dot"],
        ["none", "present", "excluded", "both", "everything"],
    )
)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_gradient_equal_the_oracle_over_the_grid(dtype):
    for number, (b, m, temperature, symmetric, similarity, masks) in enumerate(GRID):
        query, positive, negatives, present, excluded = random_case(b, m, number, dtype=dtype)
        if masks == "everything":
            present, excluded = torch.zeros_like(present), torch.ones_like(excluded)
        given_masks = {
            "present": present if masks in ("present", "both", "everything") else None,
            "excluded": excluded if masks in ("excluded", "both", "everything") else None,
        }
        value, gradients = value_and_gradients(
            InfoNCE(temperature, symmetric=symmetric, similarity=similarity), query, positive, negatives, **given_masks
        )
        wanted, *wanted_gradients = oracle(
            query, positive, negatives, temperature, symmetric, similarity, *given_masks.values()
        )
        # float32: the rounding of a similarity (6e-8 of its size) is divided by the temperature.
        scale = 1e-10 if dtype == torch.float64 else 3e-6 / temperature
        assert value == pytest.approx(wanted, abs=max(scale, 1e-10), rel=1e-5), GRID[number]
        for gradient, expected in zip(gradients, wanted_gradients, strict=False):
            bound = scale if dtype == torch.float64 else scale / temperature
            np.testing.assert_allclose(gradient.double().numpy(), expected, rtol=1e-6, atol=bound)


def test_one_row_alone_has_no_loss_and_no_gradient():
    query, positive, *_ = random_case(1, 0, 3)
    value, gradients = value_and_gradients(InfoNCE(symmetric=True), query, positive, None)
    assert value == 0
    assert all(not gradient.any() for gradient in gradients)


def test_ties_share_the_probability():
    vectors = torch.ones(4, 3)
    assert InfoNCE()(vectors, vectors, vectors[:, None]).item() == pytest.approx(math.log(8), rel=1e-6)


def test_two_by_two_by_hand():
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    positive = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    # Row 0 sees similarities (1, 1), row 1 sees (0, 0): both lose log 2; each column sees (1, 0).
    assert InfoNCE(1.0)(query, positive).item() == pytest.approx(math.log(2))
    mirror = (math.log(1 + math.exp(-1)) + math.log(1 + math.e)) / 2
    assert InfoNCE(1.0, symmetric=True)(query, positive).item() == pytest.approx((math.log(2) + mirror) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_logits_of_ten_thousand_stay_finite_and_exact(dtype):
    query = torch.tensor([[100.0, 0.0], [0.0, 100.0]], dtype=dtype)
    positive = torch.tensor([[0.0, 100.0], [100.0, 0.0]], dtype=dtype)
    for device_autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=device_autocast):
            value, gradients = value_and_gradients(InfoNCE(1.0, similarity="dot"), query, positive, None)
        assert value == 10_000
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_log_sum_exp_is_float32_under_autocast():
    query, positive, negatives, *_ = random_case(6, 2, 0, d=32, dtype=torch.float32)
    plain = InfoNCE(0.02)(query, positive, negatives)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = InfoNCE(0.02)(query, positive, negatives)
    assert inside.dtype == torch.float32
    assert torch.equal(plain, inside)


def test_a_zero_vector_gets_a_gradient_of_ordinary_size():
    query, positive, *_ = random_case(3, 0, 1)
    query[1] = 0
    _, gradients = value_and_gradients(InfoNCE(0.05), query, positive, None)
    assert gradients[0].isfinite().all()
    assert gradients[0].abs().max() < 100


def test_what_an_absent_negative_holds_has_no_effect():
    query, positive, negatives, *_ = random_case(3, 2, 1)
    present = torch.tensor([[True, False], [False, False], [True, True]])
    clean = value_and_gradients(InfoNCE(symmetric=True), query, positive, negatives, present=present)
    negatives[~present] = torch.nan
    dirty = value_and_gradients(InfoNCE(symmetric=True), query, positive, negatives, present=present)
    assert clean[0] == dirty[0]
    for first, second in zip(clean[1], dirty[1], strict=True):
        assert torch.equal(first, second)


def test_no_negatives_equals_negatives_of_length_zero():
    query, positive, *_ = random_case(4, 0, 2)
    empty = torch.zeros(4, 0, 5, dtype=torch.float64)
    present = torch.zeros(4, 0, dtype=torch.bool)
    assert torch.equal(InfoNCE()(query, positive), InfoNCE()(query, positive, empty, present=present))


@given(seed=st.integers(0, 10_000), b=st.integers(1, 6), m=st.integers(1, 4), symmetric=st.booleans())
def test_order_of_negatives_and_of_rows_does_not_matter(seed, b, m, symmetric):
    query, positive, negatives, present, _ = random_case(b, m, seed)
    objective = InfoNCE(0.1, symmetric=symmetric)
    value = objective(query, positive, negatives, present=present)
    generator = torch.Generator().manual_seed(seed)
    within, rows = torch.randperm(m, generator=generator), torch.randperm(b, generator=generator)
    shuffled = objective(query, positive, negatives[:, within], present=present[:, within])
    torch.testing.assert_close(shuffled, value)
    torch.testing.assert_close(objective(query[rows], positive[rows], negatives[rows], present=present[rows]), value)


@given(seed=st.integers(0, 10_000), b=st.integers(1, 6), scale=st.floats(1e-3, 1e3))
def test_symmetric_form_has_symmetric_arguments_and_cosine_ignores_length(seed, b, scale):
    query, positive, *_ = random_case(b, 0, seed)
    objective = InfoNCE(0.1, symmetric=True)
    torch.testing.assert_close(objective(query, positive), objective(positive, query))
    torch.testing.assert_close(objective(query * scale, positive), objective(query, positive))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_gradcheck(similarity, symmetric):
    query, positive, negatives, present, excluded = random_case(3, 2, 5)
    objective = InfoNCE(0.5, symmetric=symmetric, similarity=similarity)
    leaves = [t.requires_grad_() for t in (query, positive, negatives)]
    assert gradcheck(lambda q, p, n: objective(q, p, n, present=present, excluded=excluded), leaves)


def test_masks_exclude_exactly_the_named_candidates():
    query, positive, *_ = random_case(3, 0, 8)
    excluded = torch.zeros(3, 3, dtype=torch.bool)
    excluded[0, 1] = excluded[0, 2] = True
    rows = torch.stack([InfoNCE()(query, positive, excluded=excluded) * 3])
    others = InfoNCE()(query, positive) * 3
    logits = torch.nn.functional.normalize(query) @ torch.nn.functional.normalize(positive).T / 0.05
    first_row = torch.logsumexp(logits[0], 0) - logits[0, 0]
    torch.testing.assert_close(rows[0], others - first_row)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_wrong_temperature_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        InfoNCE(temperature)


def test_wrong_shapes_are_refused():
    query = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"both must be \(b, d\)"):
        InfoNCE()(query, torch.ones(3, 3))
    with pytest.raises(ValueError, match="b > 0"):
        InfoNCE()(query[:0], query[:0])
    with pytest.raises(ValueError, match="negatives"):
        InfoNCE()(query, query, torch.ones(2, 3))
    with pytest.raises(ValueError, match="excluded"):
        InfoNCE()(query, query, excluded=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="present"):
        InfoNCE()(query, query, torch.ones(2, 1, 3), present=torch.ones(2, 1))
    with pytest.raises(ValueError, match="similarity"):
        InfoNCE(similarity="euclid")


@pytest.mark.parametrize("symmetric", [False, True])
def test_rows_are_the_parts_whose_mean_is_the_whole(symmetric):
    query, positive, negatives, present, excluded = random_case(5, 2, 9)
    objective = InfoNCE(0.1, symmetric=symmetric)
    masks = {"present": present, "excluded": excluded}
    parts = [slice(0, 2), slice(2, 3), slice(3, None)]
    weighted = [
        n / 5 * objective(query, positive, negatives, **masks, rows=rows)
        for rows, n in zip(parts, [2, 1, 2], strict=True)
    ]
    torch.testing.assert_close(sum(weighted), objective(query, positive, negatives, **masks), rtol=1e-12, atol=0)


@pytest.mark.parametrize("rows", [slice(2, 2), slice(0, 4, 2), slice(7, None)])
def test_rows_that_select_nothing_or_skip_are_refused(rows):
    with pytest.raises(ValueError, match="rows"):
        InfoNCE()(torch.eye(4), torch.eye(4), rows=rows)


def test_logits_are_what_the_softmax_is_taken_over():
    query, positive, negatives, present, excluded = random_case(4, 2, 3)
    logits = InfoNCE(0.1).logits(query, positive, negatives, present=present, excluded=excluded)
    by_hand = -torch.log_softmax(logits, dim=1).diagonal().mean()
    torch.testing.assert_close(InfoNCE(0.1)(query, positive, negatives, present=present, excluded=excluded), by_hand)
    assert (logits[:, 4:].isneginf() | (present.flatten() & ~excluded[:, 4:])).all()
