"""The loss adapter against the stock loss of sentence-transformers, and its own masks."""

from __future__ import annotations

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from embedworks.data import Pairs
from embedworks.objectives import InfoNCE
from embedworks.training import ContrastiveLoss
from embedworks.training.batches import PairBatches


def gradients_of(loss: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def collate(model, pairs: Pairs, rows: list[int], **changes) -> tuple[list[dict], dict]:
    options = {"batch_size": len(rows), "total_steps": 1, "hard_negatives": 4, "mini_batch_size": None, "seed": 0}
    batch = PairBatches(pairs, model.preprocess, **(options | changes)).collate(rows)
    parts: dict[str, dict] = {}
    for key, value in batch.items():
        if key.startswith("part"):
            name, _, feature = key.partition("_")
            parts.setdefault(name, {})[feature] = value
    return list(parts.values()), batch["label"]


@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("temperature", [0.05, 0.01])
@pytest.mark.parametrize("symmetric", [False, True])
def test_equal_to_multiple_negatives_ranking_loss(tiny_model, pairs, columns, temperature, symmetric):
    model = tiny_model().eval().double()  # no dropout: the two may encode in another order
    texts = [pairs.queries[:8], pairs.positives[:8], pairs.queries[8:16], pairs.positives[8:16]][:columns]
    directions = ("query_to_doc", "doc_to_query") if symmetric else ("query_to_doc",)
    theirs = MultipleNegativesRankingLoss(
        model, scale=1 / temperature, directions=directions, partition_mode="per_direction" if symmetric else "joint"
    )
    ours = ContrastiveLoss(model, InfoNCE(temperature, symmetric=symmetric))
    expected = theirs([model.preprocess(column) for column in texts], None)
    found = ours([model.preprocess(column) for column in texts], None)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradients_of(found, model), gradients_of(expected, model), rtol=1e-9, atol=1e-9)

    negatives = None if columns == 2 else [list(row) for row in zip(*texts[2:], strict=True)]
    parts, label = collate(model, Pairs.from_columns(*texts[:2], negatives=negatives), list(range(8)))
    torch.testing.assert_close(ours(parts, label), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mini_batch_size", [1, 4, 7, 64])
def test_cached_parts_equal_the_whole_batch(tiny_model, pairs, mini_batch_size):
    model = tiny_model().eval()
    plain = ContrastiveLoss(model, InfoNCE())(*collate(model, pairs, list(range(8))))
    parts, label = collate(model, pairs, list(range(8)), mini_batch_size=mini_batch_size)
    cached = ContrastiveLoss(model, InfoNCE(), cached=True)(parts, label)
    torch.testing.assert_close(cached, plain, rtol=0, atol=1e-6)
    torch.testing.assert_close(gradients_of(cached, model), gradients_of(plain, model), rtol=1e-5, atol=1e-5)


def test_cached_equals_plain_to_the_bit_with_dropout(tiny_model, pairs):
    model = tiny_model().train()
    parts, label = collate(model, pairs, list(range(8)), mini_batch_size=5)
    found = []
    for cached in (False, True):
        torch.manual_seed(3)
        loss = ContrastiveLoss(model, InfoNCE(), cached=cached)(parts, label)
        found.append((loss.detach(), gradients_of(loss, model)))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=1e-6)


