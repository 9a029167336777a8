"""One matrix a text: the last layer's token states, for scores of many vectors a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.modules import Transformer

from embedworks.encoders.engine.inference import evaluating
from embedworks.encoders.text_encoder import TextEncoder
from embedworks.encoders.token_states import padded_states
from embedworks.foundation import InputError, NonFiniteError, progress_bar


def token_vectors(
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    prompt: str | None = None,
    drop_special: bool = False,
    dtype: type[np.floating] = np.float32,
    batch_size: int = 64,
    progress: bool = False,
) -> list[NDArray[np.floating]]:
    """Encode texts to one vector a token, as the late-interaction scores of ``evaluation`` take them.

    Args:
        encoder: An encoder whose first module is a transformer; what follows it is not used.
        texts: Texts; longer ones than the encoder takes are cut.
        prompt: Put before every text. Its tokens are among the vectors, unless the encoder leaves instructions out of
            its pooling.
        drop_special: Leave out special tokens, except where a text has no others.
        dtype: Type of the vectors; ``numpy.float16`` halves the memory of a kept set of documents.
        batch_size: Texts a batch; batches hold texts of similar length.
        progress: Whether to show a progress bar.

    Returns:
        Matrices of shape (tokens of the text, d), in the order of the texts, not normalised.

    Raises:
        InputError: Something that is not a text, or no transformer, or a batch size below 1.
        NonFiniteError: A vector is NaN or infinite, or does not fit ``dtype``.
    """
    transformer: Any = encoder.model[0]
    if not isinstance(transformer, Transformer):
        raise InputError(f"the first module is {type(transformer).__name__}, not a transformer", where="token vectors")
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise InputError("the texts are not all strings", where="token vectors", mend="give a list of str")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}", where="token vectors", mend="give a number of at least 1")
    special = torch.tensor(sorted(transformer.tokenizer.all_special_ids if drop_special else []), dtype=torch.int64)
    order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
    found: list[NDArray[np.floating]] = [np.empty((0, 0), dtype)] * len(texts)
    with (
        progress_bar("Reading tokens", len(texts), unit="texts", enabled=progress) as advance,
        evaluating(encoder.model),
        torch.inference_mode(),
    ):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            matrices = _matrices(transformer, [texts[place] for place in chosen], prompt, special)
            for place, matrix in zip(chosen, matrices, strict=True):
                with np.errstate(over="ignore"):
                    found[place] = matrix.astype(dtype)
                if not np.isfinite(found[place]).all():
                    name = np.dtype(dtype).name
                    raise NonFiniteError(f"a token's vector holds NaN or infinity in {name}", where=f"text {place}")
            advance(len(chosen))
    return found


def _matrices(
    transformer: Any, texts: list[str], prompt: str | None, special: torch.Tensor
) -> list[NDArray[np.floating]]:
    device = next(transformer.parameters()).device
    features = {
        name: value.to(device) if isinstance(value, torch.Tensor) else value
        for name, value in transformer.preprocess(texts, prompt=prompt).items()
    }
    ids = features["input_ids"]
    features = transformer(features)
    states, mask = padded_states(features["token_embeddings"], features)
    if len(special):
        ids, _ = padded_states(ids[..., None], features)
        plain = mask & ~torch.isin(ids[..., 0], special.to(device))
        mask = torch.where(plain.any(dim=1, keepdim=True), plain, mask)
    states = states.float().cpu()
    return [rows[kept].numpy() for rows, kept in zip(states, mask.cpu(), strict=True)]
