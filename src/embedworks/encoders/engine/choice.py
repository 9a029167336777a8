"""The choice of a run: which form of the model computes, in which precision, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from embedworks.encoders.engine.inference import (
    Forward,
    can_be_copied,
    own_precision,
    plain_forward,
    prepared_copy,
    prepared_forward,
)
from embedworks.encoders.engine.packing import packing_works
from embedworks.encoders.engine.precision import LEAST_COSINE, half_precision, least_cosine
from embedworks.encoders.engine.report import ComputePrecision, Precision, Settled
from embedworks.encoders.engine.tokens import TokenWindow

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger(__name__)

_FIRST_SAMPLE: Final = (32, 4, 16)
_LATER_SAMPLE: Final = (128, 1, 4)
"""One text in how many is computed both ways, how many at least, how many at most."""
_FEW_TOKENS: Final = 2048
"""Below this a converted copy and its check cost more than they save; a single query stays as quick as it can be."""


@dataclass(frozen=True)
class Choice(Settled):
    """What a run settled on, with the means to compute.

    Args:
        forward: Features to vectors.
    """

    forward: Forward


def choose(model: SentenceTransformer, window: TokenWindow, requested: Precision) -> Choice:
    """Choose for a run, from what was asked for, the hardware, and the first window of texts.

    Half precision is taken only after some of the texts, of all lengths, were computed both ways and every cosine is at
    least 0.999: one in 32, at least 4, at most 16. A copy that has passed on 16 is tried on fewer of later texts.
    """
    own = own_precision(model)
    if not can_be_copied(model):
        return Choice(own, "this kind of model computes as it is", None, plain_forward(model))
    if requested == "float32":
        return _in_float32(model, window, "asked for")
    half = half_precision(model.device)
    if half is None or (requested == "bfloat16" and half != "bfloat16"):
        reason = f"the {model.device.type} has no native bfloat16"
        if requested == "bfloat16":
            logger.warning("computing in float32: %s", reason)
        return _in_float32(model, window, reason)
    if own == half:
        return Choice(
            own, "the precision of the model's own weights", None, prepared_forward(model, prepared_copy(model, own))
        )
    if requested == "auto" and window.tokens < _FEW_TOKENS:
        return _in_float32(model, window, "too few tokens for a conversion to pay")
    return _verified(model, window, half)


def chosen_before(model: SentenceTransformer, window: TokenWindow, earlier: Settled) -> Choice:
    """Choose as an earlier run did, so that a resumed run goes on with the same numbers."""
    if not can_be_copied(model):
        forward = plain_forward(model)
    elif earlier.precision == "float32":
        forward = _float32_forward(model, window)
    else:
        forward = prepared_forward(model, prepared_copy(model, earlier.precision))
    return Choice(earlier.precision, earlier.reason, earlier.minimum_cosine, forward)


def _in_float32(model: SentenceTransformer, window: TokenWindow, reason: str) -> Choice:
    return Choice("float32", reason, None, _float32_forward(model, window))


def _float32_forward(model: SentenceTransformer, window: TokenWindow) -> Forward:
    plain = own_precision(model) == "float32"
    if plain and (window.tokens < _FEW_TOKENS or model.device.type != "cpu" or not packing_works(torch.float32)):
        return plain_forward(model)
    return prepared_forward(model, prepared_copy(model, "float32"))


def _verified(model: SentenceTransformer, window: TokenWindow, half: ComputePrecision) -> Choice:
    reference = _float32_forward(model, window)
    copy = prepared_copy(model, half)
    candidate = prepared_forward(model, copy)
    one_in, least, most = _FIRST_SAMPLE if copy.verified < _FIRST_SAMPLE[2] else _LATER_SAMPLE
    count = min(max(least, len(window.owner) // one_in), most)
    sample = [window.features(np.asarray([piece])) for piece in window.sample(count)]
    try:
        cosine = min(least_cosine(candidate(dict(one)), reference(dict(one))) for one in sample)
    except RuntimeError as error:  # an operation that half precision does not have
        logger.warning("computing in float32: the model does not run in %s: %s", half, str(error).splitlines()[0])
        return Choice("float32", f"the model does not run in {half}", None, reference)
    if cosine < LEAST_COSINE:
        reason = f"in {half} the least cosine to float32 is {cosine:.5f} on {len(sample)} of the texts"
        logger.warning("computing in float32: %s", reason)
        return Choice("float32", reason, cosine, reference)
    copy.verified += len(sample)
    return Choice(half, f"verified against float32 on {len(sample)} of the texts", cosine, candidate)
