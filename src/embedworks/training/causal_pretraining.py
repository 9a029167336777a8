"""Next-token training of a small causal decoder from plain texts: the untuned backbone that a study starts from.

Where no pretrained language model is at hand, this makes one of the same kind, small enough for two processor cores.
It is kept under the hash of all that went into it, so that a study that starts again finds it ready.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch.nn import functional as F

from embedworks.foundation import (
    LOCAL_FILES,
    InputError,
    NonFiniteError,
    StorageError,
    progress_bar,
    staged_directory,
    verify_directory,
)
from embedworks.foundation.randomness import random_generator

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

LOG = logging.getLogger(__name__)

_RECIPE = 1  # part of the hash: raise it when the same inputs would give another model


@dataclass(frozen=True)
class PretrainingSettings:
    """How long and how fast a decoder is pretrained."""

    steps: int = 1_000
    """Optimiser steps."""
    block_length: int = 128
    """Tokens in one training sequence."""
    batch_blocks: int = 16
    """Training sequences a step."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW: linear warm-up over a tenth of the steps, then cosine decay to a tenth of it."""
    weight_decay: float = 0.1
    """Decoupled weight decay of the matrices."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What matrix products run in; weights, loss and optimiser are float32 in both."""
    seed: int = 0
    """Seed of the initial weights and of the order of the texts."""

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have."""
        for name, least in (("steps", 1), ("block_length", 2), ("batch_blocks", 1)):
            if getattr(self, name) < least:
                raise InputError(
                    f"{name} is {getattr(self, name)}", where="pretraining settings", mend=f"at least {least}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate is {self.learning_rate}", where="pretraining settings", mend="above 0")


@dataclass(frozen=True)
class PretrainedDecoder:
    """Where a decoder lies and how its pretraining went."""

    path: Path
    """Directory in the Hugging Face layout: safetensors, JSON, tokenizer."""
    held_out_loss: float
    """Mean next-token loss on sequences never trained on, in nats a token."""
    untrained_loss: float
    """The same loss before the first step."""
    tokens: int
    """Tokens in all texts."""
    parameters: int
    """Parameters, the embedding counted once."""
    seconds: float
    """Wall time of the pretraining."""


def pretrain_causal_decoder(
    texts: Sequence[str],
    *,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    settings: PretrainingSettings,
    cache: Path,
    progress: bool = False,
) -> PretrainedDecoder:
    """Learn to predict the next token of plain texts, or return the decoder that was learned from the same before.

    The texts, each closed by the tokenizer's end-of-text token, are joined in a seeded order and cut into sequences of
    equal length, as language models are usually pretrained. Two per cent of the sequences are kept out for
    ``held_out_loss``. The output layer shares its weights with the embedding and is not part of what is saved.

    Args:
        texts: Plain texts; duplicates and the order do not matter.
        config: The architecture, of a causal decoder.
        tokenizer: A fast tokenizer that closes every text with an end-of-text token; it is saved beside the weights.
        settings: Budget.
        cache: Directory under which finished decoders are kept, by content hash.
        progress: Whether to show a progress bar.

    Returns:
        The decoder's place and its losses.

    Raises:
        InputError: The texts are too few for two sequences.
        NonFiniteError: The loss became NaN or infinite.
    """
    distinct = sorted({text.strip() for text in texts} - {""})
    target = cache / "decoders" / _content_hash(distinct, config, tokenizer, settings)
    if target.exists():
        try:
            return PretrainedDecoder(path=target, **verify_directory(target)["pretraining"])
        except StorageError as error:
            LOG.warning("the stored decoder is damaged and is learned again: %s", error)
    started = time.perf_counter()
    training, held_out, tokens = _token_blocks(distinct, tokenizer, settings)
    model = _untrained(config, settings.seed)
    untrained_loss = _mean_loss(model, held_out, settings)
    _train(model, training, settings, progress=progress)
    facts: dict[str, Any] = {
        "held_out_loss": _mean_loss(model, held_out, settings),
        "untrained_loss": untrained_loss,
        "tokens": tokens,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": time.perf_counter() - started,
    }
    LOCAL_FILES.make_directory(target.parent)
    with staged_directory(target, metadata={"pretraining": facts}, overwrite=True) as staging:
        # save_pretrained would show a bar; a decoder of this size is one small file, so it is written directly.
        model.base_model.config.save_pretrained(staging)
        weights = {name: tensor.contiguous() for name, tensor in model.base_model.state_dict().items()}
        save_file(weights, staging / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(staging)
    return PretrainedDecoder(path=target, **facts)


def _content_hash(texts: Sequence[str], config: Any, tokenizer: Any, settings: PretrainingSettings) -> str:
    digest = hashlib.sha256(json.dumps([_RECIPE, asdict(settings)], sort_keys=True).encode())
    digest.update(json.dumps(config.to_diff_dict(), sort_keys=True, default=str).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:32]


def _token_blocks(
    texts: Sequence[str], tokenizer: Any, settings: PretrainingSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    order = random_generator(settings.seed, "order of the texts").permutation(len(texts))
    # The backend, because a text may be longer than the tokenizer's bound; the sequences are cut below.
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    encoded = backend.encode_batch([texts[place] for place in order])
    stream = np.concatenate([np.asarray(text.ids, dtype=np.int64) for text in encoded] or [np.empty(0, np.int64)])
    count = len(stream) // settings.block_length
    if count < 2:
        raise InputError(
            f"{len(stream)} tokens are too few for two sequences of {settings.block_length}",
            where="texts",
            mend="give more text or a smaller block_length",
        )
    blocks = stream[: count * settings.block_length].reshape(count, settings.block_length)
    held_out = max(1, count // 50)
    return blocks[held_out:], blocks[:held_out], len(stream)


def _untrained(config: PreTrainedConfig, seed: int) -> Any:
    from transformers import AutoModelForCausalLM

    tied = type(config).from_dict({**config.to_dict(), "tie_word_embeddings": True})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(tied, dtype=torch.float32)  # type: ignore[no-untyped-call]


def _loss(model: Any, blocks: torch.Tensor, settings: PretrainingSettings) -> torch.Tensor:
    wide = settings.precision == "float32"
    with nullcontext() if wide else torch.autocast(blocks.device.type, dtype=torch.bfloat16):
        logits = model(input_ids=blocks, use_cache=False).logits[:, :-1]  # (blocks, length - 1, vocabulary)
    return F.cross_entropy(logits.flatten(0, 1).float(), blocks[:, 1:].flatten())


@torch.no_grad()
def _mean_loss(model: Any, blocks: NDArray[np.int64], settings: PretrainingSettings) -> float:
    model.eval()
    pieces = torch.split(torch.from_numpy(blocks), settings.batch_blocks)
    losses = [_loss(model, piece, settings).item() for piece in pieces]
    return float(np.average(losses, weights=[len(piece) for piece in pieces]))


def _batches(blocks: NDArray[np.int64], settings: PretrainingSettings) -> Iterator[torch.Tensor]:
    generator = random_generator(settings.seed, "order of the sequences")
    while True:
        order = generator.permutation(len(blocks))
        # The last, shorter batch of a pass is left out, unless it is the only one.
        for start in range(0, max(1, len(order) - settings.batch_blocks + 1), settings.batch_blocks):
            yield torch.from_numpy(blocks[order[start : start + settings.batch_blocks]])


def _rate(step: int, steps: int) -> float:
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _train(model: Any, blocks: NDArray[np.int64], settings: PretrainingSettings, *, progress: bool) -> None:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    gains = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": gains, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.95),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, settings.steps))
    model.train()
    batches = _batches(blocks, settings)
    with (
        progress_bar("Pretraining", settings.steps, unit="steps", enabled=progress) as advance,
        torch.random.fork_rng(devices=[]),
    ):
        torch.manual_seed(settings.seed)  # dropout, where the architecture has it
        for step in range(settings.steps):
            loss = _loss(model, next(batches), settings)
            if not torch.isfinite(loss):
                raise NonFiniteError(
                    f"the loss is {loss.item()} at step {step + 1}", where="pretraining", mend="lower the learning rate"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            advance(1)
            if step % 100 == 0:
                LOG.info("pretraining step %d: loss %.3f", step + 1, loss.item())
    model.eval()
