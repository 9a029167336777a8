"""How an evaluation asks an encoder for vectors: by the role of the text where the encoder tells roles apart."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, NonFiniteError
from embedworks.foundation.protocols import Encoder

Role = Literal["item", "query", "document"]


def encode_items(
    encoder: Encoder, texts: Sequence[str], *, role: Role = "item", progress: bool = False
) -> NDArray[np.float32]:
    """Encode texts and refuse what is no matrix of finite numbers.

    Args:
        encoder: Anything with ``encode``. Where it also has ``encode_query`` or ``encode_document``, queries and
            documents go through these.
        texts: Texts, all at once, so that the encoder can sort them by length and encode repeated ones once.
        role: What the texts are.
        progress: Whether to show the encoder's own progress bar, if it has one.

    Returns:
        Vectors, shape (len(texts), d).

    Raises:
        InputError: The encoder returned another shape.
        NonFiniteError: A vector holds NaN or infinity.
    """
    function: Any = encoder.encode
    if role != "item":
        function = getattr(encoder, f"encode_{role}", function)
    options: dict[str, Any] = {}
    if progress and "progress" in inspect.signature(function).parameters:
        options["progress"] = True
    vectors = np.asarray(function(list(texts), **options))
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise InputError(
            f"the encoder returned shape {vectors.shape} for {len(texts)} texts",
            where=type(encoder).__name__,
            mend="encode must return one vector a text, shape (n, d)",
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise NonFiniteError(
            "the encoder returned NaN or infinity",
            where=f"{type(encoder).__name__}, {role} {int(np.argmin(finite))}",
            mend="check the model's weights and precision",
        )
    return vectors.astype(np.float32, copy=False)


class RememberingEncoder:
    """An encoder that keeps what it encoded, so that several protocols over the same texts encode each text once.

    Args:
        encoder: Asked only for texts not seen before; texts are encoded as items, whatever their role.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._row_of: dict[str, int] = {}
        self._vectors: NDArray[np.float32] = np.empty((0, encoder.dimension), np.float32)

    @property
    def dimension(self) -> int:
        """Number of components of every vector."""
        return self._encoder.dimension

    def encode(self, items: Sequence[str], *, progress: bool = False) -> NDArray[np.float32]:
        """Return one vector an item, shape (len(items), dimension).

        Args:
            items: Texts.
            progress: Whether to show the encoder's own progress bar.
        """
        unseen = [text for text in dict.fromkeys(items) if text not in self._row_of]
        if unseen:
            vectors = encode_items(self._encoder, unseen, progress=progress)
            self._row_of.update({text: len(self._vectors) + row for row, text in enumerate(unseen)})
            self._vectors = np.concatenate([self._vectors, vectors])
        return self._vectors[[self._row_of[text] for text in items]]
