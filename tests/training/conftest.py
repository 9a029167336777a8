"""A tiny random BERT with dropout and a tokenizer of its own, and pairs for it: training steps in milliseconds."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from embedworks.data import Pairs

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(200))]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _quick_collections() -> Iterator[None]:
    """Each training run has the garbage collected, which goes through all that the libraries made on import."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved backbone, random but for its seed."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=32,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_model(tiny_folder: Path) -> Callable[[], SentenceTransformer]:
    """Makes the model anew, always with the same weights."""

    def make() -> SentenceTransformer:
        backbone = Transformer(str(tiny_folder))
        return SentenceTransformer(modules=[backbone, Pooling(backbone.get_embedding_dimension())], device="cpu")

    return make


@pytest.fixture(scope="session")
def pairs() -> Pairs:
    """Twenty-two pairs with none to three negatives each."""
    generator = torch.Generator().manual_seed(0)

    def text(length: int) -> str:
        return " ".join(f"w{int(n)}" for n in torch.randint(0, 200, (length,), generator=generator))

    return Pairs.from_columns(
        [text(3 + row % 4) for row in range(22)],
        [text(5 + row % 9) for row in range(22)],
        negatives=[[text(6) for _ in range(row % 4)] for row in range(22)],
        query_ids=[f"q{row}" for row in range(22)],
    )
