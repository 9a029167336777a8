"""InfoNCE with several positives against a float64 oracle written with loops, and its special cases."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from embedworks.foundation import InputError
from embedworks.objectives import InfoNCE, ManyPositiveInfoNCE


def case(b, m, n, seed, d=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    query, positive, negatives = (
        torch.randn(*shape, dtype=dtype, generator=generator) for shape in [(b, d), (b, m, d), (b, n, d)]
    )
    has = torch.rand(b, m, generator=generator) > 0.4
    has[torch.arange(b), torch.randint(m, (b,), generator=generator)] = True
    masks = {
        "present": torch.rand(b, n, generator=generator) > 0.4,
        "positive_present": has,
        "excluded": torch.rand(b, b * (m + n), generator=generator) > 0.7,
    }
    return (query, positive, negatives), masks


def oracle(query, positive, negatives, *, present, positive_present, excluded, temperature, similarity):
    (b, m), n = positive.shape[:2], negatives.shape[1]

    def s(x, y):
        dot = sum(p * q for p, q in zip(x.tolist(), y.tolist(), strict=True))
        if similarity == "dot":
            return dot / temperature
        return dot / math.sqrt(sum(p * p for p in x.tolist()) * sum(q * q for q in y.tolist())) / temperature

    total = 0.0
    for i in range(b):
        losses = []
        for a in range(m):
            if not positive_present[i, a]:
                continue
            own = s(query[i], positive[i, a])
            terms = [own]
            for j in range(b):
                if j != i and positive_present[j, a] and not excluded[i, j * m + a]:
                    terms.append(s(query[i], positive[j, a]))
                for k in range(n):
                    if present[j, k] and not excluded[i, b * m + j * n + k]:
                        terms.append(s(query[i], negatives[j, k]))
            top = max(terms)
            losses.append(top + math.log(math.fsum(math.exp(t - top) for t in terms)) - own)
        total += sum(losses) / len(losses)
    return total / b


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("masked", [False, True])
def test_value_equals_the_oracle_over_the_grid(similarity, masked):
    grid = itertools.product([1, 2, 4], [1, 2, 3], [0, 2], [1.0, 0.02])
    for number, (b, m, n, temperature) in enumerate(grid):
        vectors, masks = case(b, m, n, number)
        if not masked:
            masks = {
                name: torch.zeros_like(mask) if name == "excluded" else torch.ones_like(mask)
                for name, mask in masks.items()
            }
        wanted = oracle(*vectors, **masks, temperature=temperature, similarity=similarity)
        objective = ManyPositiveInfoNCE(temperature, similarity=similarity)
        assert objective(*vectors, **masks).item() == pytest.approx(wanted, abs=1e-10, rel=1e-10)
        if not masked:
            assert objective(*vectors).item() == pytest.approx(wanted, abs=1e-10, rel=1e-10)


def test_one_positive_is_infonce():
    (query, positive, negatives), masks = case(4, 1, 2, 1)
    others = {"present": masks["present"], "excluded": masks["excluded"]}
    plain = InfoNCE(0.1)(query, positive[:, 0], negatives, **others)
    torch.testing.assert_close(ManyPositiveInfoNCE(0.1)(query, positive, negatives, **others), plain)


def test_it_is_the_mean_of_infonce_over_the_slots():
    (query, positive, negatives), _ = case(4, 3, 2, 2)
    slots = [InfoNCE(0.1)(query, positive[:, a], negatives) for a in range(3)]
    torch.testing.assert_close(ManyPositiveInfoNCE(0.1)(query, positive, negatives), torch.stack(slots).mean())


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_gradcheck(similarity):
    vectors, masks = case(3, 2, 2, 5)
    objective = ManyPositiveInfoNCE(0.5, similarity=similarity)
    assert gradcheck(lambda *v: objective(*v, **masks), [v.requires_grad_() for v in vectors])


@given(seed=st.integers(0, 10_000), b=st.integers(1, 5), m=st.integers(1, 3))
def test_order_of_rows_and_of_negatives_does_not_matter(seed, b, m):
    (query, positive, negatives), masks = case(b, m, 3, seed)
    generator = torch.Generator().manual_seed(seed)
    rows, within = torch.randperm(b, generator=generator), torch.randperm(3, generator=generator)
    has, present = masks["positive_present"], masks["present"]
    value = ManyPositiveInfoNCE(0.1)(query, positive, negatives, positive_present=has, present=present)
    shuffled = ManyPositiveInfoNCE(0.1)(
        query[rows],
        positive[rows],
        negatives[rows][:, within],
        positive_present=has[rows],
        present=present[rows][:, within],
    )
    torch.testing.assert_close(shuffled, value)


def test_rows_are_the_parts_whose_mean_is_the_whole():
    vectors, masks = case(5, 2, 2, 7)
    objective = ManyPositiveInfoNCE(0.1)
    parts = 2 / 5 * objective(*vectors, **masks, rows=slice(0, 2)) + 3 / 5 * objective(
        *vectors, **masks, rows=slice(2, 5)
    )
    torch.testing.assert_close(parts, objective(*vectors, **masks))


def test_what_an_absent_text_holds_has_no_effect():
    vectors, masks = case(3, 2, 2, 4)
    results = []
    for fill in (0.0, torch.nan):
        query, positive, negatives = (v.clone() for v in vectors)
        positive[~masks["positive_present"]] = fill
        negatives[~masks["present"]] = fill
        leaves = [v.requires_grad_() for v in (query, positive, negatives)]
        loss = ManyPositiveInfoNCE(0.1)(*leaves, **masks)
        results.append([loss, *torch.autograd.grad(loss, leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_alone_masked_and_extreme_rows_are_finite(temperature):
    for b in (1, 4):
        vectors, masks = case(b, 2, 2, 3, dtype=torch.float32)
        masks = masks | {
            "excluded": torch.ones_like(masks["excluded"]),
            "present": torch.zeros_like(masks["present"]),
        }
        leaves = [v.requires_grad_() for v in vectors]
        loss = ManyPositiveInfoNCE(temperature)(*leaves, **masks)
        assert loss == 0
        assert not any(g.any() for g in torch.autograd.grad(loss, leaves))
        open_loss = ManyPositiveInfoNCE(temperature)(*leaves)
        assert all(g.isfinite().all() for g in torch.autograd.grad(open_loss, leaves))


def test_ties_by_hand():
    ones = torch.ones(3, 2, 4, dtype=torch.float64)
    assert ManyPositiveInfoNCE()(ones[:, 0], ones, ones).item() == pytest.approx(math.log(3 + 6))


def test_float32_under_autocast():
    vectors, masks = case(5, 2, 2, 0, d=32, dtype=torch.float32)
    plain = ManyPositiveInfoNCE()(*vectors, **masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ManyPositiveInfoNCE()(*vectors, **masks)
    assert inside.dtype == torch.float32
    assert torch.equal(plain, inside)


def test_wrong_input_is_refused_in_one_line():
    (query, positive, negatives), masks = case(3, 2, 2, 0)
    objective = ManyPositiveInfoNCE()
    with pytest.raises(InputError, match=r"\(b, m, d\)"):
        objective(query, positive[:, 0])
    with pytest.raises(InputError, match="m > 0"):
        objective(query, positive[:, :0])
    with pytest.raises(InputError, match="negatives"):
        objective(query, positive, negatives[:2])
    masks["positive_present"][1] = False
    with pytest.raises(InputError, match="query 1 has no positive"):
        objective(query, positive, negatives, **masks)
    with pytest.raises(InputError, match="excluded"):
        objective(query, positive, negatives, excluded=masks["excluded"][:, 1:])
    with pytest.raises(InputError, match="temperature"):
        ManyPositiveInfoNCE(-1.0)
