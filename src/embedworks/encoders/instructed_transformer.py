"""A transformer that reads instructions and leaves their tokens out of what is pooled, by character offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers.base.modules import Transformer

from embedworks.encoders.instruction_templates import InstructionTemplate
from embedworks.foundation import InputError


class InstructedTransformer(Transformer):
    """sentence-transformers' Transformer, after which only the tokens of the text itself are pooled.

    An instruction is the prompt, or what the template recognises at the beginning of a text. Its tokens, and special
    tokens before them, are attended to as ever; behind the transformer ``attention_mask`` marks only the others, and
    ``real_tokens`` all that are no padding. So any pooling follows. Where the instruction ends is found from the
    character offsets of the tokens of the whole text: a token that holds any character of the text is the text's. The
    instruction's tokens counted on their own, as sentence-transformers and NV-Embed's released code do, are others
    where tokens merge over the border (``"Query: " + "red"`` has the token ``" red"``), and a word of the text is lost.

    Args:
        model_name_or_path: As sentence-transformers.
        template: Pattern by which instructions are recognised that stand in the texts themselves, as in training, where
            each text may have another; None if there are none.
        **settings: As sentence-transformers.
    """

    config_keys: list[str] = [*Transformer.config_keys, "template"]  # noqa: RUF012

    def __init__(self, model_name_or_path: str, *, template: str | None = None, **settings: Any) -> None:
        super().__init__(model_name_or_path, **settings)
        self.template = template
        self.check()

    def check(self) -> None:
        """Refuse what offsets cannot serve.

        Raises:
            InputError: The tokenizer gives no offsets, or the model reads chats.
        """
        if self.template is not None:
            InstructionTemplate(self.template)
        if not getattr(self.tokenizer, "is_fast", False) or list(self.modality_config) != ["text"]:
            raise InputError(
                "leaving instructions out of the pooling needs a fast tokenizer of plain texts",
                where=type(self.model).__name__,
                mend="use Instructions(pooled=True), or another backbone",
            )

    def borders(self, texts: Sequence[Any], prompt: str | None) -> list[int]:
        """Return where the text itself begins in each input, the prompt before it, in characters."""
        if prompt:
            return [len(prompt)] * len(texts)
        if self.template is None:
            return [0] * len(texts)
        template = InstructionTemplate(self.template)
        return [template.border(text) if isinstance(text, str) else 0 for text in texts]

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, processing_kwargs: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """As sentence-transformers; adds ``instruction_tokens``, shape (b,): real tokens left out at the beginning."""
        if not inputs:
            return {}
        given: Any = dict(processing_kwargs or {})
        given["text"] = {**given.get("text", {}), "return_offsets_mapping": True}
        features: dict[str, Any] = super().preprocess(inputs, prompt=prompt, processing_kwargs=given, **kwargs)
        offsets = features.pop("offset_mapping")  # (b, t, 2)
        features.pop("prompt_length", None)  # counted on the instruction alone
        mask = features.get("attention_mask")
        real = torch.ones(offsets.shape[:2]) if mask is None else mask
        longest = kwargs.get("max_length") or self.max_seq_length
        counts = [
            instruction_tokens(row[held.bool()].tolist(), border, longest=longest)
            for row, held, border in zip(offsets, real, self.borders(inputs, prompt), strict=True)
        ]
        features["instruction_tokens"] = torch.tensor(counts, dtype=torch.int64)
        return features

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """As sentence-transformers, and narrow ``attention_mask`` to what is pooled; the caller's dictionary stays."""
        given = dict(features)
        counts = given.pop("instruction_tokens", None)
        states: dict[str, Any] = super().forward(given, **kwargs)
        mask = states.get("attention_mask")
        if counts is None or mask is None:
            return states
        place = mask.cumsum(dim=1)  # 1 at the first real token
        states["real_tokens"] = mask
        states["attention_mask"] = mask * (place > counts[:, None]).to(mask.dtype)
        return states

    def _should_flatten_inputs(self, *args: Any, **kwargs: Any) -> bool:
        """Texts laid end to end have no offsets here."""
        return False


def instruction_tokens(offsets: Sequence[Sequence[int]], border: int, *, longest: int | None) -> int:
    """Return how many tokens at the beginning of a text belong to its instruction.

    Those before the first token that holds a character behind the border, special tokens included. A text without any
    such token (an empty one) leaves the special tokens behind the instruction to be pooled, and if there are none,
    everything.

    Args:
        offsets: First character and last plus one of each real token, shape (t, 2); (0, 0) for special tokens.
        border: Where the instruction ends, in characters; 0 if there is none.
        longest: Most tokens the model reads.

    Raises:
        InputError: The instruction takes all of them.

    Example:
        >>> instruction_tokens([(0, 0), (0, 4), (4, 5), (5, 9), (0, 0)], 6, longest=16)  # one goes over the border
        3
        >>> instruction_tokens([(0, 0), (0, 4), (4, 5), (0, 0)], 6, longest=16)  # an empty text
        3
    """
    if border <= 0:
        return 0
    last = 0
    for place, (_, end) in enumerate(offsets):
        if end > border:
            return place
        if end > 0:
            last = place + 1
    if longest is not None and len(offsets) >= longest:
        raise InputError(
            f"the instruction takes all {longest} tokens the model reads",
            where="instruction",
            mend="shorten it, or give the model a larger max_length",
        )
    return last if last < len(offsets) else 0
