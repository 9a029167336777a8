"""What to compute in: whether the hardware has a half precision of its own, and whether a model bears it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from embedworks.encoders.engine.report import ComputePrecision

LEAST_COSINE: Final = 0.999
"""A half-precision vector must point within 2.6 degrees of the float32 one."""

DTYPES: Final[dict[ComputePrecision, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_LEAST_SPEED_UP: Final = 1.3
_SHAPE: Final = (256, 384, 1536)
_REPEATS: Final = 6


def native_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 matrices in hardware, and faster than float32 ones.

    The flags say whether it can (without them bfloat16 is emulated, many times slower); a measurement of a few
    milliseconds, made once a process, says whether it pays.
    """
    return _bfloat16_flags() and _bfloat16_speed_up() >= _LEAST_SPEED_UP


def half_precision(device: torch.device) -> ComputePrecision | None:
    """Return the half precision a device computes natively, bfloat16 before float16; None where it has none."""
    if device.type == "cpu":
        return "bfloat16" if native_bfloat16() else None
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return None


def least_cosine(candidate: Tensor, reference: Tensor) -> float:
    """Return the least cosine between corresponding rows; -1 where a row is not finite.

    Example:
        >>> least_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]]))
        1.0
    """
    cosines = F.cosine_similarity(candidate.double(), reference.double(), dim=1)
    equal = (candidate == reference).all(dim=1)  # two zero vectors agree, though their cosine is 0
    return float(torch.where(equal, 1.0, cosines).nan_to_num(nan=-1.0).min())


def _bfloat16_flags() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(flag, False) for flag in ("avx512_bf16", "amx_bf16", "bf16"))


@cache
def _bfloat16_speed_up() -> float:
    rows, inner, outer = _SHAPE
    inputs, weight = torch.ones(rows, inner), torch.ones(outer, inner)
    half_inputs, half_weight = inputs.bfloat16(), weight.bfloat16()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine would measure the machine
    try:
        with torch.inference_mode():
            plain = _best_seconds(lambda: F.linear(inputs, weight))
            half = _best_seconds(lambda: F.linear(half_inputs, half_weight))
    finally:
        torch.set_num_threads(threads)
    return plain / half


def _best_seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
