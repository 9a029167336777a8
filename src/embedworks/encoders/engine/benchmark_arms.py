"""The arms of the benchmark, and what bounds them: the bare matrix products of the same tokens."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedworks.encoders.engine.batching import default_batch_tokens, token_batches
from embedworks.encoders.engine.packing import PackedLinear, packing_works

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]
Work = Callable[[list[str]], Vectors | None]


@dataclass(frozen=True)
class Timing:
    """One arm in one round: seconds of the wall and of the processor, and page faults."""

    wall: float
    cpu: float
    page_faults: int


def timed(work: Work, texts: list[str]) -> tuple[Timing, Vectors | None]:
    """Run an arm once."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    wall, cpu = time.perf_counter(), time.process_time()
    vectors = work(texts)
    timing = Timing(time.perf_counter() - wall, time.process_time() - cpu, 0)
    return Timing(timing.wall, timing.cpu, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults), vectors


def token_lengths(model: SentenceTransformer, texts: list[str]) -> NDArray[np.int64]:
    """Return how many tokens the model reads of each text."""
    tokenizer: Any = model.tokenizer
    return np.asarray([len(ids) for ids in tokenizer(texts, truncation=True)["input_ids"]], dtype=np.int64)


def librarys_padding(texts: list[str], lengths: NDArray[np.int64], *, rows: int) -> float:
    """Return the padding ratio of batches of equal row counts, ordered by characters."""
    order = np.argsort([-len(text) for text in texts])
    padded = sum(
        len(order[start : start + rows]) * int(lengths[order[start : start + rows]].max())
        for start in range(0, len(order), rows)
    )
    return padded / int(lengths.sum())


def flops(model: SentenceTransformer, lengths: NDArray[np.int64]) -> float:
    """Return the floating-point operations of a forward pass without padding.

    ``2 L (4 d^2 + 2 d f) + 4 L n d`` a token, for L layers, width d, inner width f and n tokens in the text.
    """
    layers, width, inner = _sizes(model)
    tokens = float(lengths.sum())
    squared = float((lengths.astype(np.float64) ** 2).sum())
    return 2 * layers * (4 * width**2 + 2 * width * inner) * tokens + 4 * layers * width * squared


def roofline(model: SentenceTransformer, dtype: torch.dtype) -> Work:
    """Return an arm that does the matrix products of a forward pass and nothing else, at the best known shape.

    No padding between texts, no embedding, normalisation, activation, softmax, residual, pooling; packed weights where
    they exist.
    """
    layers, width, inner = _sizes(model)
    configuration: Any = model.config
    heads = int(configuration.num_attention_heads)
    block = default_batch_tokens(torch.device("cpu"))
    shapes = [(width, width)] * 4 + [(width, inner), (inner, width)]
    weights = [torch.full((outer, before), 0.01, dtype=dtype) for before, outer in shapes]
    linears: list[torch.nn.Module] = []
    for weight in weights:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = torch.nn.Parameter(weight, requires_grad=False)
        linears.append(PackedLinear(linear) if packing_works(dtype) else linear)
    rows = {size: torch.full((block, size), 0.01, dtype=dtype) for size in (width, inner)}

    def work(texts: list[str]) -> None:
        lengths = token_lengths(model, texts)
        with torch.inference_mode():
            for _ in range(layers):
                left = int(lengths.sum())
                while left > 0:
                    count = min(left, block)
                    for linear in linears:
                        linear(rows[linear.in_features][:count])  # type: ignore[index]
                    left -= count
                for group in token_batches(lengths, budget=block):
                    longest = int(lengths[group].max())
                    states = torch.full((len(group) * heads, longest, width // heads), 0.01, dtype=dtype)
                    scores = torch.bmm(states, states.transpose(1, 2))
                    torch.bmm(scores, states)

    return work


def _sizes(model: SentenceTransformer) -> tuple[int, int, int]:
    config: Any = model.config
    return int(config.num_hidden_layers), int(config.hidden_size), int(config.intermediate_size)
