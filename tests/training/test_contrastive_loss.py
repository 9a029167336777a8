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


def test_bfloat16_is_near_float32_and_leaves_a_float32_loss(tiny_model, pairs):
    model = tiny_model().eval()
    batch = collate(model, pairs, list(range(8)))
    single = ContrastiveLoss(model, InfoNCE())(*batch)
    half = ContrastiveLoss(model, InfoNCE(), precision="bfloat16")(*batch)
    assert half.dtype == torch.float32
    assert half != single
    assert abs(half - single) < 0.1
