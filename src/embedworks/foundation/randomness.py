"""Seeds: every random draw comes from a generator whose seed is written down."""

from __future__ import annotations

import hashlib
import random

import numpy as np


def random_generator(seed: int, *path: str | int) -> np.random.Generator:
    """Return the generator of one purpose within a seeded run, independent of all others and of the process.

    Args:
        seed: The run's seed.
        path: Names and numbers of the purpose, such as ``"bootstrap", 3``.

    Example:
        >>> bool(random_generator(1, "split").random() == random_generator(1, "split").random())
        True
    """
    digest = hashlib.sha256("/".join(map(str, path)).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch, for libraries that draw from them."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - sentence-transformers and scikit-learn draw from the global state
    torch.manual_seed(seed)
