"""One vector a text from every hidden layer: what the layers of a backbone know before anything pools them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.modules import Transformer

from embedworks.encoders.direction import attention_direction
from embedworks.encoders.multi_layer import LayerSummary
from embedworks.encoders.text_encoder import TextEncoder
from embedworks.encoders.token_states import last_token, masked_mean, padded_states
from embedworks.foundation import InputError, NonFiniteError, progress_bar


class LayerVectors(NamedTuple):
    """The vectors of one layer.

    Attributes:
        layer: 0 for the embedding output, 1 to L for the hidden layers.
        is_embedding_output: True for layer 0, which is no hidden layer and takes no part in multi-layer pooling.
        vectors: Shape (n, d), float32, not normalised, in the order of the texts.
    """

    layer: int
    is_embedding_output: bool
    vectors: NDArray[np.float32]


def layer_embeddings(
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    summary: LayerSummary | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> list[LayerVectors]:
    """Encode texts once and return one summary from every layer (layer analysis of arXiv 2409.02727).

    Args:
        encoder: An encoder whose first module is a transformer; what follows it is not used.
        texts: Texts; longer ones than the encoder takes are cut.
        summary: ``"mean"`` over the real tokens or ``"last-token"``; by default the last token under a causal backbone
            and the mean under a bidirectional one.
        batch_size: Texts a batch; batches hold texts of similar length.
        progress: Whether to show a progress bar.

    Returns:
        L + 1 entries, the embedding output first. The last is the state after the backbone's final norm.

    Raises:
        InputError: No text, something that is not a text, or no transformer.
        NonFiniteError: A vector is NaN or infinite.
    """
    transformer = encoder.model[0]
    if not isinstance(transformer, Transformer):
        raise InputError(f"the first module is {type(transformer).__name__}, not a transformer", where="layer analysis")
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError("the texts are empty or not all strings", where="layer analysis", mend="give a list of str")
    if summary is None:
        summary = "last-token" if attention_direction(transformer.model) == "causal" else "mean"
    summarise = masked_mean if summary == "mean" else last_token
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors: list[NDArray[np.float32]] = []
    was_training = transformer.training
    transformer.eval()
    with progress_bar("Reading layers", len(texts), unit="texts", enabled=progress) as advance, torch.no_grad():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            features = _features(transformer, [texts[place] for place in chosen])
            states = transformer.model(**features, output_hidden_states=True).hidden_states
            summaries = [summarise(*padded_states(layer, features)).float().cpu().numpy() for layer in states]
            if not vectors:
                vectors = [np.empty((len(texts), part.shape[1]), dtype=np.float32) for part in summaries]
            for layer, part in zip(vectors, summaries, strict=True):
                layer[chosen] = part
            advance(len(chosen))
    transformer.train(was_training)
    for place, layer in enumerate(vectors):
        if not np.isfinite(layer).all():
            raise NonFiniteError(f"layer {place} holds NaN or infinite vectors", where="layer analysis")
    return [LayerVectors(place, place == 0, layer) for place, layer in enumerate(vectors)]


def _features(transformer: Transformer, texts: list[str]) -> dict[str, Any]:
    tokenizer: Any = transformer.tokenizer
    encoded = tokenizer(
        texts, padding=True, truncation=True, max_length=transformer.max_seq_length, return_tensors="pt"
    )
    device = next(transformer.model.parameters()).device
    return {name: encoded[name].to(device) for name in ("input_ids", "attention_mask")}
