"""Masks of false negatives against the definition, one candidate at a time."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from embedworks.objectives import InfoNCE, false_negative_mask, other_rows_mask, same_class_mask


@given(seed=st.integers(0, 100_000), b=st.integers(1, 7), m=st.integers(0, 3))
def test_by_id_equals_the_definition(seed, b, m):
    generator = torch.Generator().manual_seed(seed)
    queries, positives = (torch.randint(0, 4, (b,), generator=generator) for _ in range(2))
    negatives = torch.randint(0, 4, (b, m), generator=generator)
    mask = false_negative_mask(queries, positives, negatives)
    candidates = positives.tolist() + negatives.flatten().tolist()
    for i in range(b):
        known = {positives[j].item() for j in range(b) if queries[j] == queries[i]}
        assert mask[i].tolist() == [c in known and k != i for k, c in enumerate(candidates)]


@given(seed=st.integers(0, 100_000), b=st.integers(1, 7), m=st.integers(0, 3))
def test_by_class_equals_the_definition(seed, b, m):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (b,), generator=generator)
    negatives = torch.randint(0, 3, (b, m), generator=generator)
    mask = same_class_mask(labels, negatives)
    candidates = labels.tolist() + negatives.flatten().tolist()
    for i in range(b):
        assert mask[i].tolist() == [c == labels[i] and k != i for k, c in enumerate(candidates)]


def test_a_duplicate_of_the_positive_among_the_negatives_costs_nothing():
    query, positive = torch.eye(2), torch.eye(2)
    negatives = torch.stack([positive[0], torch.tensor([-1.0, 0.0])])[:, None]  # row 0 has its own positive
    mask = false_negative_mask(torch.tensor([0, 1]), torch.tensor([5, 6]), torch.tensor([[5], [9]]))
    assert mask.int().tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]
    masked = InfoNCE(1.0)(query, positive, negatives, excluded=mask)
    one_row_less = InfoNCE(1.0)(query, positive, negatives, present=torch.tensor([[False], [True]]))
    own_loss_of_row_1 = torch.logsumexp(torch.tensor([0.0, 1.0, 0.0, 0.0]), 0) - 1
    without = torch.logsumexp(torch.tensor([0.0, 1.0, 0.0]), 0) - 1
    torch.testing.assert_close(2 * (masked - one_row_less), own_loss_of_row_1 - without)


def test_by_id_without_hard_negatives_keeps_the_diagonal():
    ids = torch.zeros(4, dtype=torch.int64)
    assert torch.equal(false_negative_mask(ids, ids), ~torch.eye(4, dtype=torch.bool))


@given(b=st.integers(1, 5), m=st.integers(0, 3), positives=st.booleans())
def test_other_rows_equal_the_definition_and_switch_in_batch_negatives_off(b, m, positives):
    mask = other_rows_mask(b, m, positives=positives)
    owners = [(j, True) for j in range(b)] + [(j, False) for j in range(b) for _ in range(m)]
    for i in range(b):
        assert mask[i].tolist() == [j != i and (positives or not is_positive) for j, is_positive in owners]
    generator = torch.Generator().manual_seed(b)
    query, positive, negatives = (torch.randn(*s, 4, generator=generator) for s in [(b,), (b,), (b, m)])
    alone = [InfoNCE(0.1)(query[i : i + 1], positive[i : i + 1], negatives[i : i + 1]) for i in range(b)]
    off = InfoNCE(0.1)(query, positive, negatives, excluded=other_rows_mask(b, m))
    torch.testing.assert_close(off, torch.stack(alone).mean(), rtol=1e-5, atol=1e-5)
