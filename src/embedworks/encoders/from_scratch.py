"""A small decoder and its tokenizer, made here: for studies from scratch and for trying things without a download."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from embedworks.foundation import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase


def decoder_config(
    *,
    vocabulary: int,
    layers: int = 4,
    dimension: int = 128,
    heads: int = 4,
    max_length: int = 128,
    dropout: float = 0.0,
) -> PreTrainedConfig:
    """Return the configuration of a small Llama-style causal decoder with random weights to come.

    Args:
        vocabulary: Entries of the tokenizer; padding is entry 0, the end-of-text token entry 1, as
            :func:`train_tokenizer` makes them.
        layers: Hidden layers L.
        dimension: Width d of the hidden states.
        heads: Attention heads; each is d / heads wide, which must be even for rotary positions.
        max_length: Positions.
        dropout: Dropout of the attention weights, a probability.

    Raises:
        InputError: The heads do not divide the width into even parts.

    Example:
        >>> decoder_config(vocabulary=100, layers=2, dimension=32, heads=2).num_hidden_layers
        2
    """
    if dimension % (2 * heads):
        raise InputError(
            f"{heads} heads do not divide the width {dimension} into even parts",
            mend="choose a width that is a multiple of twice the heads",
        )
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=dimension,
        intermediate_size=4 * dimension,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=max_length,
        attention_dropout=dropout,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )


def train_tokenizer(
    texts: Iterable[str], *, vocabulary: int = 8000, max_length: int = 128, padding_side: str = "left"
) -> PreTrainedTokenizerBase:
    """Learn a byte-level BPE tokenizer that ends every text with an end-of-text token, as decoders are pooled there.

    Args:
        texts: The texts to learn from.
        vocabulary: Most entries, the 256 bytes and two special tokens included.
        max_length: Longest text in tokens; longer ones are cut and still end with the end-of-text token.
        padding_side: ``"left"``, as in the paper's training, or ``"right"``.

    Raises:
        InputError: The vocabulary is below 258 entries, or the side is not known.
    """
    if vocabulary < 258:
        raise InputError(
            f"a vocabulary of {vocabulary} cannot hold the 256 bytes and two special tokens", mend="use 258 or more"
        )
    if padding_side not in ("left", "right"):
        raise InputError(f"padding_side {padding_side!r} is not known", mend="choose 'left' or 'right'")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    padding, end = "<|pad|>", "<|end|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[padding, end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, tokenizer.token_to_id(end))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # transformers does not annotate it
        tokenizer_object=tokenizer,
        pad_token=padding,
        eos_token=end,
        model_max_length=max_length,
        padding_side=padding_side,
        truncation_side="right",
    )
