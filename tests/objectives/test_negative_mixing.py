"""Hard-negative mixing: the mixtures by definition, whom they reach, the seed, and that they are harder."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from embedworks.foundation import InputError
from embedworks.objectives import (
    FocalInfoNCE,
    InfoNCE,
    Matryoshka,
    MixedNegatives,
    false_negative_mask,
    mix_list,
    mix_pairs,
)


def case(b, m, seed, d=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    vectors = [torch.randn(*shape, dtype=dtype, generator=generator) for shape in [(b, d), (b, d), (b, m, d)]]
    present = torch.rand(b, m, generator=generator) > 0.3
    excluded = torch.rand(b, b * (1 + m), generator=generator) > 0.8
    return vectors, {"present": present, "excluded": excluded}


def normalised(x):
    length = math.sqrt(sum(v * v for v in x))
    return [v / length for v in x]


@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_pairs_equal_the_definition(seed, share):
    (first, second, _), _ = case(3, 1, seed)
    mixed = mix_pairs(first, second, torch.full((3,), share, dtype=torch.float64))
    for i in range(3):
        a, b = normalised(first[i].tolist()), normalised(second[i].tolist())
        wanted = normalised([share * x + (1 - share) * y for x, y in zip(a, b, strict=True)])
        assert mixed[i].tolist() == pytest.approx(wanted, abs=1e-12)
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(3, dtype=torch.float64))


def test_a_share_of_one_returns_the_first_and_cancelling_vectors_give_zero():
    first, second = torch.tensor([[3.0, 4.0]]), torch.tensor([[-6.0, -8.0]], requires_grad=True)
    assert mix_pairs(first, second, torch.ones(1)).tolist()[0] == pytest.approx([0.6, 0.8])
    half = mix_pairs(first, second, torch.full((1,), 0.5))
    assert not half.any()
    assert torch.autograd.grad(half.sum(), second)[0].isfinite().all()


@given(seed=st.integers(0, 10_000), m=st.integers(1, 5), temperature=st.sampled_from([0.01, 0.2, 1.0, 100.0]))
def test_list_equals_the_definition_and_is_no_farther_than_the_average(seed, m, temperature):
    (query, _, negatives), masks = case(3, m, seed)
    usable = masks["present"]
    mixed = mix_list(query, negatives, usable=usable, temperature=temperature)
    for i in range(3):
        q = normalised(query[i].tolist())
        chosen = [normalised(n.tolist()) for n, keep in zip(negatives[i], usable[i], strict=True) if keep]
        if not chosen:
            assert not mixed[i].any()
            continue
        cosines = [sum(a * b for a, b in zip(q, n, strict=True)) for n in chosen]
        top = max(cosines)
        weights = [math.exp((c - top) / temperature) for c in cosines]
        summed = [sum(w * n[k] for w, n in zip(weights, chosen, strict=True)) / sum(weights) for k in range(len(q))]
        assert mixed[i].tolist() == pytest.approx(normalised(summed), abs=1e-9)
        before_unit_length = sum(a * b for a, b in zip(q, summed, strict=True))
        assert before_unit_length >= sum(cosines) / len(cosines) - 1e-12


@pytest.mark.parametrize("objective", [InfoNCE(0.1), InfoNCE(0.1, symmetric=True), FocalInfoNCE(0.1)])
def test_the_loss_is_that_of_a_batch_with_the_mixtures_in_own_denominators_only(objective):
    vectors, masks = case(4, 3, 1)
    query, positive, negatives = vectors
    wrapped = MixedNegatives(objective, pairwise=2, seed=3)
    mixed = wrapped.mix(query, negatives, **masks)
    assert mixed.negatives.shape == (4, 6, 6)
    torch.testing.assert_close(mixed.negatives[:, :3][masks["present"]], negatives[masks["present"]], rtol=0, atol=0)
    usable = [
        [k for k in range(3) if masks["present"][i, k] and not masks["excluded"][i, 4 + 3 * i + k]] for i in range(4)
    ]
    for i in range(4):
        assert mixed.present[i].tolist() == masks["present"][i].tolist() + [len(usable[i]) >= 2] * 3
        for j in range(4):
            assert mixed.excluded[i, j] == masks["excluded"][i, j]
            for k in range(6):
                place = 4 + 6 * j + k
                given_before = k < 3 and masks["excluded"][i, 4 + 3 * j + k]
                assert bool(mixed.excluded[i, place]) == (bool(given_before) if k < 3 else i != j)
                assert bool(mixed.mixed[i, place]) == (k >= 3 and i == j and len(usable[i]) >= 2)
    by_hand = objective(query, positive, mixed.negatives, present=mixed.present, excluded=mixed.excluded)
    assert torch.equal(wrapped(query, positive, negatives, **masks), by_hand)


@given(seed=st.integers(0, 10_000), m=st.integers(2, 5))
def test_pairs_are_mixed_of_two_different_usable_negatives(seed, m):
    (query, _, _), masks = case(3, m, seed)
    marks = torch.eye(m, dtype=torch.float64)[:, : max(m, 2)].expand(3, m, m).contiguous()  # which went in shows
    mixed = MixedNegatives(InfoNCE(), pairwise=6, listwise=False, seed=seed).mix(query[:, :m], marks, **masks)
    for i in range(3):
        usable = {k for k in range(m) if masks["present"][i, k] and not masks["excluded"][i, 3 + m * i + k]}
        for vector, there in zip(mixed.negatives[i, m:], mixed.present[i, m:], strict=True):
            assert bool(there) == (len(usable) >= 2)
            if there:
                ingredients = set(vector.nonzero().flatten().tolist())
                assert len(ingredients) == 2
                assert ingredients <= usable


def test_a_known_positive_among_the_negatives_is_in_no_mixture():
    query = torch.eye(3)[:2]
    negatives = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]] * 2)
    ids = torch.tensor([[0, 1, 2], [0, 1, 2]])
    excluded = false_negative_mask(torch.arange(2), torch.arange(2), ids)
    mixed = MixedNegatives(InfoNCE(), pairwise=20).mix(query, negatives, excluded=excluded)
    assert not mixed.negatives[0, 3:, 0].any()
    assert not mixed.negatives[1, 3:, 1].any()


def test_draws_follow_from_the_seed_and_the_count_of_batches():
    (query, positive, negatives), _ = case(4, 4, 2)

    def losses(objective, times=3):
        return [objective(query, positive, negatives).item() for _ in range(times)]

    first = losses(MixedNegatives(InfoNCE(), seed=5))
    torch.manual_seed(99)  # the global generator has no part in it
    assert losses(MixedNegatives(InfoNCE(), seed=5)) == first
    assert len({*first, *losses(MixedNegatives(InfoNCE(), seed=6))}) == 6
    begun = MixedNegatives(InfoNCE(), seed=5)
    losses(begun, 1)
    begun.eval()
    assert losses(begun, 2) == [first[1]] * 2
    resumed = MixedNegatives(InfoNCE(), seed=5)
    resumed.load_state_dict(begun.state_dict())
    assert losses(resumed, 2) == first[1:]


def test_shares_are_drawn_from_beta_two_two():
    negatives = torch.eye(2, dtype=torch.float64).expand(50, 2, 2).contiguous()
    mixed = MixedNegatives(InfoNCE(), pairwise=200, listwise=False).mix(negatives[:, 0], negatives)
    vectors = mixed.negatives[:, 2:]
    share = (vectors[..., 0] / vectors.sum(-1)).flatten()
    assert share.mean().item() == pytest.approx(0.5, abs=0.01)
    assert share.var().item() == pytest.approx(1 / 20, rel=0.05)  # the variance of Beta(2, 2)


def test_mixtures_are_harder_than_the_average_negative():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(64, 32, generator=generator)
    negatives = query[:, None] * 0.5 + torch.randn(64, 7, 32, generator=generator)
    mixed = MixedNegatives(InfoNCE(), pairwise=7).mix(query, negatives)
    cosine = torch.nn.functional.cosine_similarity(query[:, None], mixed.negatives, dim=2)
    average = cosine[:, :7].mean()
    assert cosine[:, 7:14].mean() > average  # pair-wise
    assert (cosine[:, 14] > cosine[:, :7].mean(1)).all()  # list-wise
    shares = (
        InfoNCE(0.05).logits(query, query, mixed.negatives, present=mixed.present, excluded=mixed.excluded).softmax(1)
    )
    assert 0 < shares[mixed.mixed].sum() / 64 < 1


def test_detached_mixtures_pass_no_gradient():
    (query, positive, negatives), _ = case(3, 3, 4)
    leaf = negatives.clone().requires_grad_()
    mixed = MixedNegatives(InfoNCE(), detach=True).mix(query, leaf)
    (gradient,) = torch.autograd.grad(mixed.negatives[:, 3:].sum() + 0 * leaf.sum(), leaf)
    assert not gradient.any()
    flowing = MixedNegatives(InfoNCE()).mix(query, leaf)
    assert torch.autograd.grad(flowing.negatives[:, 3:].sum(), leaf)[0].any()
    assert MixedNegatives(InfoNCE(), detach=True)(query, positive, leaf).isfinite()


def test_gradcheck():
    vectors, masks = case(3, 3, 6)
    objective = MixedNegatives(InfoNCE(0.5)).eval()
    assert gradcheck(lambda *v: objective(*v, **masks), [v.requires_grad_() for v in vectors])


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_one_row_few_negatives_and_nothing_usable_are_finite(temperature):
    for b, m in ((1, 2), (3, 1), (3, 0), (2, 3)):
        vectors, masks = case(b, m, 1, dtype=torch.float32)
        leaves = [v.requires_grad_() for v in vectors]
        objective = MixedNegatives(InfoNCE(temperature), temperature=temperature)
        for given_masks in (
            {},
            masks,
            {"present": torch.zeros_like(masks["present"]), "excluded": torch.ones_like(masks["excluded"])},
        ):
            loss = objective(*leaves, **given_masks)
            gradients = [g for g in torch.autograd.grad(loss, leaves, allow_unused=True) if g is not None]
            assert loss.isfinite()
            assert all(g.isfinite().all() for g in gradients)
            if m < 2:
                torch.testing.assert_close(loss, InfoNCE(temperature)(*leaves, **given_masks))
        assert loss == 0  # all is masked


def test_what_an_absent_negative_holds_has_no_effect():
    (query, positive, negatives), masks = case(4, 4, 8)
    results = []
    for fill in (0.0, torch.nan):
        filled = negatives.clone()
        filled[~masks["present"]] = fill
        leaf = filled.requires_grad_()
        loss = MixedNegatives(InfoNCE(0.1))(query, positive, leaf, present=masks["present"])
        results.append([loss, torch.autograd.grad(loss, leaf)[0]])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_ties_make_mixtures_equal_to_their_negatives():
    vectors = torch.ones(2, 3, 4, dtype=torch.float64)
    loss = MixedNegatives(InfoNCE(), pairwise=2)(vectors[:, 0], vectors[:, 0], vectors)
    assert loss.item() == pytest.approx(math.log(2 + 6 + 3))  # positives, hard negatives, own mixtures


def test_float32_under_autocast():
    vectors, masks = case(5, 4, 0, d=32, dtype=torch.float32)
    objective = MixedNegatives(InfoNCE(0.02)).eval()
    plain = objective(*vectors, **masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(objective(*vectors, **masks), plain)
    low = objective(*[v.bfloat16() for v in vectors], **masks)
    assert low.dtype == torch.float32
    assert low.isfinite()


def test_it_goes_around_a_matryoshka_and_into_one():
    vectors, masks = case(4, 3, 9)
    around = MixedNegatives(Matryoshka(InfoNCE(0.1), [6, 3]))
    mixed = around.mix(vectors[0], vectors[2], **masks)
    by_hand = sum(
        InfoNCE(0.1)(
            vectors[0][:, :d],
            vectors[1][:, :d],
            mixed.negatives[..., :d],
            present=mixed.present,
            excluded=mixed.excluded,
        )
        for d in (6, 3)
    )
    torch.testing.assert_close(around(*vectors, **masks), by_hand)
    assert Matryoshka(MixedNegatives(InfoNCE(0.1)), [6, 3])(*vectors, **masks).isfinite()


def test_wrong_input_is_refused_in_one_line():
    (query, positive, negatives), masks = case(3, 3, 0)
    with pytest.raises(InputError, match="unit length"):
        MixedNegatives(Matryoshka(InfoNCE(similarity="dot"), [2]))
    with pytest.raises(InputError, match="at least one"):
        MixedNegatives(InfoNCE(), pairwise=0, listwise=False)
    with pytest.raises(InputError, match="temperature"):
        MixedNegatives(InfoNCE(), temperature=0)
    with pytest.raises(InputError, match=r"\(b, m, d\)"):
        MixedNegatives(InfoNCE())(query, positive, negatives[:2])
    with pytest.raises(InputError, match="present"):
        MixedNegatives(InfoNCE())(query, positive, negatives, present=masks["present"][:, :1])
