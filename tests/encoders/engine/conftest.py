"""A BERT of two small random layers with MiniLM's tokenizer, and texts of every awkward kind."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoTokenizer, BertConfig, BertModel

from embedworks.encoders import packaged_minilm
from embedworks.encoders.engine import choice, precision

WORDS = [
    "stone",
    "river",
    "of",
    "green",
    "learns",
    "quickly",
    "\u00fcber",
    "\u6771\u4eac",
    "graph,",
    "(x)",
    "don't",
    "\U0001f600",
]


def random_texts(count: int, *, seed: int, longest: int = 60) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=1 + int(generator.random() ** 3 * longest))) for _ in range(count)]


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-bert")
    tokenizer = AutoTokenizer.from_pretrained(str(packaged_minilm()))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder / "backbone")
    tokenizer.save_pretrained(folder / "backbone")
    first = Transformer(str(folder / "backbone"), max_seq_length=48)
    model = SentenceTransformer(modules=[first, Pooling(64), Normalize()], device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def _loaded(tiny_directory: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny_directory), device="cpu")


@pytest.fixture
def model(_loaded: SentenceTransformer) -> SentenceTransformer:
    """A tiny model of one's own, to alter at will."""
    return copy.deepcopy(_loaded)


@pytest.fixture
def texts() -> list[str]:
    awkward = ["", " ", "\t\n", "a", "a", "stone " * 500, "\0", "[CLS] [SEP]", "x" * 3000, "\uff21 \ufb01 \u200b"]
    return [*awkward, *random_texts(90, seed=1), *random_texts(10, seed=1)]


@pytest.fixture
def one_by_one() -> Callable[..., NDArray[np.float32]]:
    """The reference: every text alone through sentence-transformers, in float32."""

    def encode(model: SentenceTransformer, texts: list[str], prompt: str | None = None) -> NDArray[np.float32]:
        return np.stack([model.encode([text], prompt=prompt)[0] for text in texts])

    return encode


@pytest.fixture
def always_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few tokens computed as many are: by a prepared copy."""
    monkeypatch.setattr(choice, "_FEW_TOKENS", 0)


@pytest.fixture
def bfloat16_is_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this processor has; emulated bfloat16 gives the same numbers, slowly."""
    monkeypatch.setattr(precision, "native_bfloat16", lambda: True)
