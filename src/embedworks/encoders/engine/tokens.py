"""Texts to padded batches of token ids, by the model's own tokenizer and with its own features.

Two ways. Where the first module is a sentence-transformers ``Transformer`` with a fast Hugging Face tokenizer, all
texts of a window are tokenised at once, unpadded, by the tokenizer's threads; lengths are then known exactly, and
batches are cut by tokens. Everywhere else (static and word embeddings, slow tokenizers, chat templates, own modules)
the model's ``preprocess`` is called for batches of texts ordered by characters, as sentence-transformers does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding

from embedworks.encoders.engine.batching import default_pass_cost, padded_tokens, token_batches
from embedworks.encoders.engine.report import Overflow
from embedworks.encoders.instructed_transformer import InstructedTransformer, instruction_tokens
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_TEXTS_A_CALL: Final = 1024
_ROWS_A_BATCH: Final = 32
_ROWS_A_STATIC_BATCH: Final = 4096
_SMALLEST_UNLIMITED_LENGTH: Final = 1_000_000_000
_NAMED_ROWS: Final = 5
_KNOWN_PREPROCESSING: Final = (Transformer.preprocess, InstructedTransformer.preprocess)

_locks: WeakKeyDictionary[torch.nn.Module, threading.Lock] = WeakKeyDictionary()


def _lock_of(model: SentenceTransformer) -> threading.Lock:
    """Return the lock of a model's tokenizer: it keeps settings of the last call, so two calls must not overlap."""
    return _locks.setdefault(model, threading.Lock())


@dataclass(frozen=True)
class Batch:
    """One forward pass.

    Args:
        pieces: Which pieces of the window it computes, shape (b,).
        features: What the model's first module takes.
    """

    pieces: NDArray[np.int64]
    features: dict[str, Any]


class TokenWindow(Protocol):
    """The pieces of a window (a text is one piece, or several where it is chunked), ready to be batched.

    ``owner`` gives for each piece the index of its text, ascending; ``weights`` its number of tokens.
    """

    owner: NDArray[np.int64]
    weights: NDArray[np.int64]
    truncated: int | None
    tokens: int
    padded: int

    def batches(self) -> Iterator[Batch]:
        """Yield the batches, longest pieces first."""
        ...

    def sample(self, count: int) -> list[int]:
        """Return pieces of evenly spaced ranks by length."""
        ...

    def features(self, pieces: NDArray[np.int64]) -> dict[str, Any]:
        """Return the features of some pieces as one batch."""
        ...


class TextTokenizer(Protocol):
    """Turns the fresh texts of a window into a :class:`TokenWindow`."""

    def __call__(self, texts: Sequence[str], rows: NDArray[np.int64]) -> TokenWindow:
        """Tokenise texts; ``rows`` are their numbers for messages."""
        ...


def text_tokenizer(
    model: SentenceTransformer, *, prompt: str | None, overflow: Overflow, batch_tokens: int
) -> TextTokenizer:
    """Choose the way for a model.

    Raises:
        InputError: Overflowing texts are to be chunked or refused, and the model's preprocessing does not tell them;
            or they are to be chunked and the pooling leaves out a prompt.
    """
    with _lock_of(model):
        template = model.preprocess(["a"], prompt=prompt)
    if _has_plain_fast_tokenizer(model, template):
        leaves_out = isinstance(model[0], InstructedTransformer) or any(
            isinstance(module, Pooling) and not module.include_prompt for module in model
        )
        if overflow == "chunk" and prompt and leaves_out:
            raise InputError(
                "a pooling that leaves out the prompt cannot chunk: only the first chunk holds the prompt",
                where="overflow",
                mend="use overflow='truncate', or encode without prompt",
            )
        return _FastTokenizer(model, template, prompt=prompt, overflow=overflow, batch_tokens=batch_tokens)
    static = isinstance(model[0], StaticEmbedding)
    if overflow != "truncate" and not static:
        raise InputError(
            f"overflow={overflow!r} needs a fast tokenizer, which {type(model[0]).__name__} does not have here",
            where="overflow",
            mend="use overflow='truncate'",
        )
    return _ModelPreprocessing(model, prompt=prompt, static=static)


