"""The Matryoshka sum against the sum by hand, around every objective of the room."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from embedworks.foundation import InputError
from embedworks.objectives import (
    BipartiteInfoNCE,
    ContrastiveDistillation,
    CoSENT,
    FocalInfoNCE,
    InfoNCE,
    ManyPositiveInfoNCE,
    Matryoshka,
    OrderAware,
)

DIMENSIONS, WEIGHTS = (8, 5, 2), (1.0, 0.3, 0.1)


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(sum(shape)))


def triples():
    query, positive, negatives = draw(4, 8), draw(4, 8) + 0.1, draw(4, 2, 8)
    masks = {"present": draw(4, 2) > -0.5, "excluded": draw(4, 12) > 1}
    return [query, positive, negatives], masks


def taught():
    vectors, masks = triples()
    return vectors, masks | {"teacher": draw(4, 12)}


def slots():
    masks = {"positive_present": torch.tensor([[True, True], [True, False], [False, True], [True, True]])}
    return [draw(4, 8), draw(4, 2, 8), draw(4, 3, 8)], masks


def graph():
    return [draw(4, 8), draw(6, 8)], {"linked": draw(4, 6) > 0.3}


def scored():
    return [draw(5, 8), draw(5, 8) + draw(8)], {"score": torch.linspace(0, 1, 5, dtype=torch.float64)}


CASES = {
    "infonce": lambda: (InfoNCE(0.1, symmetric=True), *triples()),
    "infonce over dot products": lambda: (InfoNCE(0.5, similarity="dot"), *triples()),
    "focal": lambda: (FocalInfoNCE(0.1, detach_weights=False), *triples()),
    "many positives": lambda: (ManyPositiveInfoNCE(0.1), *slots()),
    "distillation": lambda: (ContrastiveDistillation(temperature=0.2), *taught()),
    "bipartite": lambda: (BipartiteInfoNCE(0.1), *graph()),
    "order-aware": lambda: (OrderAware(), *scored()),
    "cosent": lambda: (CoSENT(), *scored()),
}


def both(name, normalise):
    objective, vectors, others = CASES[name]()
    wrapped = Matryoshka(objective, DIMENSIONS, weights=WEIGHTS, normalise=normalise)

    def by_hand(*leaves):
        total = 0.0
        for dimension, weight in zip(DIMENSIONS, WEIGHTS, strict=True):
            cut = [v[..., :dimension] for v in leaves]
            if normalise:
                cut = [v / (v * v).sum(-1, keepdim=True).sqrt() for v in cut]
            total = total + weight * objective(*cut, **others)
        return total

    return wrapped, by_hand, vectors, others


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("normalise", [True, False])
def test_value_and_gradient_equal_the_sum_by_hand(name, normalise):
    wrapped, by_hand, vectors, others = both(name, normalise)
    leaves = [v.clone().requires_grad_() for v in vectors]
    value, wanted = wrapped(*leaves, **others), by_hand(*leaves)
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
    for gradient, expected in zip(torch.autograd.grad(value, leaves), torch.autograd.grad(wanted, leaves), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_one_full_dimension_is_the_plain_objective(name):
    objective, vectors, others = CASES[name]()
    wrapped = Matryoshka(objective, [8], normalise=False)
    assert torch.equal(wrapped(*vectors, **others), objective(*vectors, **others))


@pytest.mark.parametrize("name", CASES)
def test_float32_under_autocast(name):
    wrapped, _, vectors, others = both(name, True)
    low = [v.float() for v in vectors]
    plain = wrapped(*low, **others)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = wrapped(*low, **others)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, plain, rtol=1e-6, atol=1e-6)


def test_gradcheck():
    wrapped, _, vectors, others = both("infonce", True)
    assert gradcheck(lambda *v: wrapped(*v, **others), [v.requires_grad_() for v in vectors])


def test_vectors_by_keyword_are_cut_too():
    query, positive, negatives = triples()[0]
    wrapped = Matryoshka(InfoNCE(), [8, 2])
    assert torch.equal(
        wrapped(query=query, positive=positive, negatives=negatives), wrapped(query, positive, negatives)
    )


def test_a_weight_of_zero_leaves_its_length_out():
    query, positive, negatives = triples()[0]
    with_zero = Matryoshka(InfoNCE(), [8, 5, 2], weights=[1, 0, 0.5])(query, positive, negatives)
    assert torch.equal(with_zero, Matryoshka(InfoNCE(), [8, 2], weights=[1, 0.5])(query, positive, negatives))


def test_cut_vectors_of_length_zero_have_a_finite_gradient():
    query = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], requires_grad=True)
    loss = Matryoshka(InfoNCE(), [3, 2])(query, torch.eye(3)[:2])
    (gradient,) = torch.autograd.grad(loss, query)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 100


@pytest.mark.parametrize("dimensions", [[], [0, 2], [2, 2], [-1]])
def test_wrong_dimensions_are_refused(dimensions):
    with pytest.raises(InputError, match="dimensions"):
        Matryoshka(InfoNCE(), dimensions)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -0.1], [0.0, 0.0], [1.0, math.nan]])
def test_wrong_weights_are_refused(weights):
    with pytest.raises(InputError, match="weights"):
        Matryoshka(InfoNCE(), [4, 2], weights=weights)


def test_a_dimension_above_the_vectors_is_refused():
    with pytest.raises(InputError, match="dimension 16 needs longer"):
        Matryoshka(InfoNCE(), [16, 8])(*triples()[0])
