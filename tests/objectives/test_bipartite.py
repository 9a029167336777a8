"""Many-to-many InfoNCE against a float64 oracle written with loops, and its special cases."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from embedworks.foundation import InputError
from embedworks.objectives import BipartiteInfoNCE, InfoNCE


def case(q, t, seed, d=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    query, target = (torch.randn(n, d, dtype=dtype, generator=generator) for n in (q, t))
    return query, target, torch.rand(q, t, generator=generator) > 0.6


def one_way(scores, linked, temperature):
    losses = []
    for row, links in zip(scores, linked, strict=True):
        if any(links):
            top = max(row) / temperature
            total = top + math.log(math.fsum(math.exp(s / temperature - top) for s in row))
            terms = [total - s / temperature for s, link in zip(row, links, strict=True) if link]
            losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses) if losses else 0.0


def oracle(query, target, linked, temperature, symmetric):
    scores = [
        [
            sum(a * b for a, b in zip(x, y, strict=True)) / math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
            for y in target.tolist()
        ]
        for x in query.tolist()
    ]
    loss = one_way(scores, linked.tolist(), temperature)
    if symmetric:
        loss += one_way([list(c) for c in zip(*scores, strict=True)], linked.T.tolist(), temperature)
    return loss


@given(
    seed=st.integers(0, 10_000),
    q=st.integers(1, 5),
    t=st.integers(1, 5),
    temperature=st.sampled_from([1.0, 0.05, 0.002]),
    symmetric=st.booleans(),
)
def test_value_equals_the_oracle(seed, q, t, temperature, symmetric):
    query, target, linked = case(q, t, seed)
    value = BipartiteInfoNCE(temperature, symmetric=symmetric)(query, target, linked=linked).item()
    assert value == pytest.approx(oracle(query, target, linked, temperature, symmetric), abs=1e-10, rel=1e-10)


def test_one_link_a_row_is_infonce_in_both_directions():
    query, target, _ = case(4, 4, 1)
    value = BipartiteInfoNCE(0.1)(query, target, linked=torch.eye(4, dtype=torch.bool))
    torch.testing.assert_close(value, 2 * InfoNCE(0.1, symmetric=True)(query, target))


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_gradcheck(similarity):
    query, target, linked = case(3, 4, 2)
    linked[0] = False  # a query without a link
    objective = BipartiteInfoNCE(0.5, similarity=similarity)
    leaves = [query.requires_grad_(), target.requires_grad_()]
    assert gradcheck(lambda a, b: objective(a, b, linked=linked), leaves)


@given(seed=st.integers(0, 10_000))
def test_sides_and_order_do_not_matter(seed):
    query, target, linked = case(4, 3, seed)
    objective = BipartiteInfoNCE(0.1)
    value = objective(query, target, linked=linked)
    torch.testing.assert_close(objective(target, query, linked=linked.T), value)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(objective(query[order], target, linked=linked[order]), value)


def test_scores_that_differ_by_direction():
    generator = torch.Generator().manual_seed(0)
    scores, reverse = (torch.randn(*s, dtype=torch.float64, generator=generator) for s in [(3, 4), (4, 3)])
    linked = torch.rand(3, 4, generator=generator) > 0.5
    wanted = one_way(scores.tolist(), linked.tolist(), 0.5) + one_way(reverse.tolist(), linked.T.tolist(), 0.5)
    assert BipartiteInfoNCE(0.5).of_scores(scores, linked, reverse).item() == pytest.approx(wanted)
    one = BipartiteInfoNCE(0.5, symmetric=False).of_scores(scores, linked).item()
    assert one == pytest.approx(one_way(scores.tolist(), linked.tolist(), 0.5))


@pytest.mark.parametrize("temperature", [1e-4, 0.05, 1e4])
def test_no_link_one_pair_and_extremes_are_finite(temperature):
    for q, t in ((1, 1), (3, 5)):
        query, target, linked = case(q, t, 1, dtype=torch.float32)
        leaves = [query.requires_grad_(), target.requires_grad_()]
        for links in (torch.zeros_like(linked), torch.ones_like(linked), linked):
            loss = BipartiteInfoNCE(temperature)(*leaves, linked=links)
            gradients = torch.autograd.grad(loss, leaves)
            assert loss.isfinite()
            assert all(g.isfinite().all() for g in gradients)
            if not links.any() or (q, t) == (1, 1):
                assert loss == 0
                assert not any(g.any() for g in gradients)


def test_all_linked_ties_by_hand():
    ones = torch.ones(3, 4, dtype=torch.float64)
    loss = BipartiteInfoNCE()(ones, ones[:2], linked=torch.ones(3, 2, dtype=torch.bool))
    assert loss.item() == pytest.approx(math.log(2) + math.log(3))


def test_float32_under_autocast():
    query, target, linked = case(5, 6, 0, d=32, dtype=torch.float32)
    plain = BipartiteInfoNCE(0.02)(query, target, linked=linked)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(BipartiteInfoNCE(0.02)(query, target, linked=linked), plain)
    assert BipartiteInfoNCE(0.02).of_scores(torch.ones(5, 6).bfloat16(), linked).dtype == torch.float32


def test_wrong_input_is_refused_in_one_line():
    query, target, linked = case(3, 4, 0)
    with pytest.raises(InputError, match=r"\(q, d\) and \(t, d\)"):
        BipartiteInfoNCE()(query, target[:, :2], linked=linked)
    with pytest.raises(InputError, match="linked"):
        BipartiteInfoNCE()(query, target, linked=linked.T)
    with pytest.raises(InputError, match="both above 0"):
        BipartiteInfoNCE()(query[:0], target, linked=linked[:0])
    with pytest.raises(InputError, match="reverse_scores"):
        BipartiteInfoNCE(symmetric=False).of_scores(torch.ones(3, 4), linked, torch.ones(4, 3))
    with pytest.raises(InputError, match="temperature"):
        BipartiteInfoNCE(0.0)
