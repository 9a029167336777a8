"""Pooling without parameters, by its plain names: sentence-transformers' own Pooling, which any tool can load."""

from __future__ import annotations

from typing import Final, Literal

from sentence_transformers.sentence_transformer.modules import Pooling

StockPoolingName = Literal["mean", "last-token", "weighted-mean", "cls"]

STOCK_POOLING_MODES: Final[dict[str, str]] = {
    "mean": "mean",
    "last-token": "lasttoken",
    "weighted-mean": "weightedmean",
    "cls": "cls",
}
"""Our names of pooling without parameters, and what sentence-transformers calls them."""


def stock_pooling(name: str, dimension: int) -> Pooling:
    """Return the stock pooling layer of a name; all four work with padding on either side.

    Args:
        name: ``mean`` over the real tokens; ``last-token``; ``weighted-mean``, token t with weight t (counted from
            the first real token); ``cls``, the first real token.
        dimension: Width of the backbone's states.

    Example:
        >>> stock_pooling("last-token", 8).pooling_mode
        'lasttoken'
    """
    layer: Pooling = Pooling(dimension, pooling_mode=STOCK_POOLING_MODES[name])
    return layer
