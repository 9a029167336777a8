"""What a run of the engine did: counts, the precision it chose and why, and where the time went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
Overflow = Literal["truncate", "chunk", "error"]
ComputePrecision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Settled:
    """What a run settled on, and its report says.

    Args:
        precision: What the first module computes in.
        reason: Why.
        minimum_cosine: Least cosine to float32 over the sample; None where nothing was verified.
    """

    precision: ComputePrecision
    reason: str
    minimum_cosine: float | None


@dataclass(frozen=True)
class EncodeReport:
    """Counts and times of one run; a resumed run counts what its earlier parts did, but times itself only.

    Args:
        texts: Number of vectors.
        tokens: Tokens that went through the model, special tokens included; duplicates do not go through it again.
        padding_ratio: Tokens computed, padding included, over ``tokens``; 1 is no waste.
        truncated: Number of distinct texts cut to what the model reads; None where the model's own preprocessing,
            which the engine then uses, does not tell.
        duplicates: Number of texts that got the vector of an equal text instead of a forward pass.
        batches: Number of forward passes.
        batch_tokens: The budget of a batch: rows times the longest row.
        precision: What the transformer computed in; results are float32 always.
        precision_reason: Why, in words.
        minimum_cosine: Least cosine to float32 over the verified sample; None where nothing had to be verified.
        resumed: Number of vectors found finished from an earlier run.
        seconds: Wall time of this run.
        assembly_seconds: Part of it spent putting vectors in their places and making them durable.
    """

    texts: int
    tokens: int
    padding_ratio: float
    truncated: int | None
    duplicates: int
    batches: int
    batch_tokens: int
    precision: ComputePrecision
    precision_reason: str
    minimum_cosine: float | None
    resumed: int
    seconds: float
    assembly_seconds: float
