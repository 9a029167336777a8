"""Generators of different purposes are independent, and of the same purpose equal."""

from __future__ import annotations

import random

import numpy as np
import torch

from embedworks.foundation.randomness import random_generator, seed_everything


def test_purpose_and_seed_fix_the_stream() -> None:
    first = random_generator(7, "split", 1).integers(0, 1 << 30, 8)
    assert np.array_equal(first, random_generator(7, "split", 1).integers(0, 1 << 30, 8))
    for other in (random_generator(7, "split", 2), random_generator(8, "split", 1), random_generator(7, "mine", 1)):
        assert not np.array_equal(first, other.integers(0, 1 << 30, 8))


def test_global_generators_are_seeded() -> None:
    draws = []
    for _ in range(2):
        seed_everything(3)
        draws.append((random.random(), np.random.random(), float(torch.rand(()))))  # noqa: NPY002
    assert draws[0] == draws[1]
