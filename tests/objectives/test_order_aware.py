"""Pearson, Rank-KL, PRO and CoSENT against float64 oracles written with loops, and what each promises."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from embedworks.foundation import InputError
from embedworks.objectives import CoSENT, OrderAware, PearsonLoss, PreferenceRanking, RankKL


def pearson_oracle(x, y):
    n = len(x)
    if len(set(y)) == 1:
        return 0.0
    mx, my = sum(x) / n, sum(y) / n
    covariance = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / n
    sdx = math.sqrt(sum((a - mx) ** 2 for a in x) / n)
    sdy = math.sqrt(sum((b - my) ** 2 for b in y) / n)
    return 1 - covariance / (sdx * sdy)


def softmax(values):
    top = max(values)
    total = math.fsum(math.exp(v - top) for v in values)
    return [math.exp(v - top) / total for v in values]


def rank_kl_oracle(x, y, temperature=0.05):
    n = len(x)
    order = sorted(range(n), key=lambda i: -y[i])
    rank = [0.0] * n
    for i in range(n):
        places = [place for place, j in enumerate(order) if y[j] == y[i]]
        rank[i] = sum(places) / len(places)
    wanted = softmax([(n - 1 - r) / (n - 1) / temperature if n > 1 else 0.0 for r in rank])
    given_ = softmax([v / temperature for v in x])
    return sum(t * math.log(t / s) for t, s in zip(wanted, given_, strict=True)) / n


def pro_oracle(x, y, temperature=0.05):
    order = sorted(range(len(x)), key=lambda i: -y[i])
    x, y = [x[i] / temperature for i in order], [y[i] for i in order]
    losses = []
    for k in range(len(x) - 1):
        lower = [j for j in range(k + 1, len(x)) if y[k] - y[j] > 1e-8]
        if lower:
            own = max(y[k] - y[j] for j in lower) * x[k]
            terms = [own] + [(y[k] - y[j]) * x[j] for j in lower]
            top = max(terms)
            losses.append(top + math.log(math.fsum(math.exp(t - top) for t in terms)) - own)
    return sum(losses) / len(losses) if losses else 0.0


def cosent_oracle(x, y, temperature=0.05):
    terms = [0.0]
    for i in range(len(x)):
        for j in range(len(x)):
            if y[i] > y[j]:
                terms.append((x[j] - x[i]) / temperature)
    top = max(terms)
    return top + math.log(math.fsum(math.exp(t - top) for t in terms))


def sum_oracle(x, y):
    return 2 * pearson_oracle(x, y) + 5 * rank_kl_oracle(x, y) + 0.5 * pro_oracle(x, y)


PARTS = {
    "pearson": (PearsonLoss, pearson_oracle),
    "rank-kl": (RankKL, rank_kl_oracle),
    "pro": (PreferenceRanking, pro_oracle),
    "cosent": (CoSENT, cosent_oracle),
    "sum": (OrderAware, sum_oracle),
}


def case(n, seed, ties=False, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(n, 6, dtype=dtype, generator=generator) for _ in range(2))
    score = torch.rand(n, dtype=dtype, generator=generator)
    return first, second, (score * 3).round() / 3 if ties else score


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("ties", [False, True])
def test_value_equals_the_oracle(name, ties):
    objective, oracle = PARTS[name][0](), PARTS[name][1]
    for n in (1, 2, 3, 5, 12):
        for seed in range(4):
            first, second, score = case(n, seed, ties)
            cosine = torch.nn.functional.cosine_similarity(first, second)
            wanted = oracle(cosine.tolist(), score.tolist())
            assert objective(first, second, score=score).item() == pytest.approx(wanted, abs=1e-10, rel=1e-9)
            low = objective(first.float(), second.float(), score=score.float()).item()
            assert low == pytest.approx(wanted, abs=1e-3, rel=1e-4)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("ties", [False, True])
def test_gradcheck(name, ties):
    first, second, score = case(6, 3, ties)
    leaves = [first.requires_grad_(), second.requires_grad_()]
    assert gradcheck(lambda a, b: PARTS[name][0]()(a, b, score=score), leaves)


@pytest.mark.parametrize("name", PARTS)
def test_one_pair_and_equal_scores_ask_for_nothing_impossible(name):
    for n in (1, 4):
        first, second, _ = case(n, 1, dtype=torch.float32)
        leaves = [first.requires_grad_(), second.requires_grad_()]
        loss = PARTS[name][0]()(*leaves, score=torch.full((n,), 0.3))
        gradients = torch.autograd.grad(loss, leaves)
        assert all(g.isfinite().all() for g in gradients)
        if n == 1 or name in ("pearson", "pro", "cosent"):
            assert loss == 0
            assert not any(g.abs().max() > 1e-7 for g in gradients)


@pytest.mark.parametrize("name", PARTS)
def test_equal_and_zero_vectors_have_finite_gradients(name):
    for first in (torch.ones(5, 3) * 0.3, torch.zeros(5, 3)):
        first.requires_grad_()
        loss = PARTS[name][0]()(first, torch.full((5, 3), 0.7), score=torch.linspace(0, 1, 5))
        (gradient,) = torch.autograd.grad(loss, first)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e3


@pytest.mark.parametrize("name", ["rank-kl", "pro", "cosent"])
@pytest.mark.parametrize("temperature", [1e-4, 1e4])
def test_extreme_temperatures_are_finite(name, temperature):
    first, second, score = case(8, 2, dtype=torch.float32)
    first.requires_grad_()
    loss = PARTS[name][0](temperature)(first, second, score=score)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, first)[0].isfinite().all()


@pytest.mark.parametrize("name", PARTS)
def test_float32_under_autocast_and_for_bfloat16(name):
    first, second, score = case(9, 4, dtype=torch.float32)
    objective = PARTS[name][0]()
    plain = objective(first, second, score=score)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(objective(first, second, score=score), plain)
    assert objective(first.bfloat16(), second.bfloat16(), score=score).dtype == torch.float32


@pytest.mark.parametrize("name", PARTS)
@given(seed=st.integers(0, 1000), n=st.integers(2, 8), ties=st.booleans())
def test_order_of_the_pairs_does_not_matter(name, seed, n, ties):
    first, second, score = case(n, seed, ties)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    objective = PARTS[name][0]()
    torch.testing.assert_close(
        objective(first[order], second[order], score=score[order]), objective(first, second, score=score)
    )


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-10, 10))
def test_pearson_does_not_change_under_affine_maps(seed, scale, shift):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(6, dtype=torch.float64, generator=generator) for _ in range(2))
    moved = PearsonLoss().of_similarities(x * scale + shift, y)
    torch.testing.assert_close(moved, PearsonLoss().of_similarities(x, y), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(PearsonLoss().of_similarities(-x, y), 2 - PearsonLoss().of_similarities(x, y))


@given(seed=st.integers(0, 1000), n=st.integers(2, 8))
def test_rank_kl_is_least_at_the_gold_ranks_and_depends_on_the_order_only(seed, n):
    generator = torch.Generator().manual_seed(seed)
    score = torch.rand(n, dtype=torch.float64, generator=generator)
    rank = (score[None, :] > score[:, None]).sum(1)
    best = (n - 1 - rank) / (n - 1)
    objective = RankKL()
    assert objective.of_similarities(best.double() - 0.4, score).item() == pytest.approx(0, abs=1e-12)
    other = torch.rand(n, dtype=torch.float64, generator=generator)
    assert objective.of_similarities(other, score).item() >= -1e-12
    torch.testing.assert_close(objective.of_similarities(other, score), objective.of_similarities(other, score**3))


def test_rank_kl_gives_ties_equal_targets():
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    score = torch.tensor([0.5, 0.5, 0.9, 0.1], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(RankKL(0.5).of_similarities(x, score), x)
    assert gradient[0] == gradient[1]


def test_rank_kl_sum_is_n_times_batchmean():
    first, second, score = case(7, 1)
    ratio = RankKL(reduction="sum")(first, second, score=score) / RankKL()(first, second, score=score)
    assert ratio.item() == pytest.approx(7)


def test_pro_raises_the_best_pair_first():
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    score = torch.tensor([0.2, 1.0, 0.6, 0.4], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(PreferenceRanking().of_similarities(x, score), x)
    assert gradient.argmin() == 1
    assert gradient[1] < 0
    assert gradient[0] > 0  # the lowest is only ever pushed down


def test_cosent_by_hand():
    x, y = torch.tensor([0.2, 0.2, 0.9]), torch.tensor([1.0, 0.0, 0.0])
    wanted = math.log(1 + 1 + math.exp(0.7 / 0.05))
    assert CoSENT().of_similarities(x, y).item() == pytest.approx(wanted, rel=1e-6)


def test_parts_of_weight_zero_are_left_out():
    first, second, score = case(6, 2)
    only = OrderAware(pearson=0, rank_kl=3, preference=0)(first, second, score=score)
    torch.testing.assert_close(only, 3 * RankKL()(first, second, score=score))


def test_wrong_input_is_refused_in_one_line():
    first, second, score = case(4, 0)
    for wrong in (score * 5, score - 1, torch.full((4,), math.nan)):
        with pytest.raises(InputError, match="between 0 and 1"):
            PearsonLoss()(first, second, score=wrong)
    with pytest.raises(InputError, match="both must be"):
        CoSENT()(first, second[:3], score=score)
    with pytest.raises(InputError, match=r"\(n,\)"):
        CoSENT()(first, second, score=score[:3])
    with pytest.raises(InputError, match=r"n > 0"):
        RankKL()(first[:0], second[:0], score=score[:0])
    with pytest.raises(InputError, match="temperature"):
        PreferenceRanking(0.0)
    with pytest.raises(InputError, match="reduction"):
        RankKL(reduction="mean")
    with pytest.raises(InputError, match="weights"):
        OrderAware(pearson=0, rank_kl=0, preference=0)
