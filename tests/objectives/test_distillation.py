"""Contrastive distillation against a float64 oracle written with loops, and its special cases."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from embedworks.foundation import InputError
from embedworks.objectives import (
    ContrastiveDistillation,
    FocalInfoNCE,
    InfoNCE,
    MixedNegatives,
    teacher_similarities,
)


def case(b, m, seed, d=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    vectors = [torch.randn(*shape, dtype=dtype, generator=generator) for shape in [(b, d), (b, d), (b, m, d)]]
    masks = {
        "present": torch.rand(b, m, generator=generator) > 0.4,
        "excluded": torch.rand(b, b * (1 + m), generator=generator) > 0.7,
    }
    return vectors, masks, torch.rand(b, b * (1 + m), dtype=dtype, generator=generator) * 2 - 1


def oracle(query, positive, negatives, teacher, *, present, excluded, student_temperature, teacher_temperature):
    b, m = negatives.shape[:2]

    def cosine(x, y):
        dot = sum(p * q for p, q in zip(x.tolist(), y.tolist(), strict=True))
        return dot / math.sqrt(sum(p * p for p in x.tolist()) * sum(q * q for q in y.tolist()))

    def log_softmax(values):
        top = max(values)
        total = top + math.log(math.fsum(math.exp(v - top) for v in values))
        return [v - total for v in values]

    total = 0.0
    for i in range(b):
        places = [j for j in range(b) if j == i or not excluded[i, j]]
        places += [b + i * m + k for k in range(m) if present[i, k] and not excluded[i, b + i * m + k]]
        texts = [positive[c] if c < b else negatives[i, c - b - i * m] for c in places]
        log_s = log_softmax([cosine(query[i], text) / student_temperature for text in texts])
        log_t = log_softmax([teacher[i, c].item() / teacher_temperature for c in places])
        total += sum(math.exp(t) * (t - s) for t, s in zip(log_t, log_s, strict=True))
    return total / b


def test_the_divergence_equals_the_oracle_over_the_grid():
    for number, (b, m, student, of_teacher, masked) in enumerate(
        itertools.product([1, 2, 5], [0, 1, 3], [1.0, 0.02], [1.0, 0.05], [False, True])
    ):
        vectors, masks, teacher = case(b, m, number)
        if not masked:
            masks = {
                "present": torch.ones_like(masks["present"]),
                "excluded": torch.zeros_like(masks["excluded"]),
            }
        objective = ContrastiveDistillation(temperature=student, teacher_temperature=of_teacher)
        value = objective.divergence(*vectors, teacher=teacher, **masks).item()
        wanted = oracle(*vectors, teacher, **masks, student_temperature=student, teacher_temperature=of_teacher)
        assert value == pytest.approx(wanted, abs=1e-10, rel=1e-9)


@pytest.mark.parametrize("contrastive", [None, FocalInfoNCE(0.1), MixedNegatives(InfoNCE(0.1)).eval()])
def test_the_loss_is_the_weighted_sum(contrastive):
    vectors, masks, teacher = case(4, 3, 1)
    objective = ContrastiveDistillation(contrastive, temperature=0.1, contrastive_weight=0.5, divergence_weight=2.0)
    divergence = ContrastiveDistillation(temperature=0.1).divergence(*vectors, teacher=teacher, **masks)
    contrast = (contrastive or InfoNCE(0.1))(*vectors, **masks)
    torch.testing.assert_close(objective(*vectors, teacher=teacher, **masks), 0.5 * contrast + 2 * divergence)
    alone = ContrastiveDistillation(temperature=0.1, contrastive_weight=0)(*vectors, teacher=teacher, **masks)
    torch.testing.assert_close(alone, divergence)


@given(seed=st.integers(0, 10_000), b=st.integers(1, 5), m=st.integers(0, 3))
def test_distilling_from_oneself_has_no_loss_and_no_gradient(seed, b, m):
    vectors, masks, _ = case(b, m, seed)
    leaves = [v.requires_grad_() for v in vectors]
    divergence = ContrastiveDistillation(temperature=0.1).divergence(
        *leaves, teacher=teacher_similarities(*vectors), **masks
    )
    assert divergence.item() == pytest.approx(0, abs=1e-12)
    for gradient in torch.autograd.grad(divergence, leaves, materialize_grads=True):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


def test_other_queries_hard_negatives_are_no_candidates():
    vectors, _, teacher = case(3, 2, 2)
    changed = teacher.clone()
    for i in range(3):
        for j in range(3):
            if i != j:
                changed[i, 3 + 2 * j : 5 + 2 * j] = torch.nan
    objective = ContrastiveDistillation()
    assert torch.equal(objective(*vectors, teacher=changed), objective(*vectors, teacher=teacher))


def test_the_teacher_gets_no_gradient():
    vectors, _, teacher = case(3, 2, 3)
    teacher.requires_grad_()
    leaf = vectors[0].requires_grad_()
    gradients = torch.autograd.grad(
        ContrastiveDistillation()(*vectors, teacher=teacher), [leaf, teacher], allow_unused=True
    )
    assert gradients[0].any()
    assert gradients[1] is None


def test_gradcheck():
    vectors, masks, teacher = case(3, 2, 5)
    objective = ContrastiveDistillation(temperature=0.5)
    assert gradcheck(lambda *v: objective(*v, teacher=teacher, **masks), [v.requires_grad_() for v in vectors])


def test_rows_are_the_parts_whose_mean_is_the_whole():
    vectors, masks, teacher = case(5, 2, 6)
    objective = ContrastiveDistillation(temperature=0.2)

    def loss(rows=None):
        return objective(*vectors, teacher=teacher, **masks, rows=rows)

    torch.testing.assert_close(2 / 5 * loss(slice(0, 2)) + 3 / 5 * loss(slice(2, 5)), loss())


def test_what_an_absent_negative_holds_has_no_effect():
    vectors, masks, teacher = case(4, 3, 7)
    results = []
    for fill in (0.0, torch.nan):
        negatives, seen = vectors[2].clone(), teacher.clone()
        negatives[~masks["present"]] = fill
        seen[:, 4:][:, ~masks["present"].flatten()] = fill
        leaf = negatives.requires_grad_()
        loss = ContrastiveDistillation()(vectors[0], vectors[1], leaf, teacher=seen, present=masks["present"])
        results.append([loss, torch.autograd.grad(loss, leaf)[0]])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("temperature", [1e-4, 1e4])
def test_alone_masked_and_extreme_rows_are_finite(temperature):
    for b in (1, 4):
        vectors, masks, teacher = case(b, 2, 1, dtype=torch.float32)
        leaves = [v.requires_grad_() for v in vectors]
        objective = ContrastiveDistillation(temperature=temperature)
        for given_masks in (
            {},
            {"present": torch.zeros_like(masks["present"]), "excluded": torch.ones_like(masks["excluded"])},
        ):
            loss = objective(*leaves, teacher=teacher, **given_masks)
            assert loss.isfinite()
            assert all(g.isfinite().all() for g in torch.autograd.grad(loss, leaves))
        assert loss == 0  # own positives alone


def test_ties_in_both_distributions_agree():
    ones = torch.ones(3, 2, 4, dtype=torch.float64)
    teacher = torch.full((3, 9), 0.3, dtype=torch.float64)
    divergence = ContrastiveDistillation().divergence(ones[:, 0], ones[:, 0], ones, teacher=teacher)
    assert divergence.item() == pytest.approx(0, abs=1e-12)


def test_float32_under_autocast():
    vectors, masks, teacher = case(6, 2, 0, d=32, dtype=torch.float32)
    objective = ContrastiveDistillation()
    plain = objective(*vectors, teacher=teacher, **masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = objective(*vectors, teacher=teacher, **masks)
        cosines = teacher_similarities(*vectors)
    assert torch.equal(plain, inside)
    assert inside.dtype == torch.float32
    assert torch.equal(cosines, teacher_similarities(*vectors))
    low = objective(*[v.bfloat16() for v in vectors], teacher=teacher.bfloat16(), **masks)
    assert low.dtype == torch.float32


def test_wrong_input_is_refused_in_one_line():
    vectors, masks, teacher = case(3, 2, 0)
    with pytest.raises(InputError, match=r"similarities of shape \(3, 9\)"):
        ContrastiveDistillation()(*vectors, teacher=teacher[:, :3])
    teacher[0, 1] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        ContrastiveDistillation()(*vectors, teacher=teacher)
    with pytest.raises(InputError, match="teacher_temperature"):
        ContrastiveDistillation(teacher_temperature=0.0)
    with pytest.raises(InputError, match="temperature"):
        ContrastiveDistillation(temperature=-1.0)
    with pytest.raises(InputError, match="weights"):
        ContrastiveDistillation(divergence_weight=0.0)
    with pytest.raises(InputError, match="present"):
        ContrastiveDistillation()(*vectors, teacher=teacher, present=masks["present"][:1])