def _has_plain_fast_tokenizer(model: SentenceTransformer, template: dict[str, Any]) -> bool:
    first = model[0]
    if not isinstance(first, Transformer) or type(first).preprocess not in _KNOWN_PREPROCESSING:
        return False
    tokenizer = first.tokenizer
    tensors = {name for name, value in template.items() if isinstance(value, torch.Tensor)}
    return (
        tokenizer is not None
        and first.processor is tokenizer
        and tokenizer.is_fast
        and first.transformer_task in ("feature-extraction", "fill-mask")
        and list(first.modality_config) == ["text"]
        and not first.processing_kwargs
        and not first.can_flatten_inputs
        and "input_ids" in tensors
        and tensors <= {"input_ids", "token_type_ids", "attention_mask", "instruction_tokens"}
    )


class _FastTokenizer:
    def __init__(
        self,
        model: SentenceTransformer,
        template: dict[str, Any],
        *,
        prompt: str | None,
        overflow: Overflow,
        batch_tokens: int,
    ) -> None:
        first: Any = model[0]
        self._tokenizer: Any = first.tokenizer
        self._lock = _lock_of(model)
        self._prompt = prompt or ""
        self._instructed: InstructedTransformer | None = first if isinstance(first, InstructedTransformer) else None
        self._overflow = overflow
        self._budget = batch_tokens
        self._pass_cost = default_pass_cost(model.device)
        self._columns = [name for name in ("input_ids", "token_type_ids") if name in template]
        self._layout = _Layout(
            left=self._tokenizer.padding_side == "left",
            masked="attention_mask" in template,
            padding={
                "input_ids": int(self._tokenizer.pad_token_id or 0),
                "token_type_ids": int(self._tokenizer.pad_token_type_id),
            },
            constants={name: value for name, value in template.items() if not isinstance(value, torch.Tensor)},
        )
        self._arguments: dict[str, Any] = {"return_attention_mask": False}
        if self._tokenizer.model_max_length < _SMALLEST_UNLIMITED_LENGTH:
            self._arguments["truncation"] = "longest_first"
            if overflow == "chunk":
                content = self._tokenizer.model_max_length - self._tokenizer.num_special_tokens_to_add()
                self._arguments |= {"return_overflowing_tokens": True, "stride": max(0, content // 8)}

    def __call__(self, texts: Sequence[str], rows: NDArray[np.int64]) -> TokenWindow:
        flat: dict[str, list[int]] = {name: [] for name in self._columns}
        lengths: list[int] = []
        owner: list[int] = []
        truncated: list[int] = []
        instructed: list[int] = []
        for start in range(0, len(texts), _TEXTS_A_CALL):
            part = [self._prompt + text for text in texts[start : start + _TEXTS_A_CALL]]
            with self._lock:
                encoded = self._tokenizer(part, **self._arguments)
            for name in self._columns:
                for values in encoded[name]:
                    flat[name].extend(values)
            lengths.extend(map(len, encoded["input_ids"]))
            if self._instructed is not None:
                borders = self._instructed.borders(part, self._prompt)
                sources = encoded.get("overflow_to_sample_mapping", range(len(part)))
                longest = self._instructed.max_seq_length
                for one, source in zip(encoded.encodings, sources, strict=True):
                    border = borders[source]
                    offsets = one.offsets if border else ()
                    instructed.append(instruction_tokens(offsets, border, longest=longest))
            if self._overflow == "chunk" and "overflow_to_sample_mapping" in encoded:
                owner.extend(start + index for index in encoded["overflow_to_sample_mapping"])
            else:
                owner.extend(range(start, start + len(part)))
                truncated.extend(start + i for i, one in enumerate(encoded.encodings) if one.overflowing)
        if truncated and self._overflow == "error":
            named = ", ".join(str(rows[index]) for index in truncated[:_NAMED_ROWS])
            more = f" and {len(truncated) - _NAMED_ROWS} more" if len(truncated) > _NAMED_ROWS else ""
            raise InputError(
                f"longer than the {self._tokenizer.model_max_length} tokens the model reads",
                where=f"rows {named}{more}",
                mend="use overflow='truncate' or overflow='chunk'",
            )
        return _FastWindow(
            columns={name: np.asarray(values, dtype=np.int32) for name, values in flat.items()},
            lengths=np.asarray(lengths, dtype=np.int64),
            owner=np.asarray(owner, dtype=np.int64),
            truncated=len(truncated),
            instructed=None if self._instructed is None else np.asarray(instructed, dtype=np.int64),
            layout=self._layout,
            groups=token_batches(np.asarray(lengths, dtype=np.int64), budget=self._budget, pass_cost=self._pass_cost),
        )


@dataclass(frozen=True)
class _Layout:
    left: bool
    masked: bool
    padding: dict[str, int]
    constants: dict[str, Any]


class _FastWindow:
    def __init__(
        self,
        *,
        columns: dict[str, NDArray[np.int32]],
        lengths: NDArray[np.int64],
        owner: NDArray[np.int64],
        truncated: int,
        instructed: NDArray[np.int64] | None,
        layout: _Layout,
        groups: list[NDArray[np.int64]],
    ) -> None:
        self._columns = columns
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        self._instructed = instructed
        self._layout = layout
        self._groups = groups
        self.owner = owner
        self.weights = lengths
        self.truncated: int | None = truncated
        self.tokens = int(lengths.sum())
        self.padded = padded_tokens(lengths, self._groups)

    def batches(self) -> Iterator[Batch]:
        for group in self._groups:
            yield Batch(group, self.features(group))

    def sample(self, count: int) -> list[int]:
        return _evenly(np.argsort(self.weights, kind="stable"), count)

    def features(self, pieces: NDArray[np.int64]) -> dict[str, Any]:
        lengths = self.weights[pieces]
        longest = max(1, int(lengths.max()))
        column = np.arange(longest)
        start = (longest - lengths if self._layout.left else np.zeros_like(lengths))[:, None]
        held = (column >= start) & (column < start + lengths[:, None])  # (rows, longest), row-major like the tokens
        flat = np.concatenate([np.arange(self._starts[piece], self._starts[piece + 1]) for piece in pieces])
        features: dict[str, Any] = dict(self._layout.constants)
        for name, values in self._columns.items():
            matrix = np.full(held.shape, self._layout.padding[name], dtype=np.int64)
            matrix[held] = values[flat]
            features[name] = torch.from_numpy(matrix)
        if self._layout.masked:
            features["attention_mask"] = torch.from_numpy(held.astype(np.int64))
        if self._instructed is not None:
            features["instruction_tokens"] = torch.from_numpy(self._instructed[pieces])
        return features


class _ModelPreprocessing:
    def __init__(self, model: SentenceTransformer, *, prompt: str | None, static: bool) -> None:
        self._model = model
        self._prompt = prompt
        self._static = static

    def __call__(self, texts: Sequence[str], rows: NDArray[np.int64]) -> TokenWindow:
        return _PreprocessedWindow(self._model, texts, prompt=self._prompt, static=self._static)


class _PreprocessedWindow:
    def __init__(self, model: SentenceTransformer, texts: Sequence[str], *, prompt: str | None, static: bool) -> None:
        self._model = model
        self._texts = texts
        self._prompt = prompt
        self.owner = np.arange(len(texts))
        self.weights = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        self.truncated: int | None = 0 if static else None
        size = _ROWS_A_STATIC_BATCH if static else _ROWS_A_BATCH
        order = np.argsort(-self.weights, kind="stable")
        # Preprocessed here, in the thread that prepares windows, so that it overlaps with the forward passes.
        self._batches = [
            Batch(order[start : start + size], self.features(order[start : start + size]))
            for start in range(0, len(order), size)
        ]
        counts = [_counted(batch.features) for batch in self._batches]
        self.tokens = sum(tokens for tokens, _ in counts)
        self.padded = sum(padded for _, padded in counts)

    def batches(self) -> Iterator[Batch]:
        yield from self._batches

    def sample(self, count: int) -> list[int]:
        return _evenly(np.argsort(self.weights, kind="stable"), count)

    def features(self, pieces: NDArray[np.int64]) -> dict[str, Any]:
        with _lock_of(self._model):
            features: dict[str, Any] = self._model.preprocess(
                [self._texts[piece] for piece in pieces], prompt=self._prompt
            )
        return features


def _counted(features: dict[str, Any]) -> tuple[int, int]:
    ids, mask = features.get("input_ids"), features.get("attention_mask")
    if isinstance(mask, torch.Tensor):
        return int(mask.sum()), mask.numel()
    if isinstance(ids, torch.Tensor):
        return ids.numel(), ids.numel()
    return 0, 0


def _evenly(order: NDArray[np.int64], count: int) -> list[int]:
    count = min(count, len(order))
    places = ((np.arange(count) + 0.5) / count * len(order)).astype(np.int64)
    return [int(piece) for piece in order[places]]
