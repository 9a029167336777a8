"""Tiny backbones made on the spot: causal decoders and a BERT, with a tokenizer that knows a few words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, LlamaModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2Model

from embedworks.encoders import TextEncoder, decoder_config, train_tokenizer

TEXTS = [
    "red",
    "a green bird sings in the old tree",
    "two boats",
    "the small machine counts every coin twice, and then once more",
    "",
]


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return list(TEXTS)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS * 3, vocabulary=300, max_length=64)


@pytest.fixture(scope="session")
def llama_directory(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = decoder_config(vocabulary=len(tokenizer), layers=3, dimension=32, heads=4, max_length=64)
    LlamaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def qwen_directory(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    Qwen2Model(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert_directory(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerBase) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vectors() -> Callable[..., torch.Tensor]:
    """Return a function that encodes texts by one plain forward pass, padded on a chosen side."""

    def encode(encoder: TextEncoder, texts: list[str], *, side: str | None = None) -> torch.Tensor:
        model = encoder.model
        if side is not None:
            model.tokenizer.padding_side = side
        with torch.no_grad():
            result: torch.Tensor = model(model.preprocess(texts))["sentence_embedding"]
        return result

    return encode
