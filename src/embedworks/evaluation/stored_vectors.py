"""An encoder whose vectors were computed before: for judging what is no model, such as one layer of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError


class StoredVectors:
    """Looks vectors up by their text; satisfies :class:`embedworks.foundation.protocols.Encoder`.

    Args:
        texts: Distinct texts, n of them.
        vectors: Shape (n, d), float32.

    Raises:
        InputError: The numbers differ, or a text stands twice.

    Example:
        >>> stored = StoredVectors(["a", "b"], np.eye(2, dtype=np.float32))
        >>> stored.encode(["b", "b"]).tolist()
        [[0.0, 1.0], [0.0, 1.0]]
    """

    def __init__(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        self._row_of = {text: row for row, text in enumerate(texts)}
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise InputError(f"vectors of shape {vectors.shape} for {len(texts)} texts", where="stored vectors")
        if len(self._row_of) != len(texts):
            raise InputError("a text stands twice", where="stored vectors", mend="store each text once")
        self._vectors = vectors

    @property
    def dimension(self) -> int:
        """Number of components of every vector."""
        return int(self._vectors.shape[1])

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return the stored vectors, shape (len(items), dimension).

        Raises:
            InputError: A text was not stored.
        """
        missing = next((text for text in items if text not in self._row_of), None)
        if missing is not None:
            raise InputError(f"no vector is stored for {missing[:60]!r}", where="stored vectors")
        return self._vectors[[self._row_of[text] for text in items]]
