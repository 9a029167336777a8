"""Exactness: loss and gradient against float64 autograd, steps against torch's Adam; behaviour of runs and starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embedworks.analysis.circle_embedding import circle_documents, circle_query
from embedworks.analysis.critical_size import every_subset
from embedworks.analysis.free_embedding import (
    FreeEmbeddingSettings,
    _Adam,
    _starts,
    loss_and_gradient,
    train_free_embeddings,
)
from embedworks.analysis.ranking_margin import ranking_check
from embedworks.foundation import InputError

IRREGULAR = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 1, 1, 0], [0, 0, 0, 1, 1]], bool)


def _slow_loss(scores: np.ndarray, relevance: np.ndarray, temperature: float, form: str) -> float:
    terms = []
    for row, wanted in zip(scores, relevance, strict=True):
        weights = np.exp(row / temperature)
        shares = weights / weights.sum()
        if form == "positives":
            terms += [-np.log(share) for share, one in zip(shares, wanted, strict=True) if one]
        else:
            terms.append(-np.log(shares[wanted].sum()))
    return float(np.mean(terms))


@pytest.mark.parametrize("form", ["positives", "queries"])
@pytest.mark.parametrize("relevance", [IRREGULAR, every_subset(5, 2), np.eye(3, dtype=bool), np.ones((1, 1), bool)])
def test_loss_and_gradient_in_float64(form, relevance: np.ndarray) -> None:
    generator = np.random.default_rng(3)
    scores = torch.from_numpy(generator.uniform(-1, 1, (2, *relevance.shape))).requires_grad_()
    wanted = torch.from_numpy(relevance.astype(np.float64))
    with torch.no_grad():
        loss, gradient = loss_and_gradient(scores.detach(), wanted, temperature=0.1, form=form)
    for run in range(2):
        slow = _slow_loss(scores[run].detach().numpy(), relevance, 0.1, form)
        assert loss[run].item() == pytest.approx(slow, rel=1e-10, abs=1e-12)
    log_shares = torch.log_softmax(scores / 0.1, dim=2)
    if form == "positives":
        total = -(log_shares * wanted).sum() / wanted.sum()
    else:
        total = -torch.log((log_shares.exp() * wanted).sum(dim=2)).mean(dim=1).sum()
    (expected,) = torch.autograd.grad(total, scores)
    assert torch.allclose(gradient, expected, atol=1e-11)


def test_the_two_losses_agree_where_one_document_is_relevant() -> None:
    scores = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 4, 4)))
    wanted = torch.eye(4, dtype=torch.float64)
    first = loss_and_gradient(scores.clone(), wanted, temperature=0.1, form="positives")
    second = loss_and_gradient(scores.clone(), wanted, temperature=0.1, form="queries")
    assert torch.allclose(first[0], second[0])
    assert torch.allclose(first[1], second[1])


def test_steps_are_those_of_adam_with_rows_brought_back_to_length_one() -> None:
    generator = torch.Generator().manual_seed(1)
    ours = torch.nn.functional.normalize(torch.randn(1, 6, 3, generator=generator, dtype=torch.float64), dim=2)
    theirs = ours.clone().requires_grad_()
    peer = torch.optim.Adam([theirs], lr=0.01)
    adam = _Adam(ours, 0.01)
    for _ in range(30):
        gradient = torch.randn(1, 6, 3, generator=generator, dtype=torch.float64)
        adam.step(ours, gradient)
        theirs.grad = gradient
        peer.step()
        with torch.no_grad():
            theirs.div_(theirs.norm(dim=2, keepdim=True))
    assert torch.allclose(ours, theirs, atol=1e-12)


def test_a_solution_is_one_by_an_independent_ranking() -> None:
    relevance = every_subset(9, 2)
    runs = train_free_embeddings(relevance, dimension=4, seeds=(0, 1, 2))
    assert any(run.solved for run in runs)
    for run in runs:
        assert np.allclose(np.linalg.norm(run.queries, axis=1), 1, atol=1e-6)
        assert np.allclose(np.linalg.norm(run.documents, axis=1), 1, atol=1e-6)
        wide = ranking_check(run.queries.astype(np.float64), run.documents.astype(np.float64), relevance)
        assert wide.queries_right == pytest.approx(run.check.queries_right)
        assert run.solved == (run.check.accuracy == 1.0)
        if run.solved:
            assert wide.margin == pytest.approx(run.check.margin, abs=1e-6)


def test_a_run_does_not_depend_on_those_beside_it() -> None:
    relevance = every_subset(8, 2)
    settings = FreeEmbeddingSettings(max_steps=200)
    together = train_free_embeddings(relevance, dimension=4, seeds=(0, 1, 2, 3), settings=settings)
    for run in together:
        (alone,) = train_free_embeddings(relevance, dimension=4, seeds=(run.seed,), settings=settings)
        assert (alone.solved, alone.steps) == (run.solved, run.steps)
        assert np.allclose(alone.documents, run.documents, atol=1e-4)


def test_a_demanded_margin_is_held() -> None:
    for margin in (0.01, 0.1):
        (run,) = train_free_embeddings(every_subset(6, 2), dimension=5, settings=FreeEmbeddingSettings(margin=margin))
        assert run.solved
        assert run.check.margin > margin - 1e-6


def test_more_than_a_simplex_allows_is_given_up() -> None:
    # Unit vectors of all pairs of n documents cannot have a margin above n / sqrt(2 (n - 1) (n - 2)): the simplex.
    settings = FreeEmbeddingSettings(margin=6 / np.sqrt(2 * 5 * 4) + 0.01, patience=100, max_steps=2000)
    (run,) = train_free_embeddings(every_subset(6, 2), dimension=5, settings=settings)
    assert not run.solved


def test_the_loss_prefers_what_it_finds_to_the_exact_solution() -> None:
    relevance = every_subset(20, 2)
    wanted = torch.from_numpy(relevance.astype(np.float64))
    queries = np.stack([circle_query(np.flatnonzero(row).tolist(), documents=20, degree=2) for row in relevance])
    exact = torch.from_numpy(queries @ circle_documents(20, degree=2).T)[None]
    (run,) = train_free_embeddings(relevance, dimension=4, settings=FreeEmbeddingSettings(max_steps=1000))
    assert not run.solved
    found = torch.from_numpy((run.queries @ run.documents.T).astype(np.float64))[None]
    losses = [loss_and_gradient(scores, wanted, temperature=0.1)[0].item() for scores in (exact, found)]
    assert losses[1] < losses[0]


def test_starts_are_unit_vectors_of_their_seed() -> None:
    queries, documents = _starts((5, 3), 4, (7, 8))
    again, _ = _starts((5, 3), 4, (8,))
    assert torch.equal(queries[1], again[0])
    assert torch.allclose(documents.norm(dim=2), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("relevance", "dimension", "seeds"),
    [
        (np.zeros((2, 2), bool), 2, (0,)),
        (np.zeros((0, 2), bool), 2, (0,)),
        (np.eye(2, dtype=bool), 0, (0,)),
        (np.eye(2, dtype=bool), 2, ()),
    ],
)
def test_what_cannot_be_trained_is_refused(relevance: np.ndarray, dimension: int, seeds: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="free embedding"):
        train_free_embeddings(relevance, dimension=dimension, seeds=seeds)


@pytest.mark.parametrize(
    "setting", [{"temperature": 0.0}, {"max_steps": 0}, {"margin": 2.0}, {"loss": "other"}, {"patience": -1}]
)
def test_a_setting_out_of_range_is_refused(setting: dict) -> None:
    with pytest.raises(InputError, match="free embedding"):
        FreeEmbeddingSettings(**setting)
