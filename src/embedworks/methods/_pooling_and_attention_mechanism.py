"""The exact part of pooling-and-attention: what must hold whatever the weights, checked on a small random decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embedworks.methods._report import Finding, verdict_of_check
from embedworks.methods.pooling_and_attention import DESIGNS, Config, build_design

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

FIVE = tuple(name for name, design in DESIGNS.items() if design.model is not None)
"""The designs of the paper, Models 1 to 5."""

_TEXTS = (
    "a grey cat sleeps",
    "the train to the coast leaves at nine and arrives shortly before noon",
    "no",
    "rain fell for most of the week, so the match was moved to the following month",
)


def random_decoder(folder: Path, *, layers: int = 3, dimension: int = 32) -> Path:
    """Write a small decoder with random weights, and a tokenizer, into a folder, and return the folder."""
    from transformers import AutoModel

    from embedworks.encoders import decoder_config, train_tokenizer
    from embedworks.encoders.library_bars import without_library_bars

    tokenizer = train_tokenizer(_TEXTS, vocabulary=320, max_length=64)
    config = decoder_config(vocabulary=len(tokenizer), layers=layers, dimension=dimension, heads=4, max_length=64)
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    # The usual small initial weights would leave every state close to its token's embedding and hide an error.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    with without_library_bars():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def tiny_config(folder: Path, design: Any, **changes: Any) -> Config:
    """Return settings of a design on the random decoder."""
    from dataclasses import replace

    small = replace(Config.small(), backbone=str(folder), design=design, heads=4, latents=8)
    return replace(small, **changes)


def single_row_deviation(folder: Path) -> tuple[float, float]:
    """Return how far attention over one row is from 1, and how far new query weights move the vector.

    Measured on Model 2 as released, whose pooler sees the last token only.
    """
    import torch

    encoder = build_design(tiny_config(folder, "last-layer-causal", last_layer_scope="eos"))
    pooler: Any = encoder.model[1]
    rows = torch.randn(5, 1, encoder.dimension, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        weights = pooler.attention.attention(rows, torch.ones(5, 1, dtype=torch.bool))
        before = _vectors(encoder, list(_TEXTS))
        pooler.attention.to_queries.weight.normal_(generator=torch.Generator().manual_seed(2))
        after = _vectors(encoder, list(_TEXTS))
    return float((weights - 1).abs().max()), float((after - before).abs().max())


def padding_deviation(folder: Path) -> float:
    """Return the largest change of a vector by padding, over the five designs and both sides."""
    import torch

    largest = 0.0
    for design in FIVE:
        encoder = build_design(tiny_config(folder, design))
        for side in ("left", "right"):
            encoder.model.tokenizer.padding_side = side
            together = _vectors(encoder, list(_TEXTS))
            alone = torch.cat([_vectors(encoder, [text]) for text in _TEXTS])
            largest = max(largest, float((together - alone).abs().max()))
    return largest


def reaction_to_later_tokens(folder: Path) -> tuple[float, float]:
    """Return how earlier states react to the last token, with and without padding.

    The largest reaction under the causal mask, and the smallest under the bidirectional one.
    """
    import torch

    causal, bidirectional = 0.0, float("inf")
    for design in ("eos-causal", "last-layer-bidirectional"):
        model: Any = build_design(tiny_config(folder, design)).model.transformers_model
        ids = torch.arange(10, 16).repeat(2, 1)
        ids[1, -1] = 99  # the two texts differ in the last token only
        for padding in (0, 2):
            filler = torch.zeros(2, padding, dtype=ids.dtype)
            mask = torch.cat([torch.zeros_like(filler), torch.ones_like(ids)], dim=1)
            with torch.no_grad():
                states = model(input_ids=torch.cat([filler, ids], dim=1), attention_mask=mask).last_hidden_state
            reaction = (states[0] - states[1]).abs().amax(dim=-1)[padding:-1]  # (tokens before the last,)
            if design == "eos-causal":
                causal = max(causal, float(reaction.max()))
            else:
                bidirectional = min(bidirectional, float(reaction.min()))
    return causal, bidirectional


def extra_parameters(folder: Path) -> dict[str, int]:
    """Return how many parameters Models 3 and 5 have beyond Models 2 and 4, and the product of layers and width."""
    count = {
        DESIGNS[name].model: sum(p.numel() for p in build_design(tiny_config(folder, name)).model.parameters())
        for name in FIVE
    }
    return {
        "model_3_minus_2": count[3] - count[2],
        "model_5_minus_4": count[5] - count[4],
        "layers_times_width": 3 * 32,
    }


def mechanism_findings(folder: Path) -> list[Finding]:
    """Run the four checks.

    Args:
        folder: An empty folder for the random decoder.
    """
    random_decoder(folder)
    attention, movement = single_row_deviation(folder)
    padding = padding_deviation(folder)
    causal, bidirectional = reaction_to_later_tokens(folder)
    extra = extra_parameters(folder)
    product = extra["layers_times_width"]
    return [
        Finding(
            name="one-row-attention",
            claim="With one row to read, the pooler's attention is identically 1 and W_q has no effect (within 1e-6)",
            measured={"largest_deviation_from_1": attention, "largest_change_of_a_vector": movement},
            verdict=verdict_of_check(max(attention, movement), 1e-6),
        ),
        Finding(
            name="padding",
            claim="Padded and unpadded vectors agree within 1e-5 in all five designs, padded left and right",
            measured={"largest_deviation": padding},
            verdict=verdict_of_check(padding, 1e-5),
        ),
        Finding(
            name="attention-direction",
            claim="Changing the last token leaves all earlier states unchanged under the causal mask (within 1e-6) and "
            "changes every one of them under the bidirectional mask (by more than 1e-4)",
            measured={"largest_change_causal": causal, "smallest_change_bidirectional": bidirectional},
            # Both halves on one scale: the second is in order when 1e-4 / change is below 1.
            verdict=verdict_of_check(max(causal / 1e-6, 1e-4 / max(bidirectional, 1e-30)), 1.0),
        ),
        Finding(
            name="layer-weights",
            claim="Multi-layer designs have exactly layers times width parameters more than last-layer ones",
            measured=extra,
            verdict=verdict_of_check(
                max(abs(extra["model_3_minus_2"] - product), abs(extra["model_5_minus_4"] - product)), 0
            ),
        ),
    ]


def _vectors(encoder: Any, texts: list[str]) -> Tensor:
    import torch

    with torch.no_grad():
        vectors: Tensor = encoder.model(encoder.model.preprocess(texts))["sentence_embedding"]
    return vectors
