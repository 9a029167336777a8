"""What the rooms know of a model: a few attributes, never a class by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Encoder(Protocol):
    """Anything that turns items into vectors; a person's own object with these two attributes works everywhere."""

    @property
    def dimension(self) -> int:
        """Number of components of every vector."""
        ...

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return one float32 vector an item, shape (len(items), dimension), in the order of the items."""
        ...