def test_texts_that_mean_the_same_are_no_negatives(tiny_model):
    model = tiny_model().eval()
    # Row 1 asks what row 0 asks, row 2's hard negative is row 0's positive, row 3's positive is row 2's query.
    pairs = Pairs.from_columns(
        ["w1 w2", "w1 w2", "w3", "w4"],
        ["w5", "w6", "w7", "w3"],
        negatives=[["w6", "w8"], [], ["w5"], []],
    )
    vectors = {t: model.encode([t], convert_to_tensor=True, normalize_embeddings=True)[0] for t in
               {*pairs.queries, *pairs.positives, "w8"}}  # fmt: skip
    allowed = [["w5", "w7", "w3", "w8"], ["w6", "w7", "w3", "w8"], ["w7", "w5", "w6", "w6", "w8", "w5"],
               ["w3", "w5", "w6", "w7", "w6", "w8", "w5"]]  # fmt: skip
    losses = []
    for query, texts in zip(pairs.queries, allowed, strict=True):
        logits = torch.stack([vectors[query] @ vectors[text] / 0.05 for text in texts])
        losses.append(torch.logsumexp(logits, 0) - logits[0])
    found = ContrastiveLoss(model, InfoNCE())(*collate(model, pairs, [0, 1, 2, 3]))
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cached", [False, True])
def test_without_in_batch_negatives_a_query_sees_its_own_hard_negatives_alone(tiny_model, pairs, cached):
    model = tiny_model().eval()
    rows = [1, 2, 3, 4, 7]  # with 1, 2, 3, 0 and 3 negatives
    loss = ContrastiveLoss(model, InfoNCE(), in_batch_negatives="off", cached=cached)
    sizes = {"mini_batch_size": 3 if cached else None}
    whole = loss(*collate(model, pairs, rows, **sizes))

    def vector(text: str) -> torch.Tensor:
        return torch.nn.functional.normalize(model(model.preprocess([text]))["sentence_embedding"][0], dim=0)

    by_hand = []
    for row in rows:
        texts = [pairs.positives[row], *pairs.negatives[row]]
        logits = torch.stack([vector(pairs.queries[row]) @ vector(text) / 0.05 for text in texts])
        by_hand.append(torch.logsumexp(logits, 0) - logits[0])
    assert by_hand[3] == 0  # it has none, so there is nothing to tell its positive from
    expected = torch.stack(by_hand).mean()
    torch.testing.assert_close(whole, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients_of(whole, model), gradients_of(expected, model), rtol=1e-4, atol=1e-4)

    # Other batch-mates change nothing: the loss of a batch is the mean of the losses of its rows alone.
    alone = torch.stack([loss(*collate(model, pairs, [row], **sizes)) for row in rows])
    torch.testing.assert_close(whole, alone.mean(), rtol=1e-5, atol=1e-6)


def test_without_in_batch_negatives_columns_of_a_stock_collator_see_their_own_row_alone(tiny_model, pairs):
    model = tiny_model().eval()
    columns = [pairs.queries[:4], pairs.positives[:4], pairs.queries[4:8], pairs.positives[4:8]]
    loss = ContrastiveLoss(model, InfoNCE(), in_batch_negatives="off")
    whole = loss([model.preprocess(column) for column in columns], None)
    alone = [loss([model.preprocess([column[row]]) for column in columns], None) for row in range(4)]
    torch.testing.assert_close(whole, torch.stack(alone).mean(), rtol=1e-5, atol=1e-6)
    assert whole > 0


def test_all_in_batch_negatives_are_taken_whatever_they_mean(tiny_model):
    model = tiny_model().eval()
    # Two classes and their label texts: row 2's positive is row 0's own.
    pairs = Pairs.from_columns(["w1", "w2", "w3"], ["w8", "w9", "w8"])

    def loss(kind) -> torch.Tensor:
        return ContrastiveLoss(model, InfoNCE(), in_batch_negatives=kind)(*collate(model, pairs, [0, 1, 2]))

    query, positive = (model.encode(t, convert_to_tensor=True, normalize_embeddings=True)
                       for t in (pairs.queries, pairs.positives))  # fmt: skip
    published = torch.nn.functional.cross_entropy(query @ positive.T / 0.05, torch.arange(3))
    torch.testing.assert_close(loss("all"), published, rtol=1e-5, atol=1e-6)
    double = torch.tensor([[False, False, True], [False] * 3, [True, False, False]])
    masked = (query @ positive.T / 0.05).masked_fill(double, -torch.inf)
    expected = torch.nn.functional.cross_entropy(masked, torch.arange(3))
    torch.testing.assert_close(loss("masked"), expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_near_float32_and_leaves_a_float32_loss(tiny_model, pairs):
    model = tiny_model().eval()
    batch = collate(model, pairs, list(range(8)))
    single = ContrastiveLoss(model, InfoNCE())(*batch)
    half = ContrastiveLoss(model, InfoNCE(), precision="bfloat16")(*batch)
    assert half.dtype == torch.float32
    assert half != single
    assert abs(half - single) < 0.1
