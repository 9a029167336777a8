"""The card: front matter a reader of YAML takes, and the right snippet for who can load the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from embedworks.encoders import TextEncoder, build
from embedworks.encoders.model_card import model_card, needs_embedworks


def card(encoder: TextEncoder, **settings: object) -> str:
    return model_card(
        encoder.model,
        name="my-model",
        dimension=encoder.dimension,
        base_model="owner/base",
        training_settings=settings,
    )


def front_matter(text: str) -> dict[str, object]:
    _, head, _ = text.split("---\n", 2)
    document: dict[str, object] = yaml.safe_load(head)
    return document


@pytest.mark.parametrize(
    ("pooling", "library"), [("mean", "sentence-transformers"), ("last-layer-trainable", "embedworks")]
)
def test_the_card_says_who_loads_the_model(llama_directory: Path, pooling: str, library: str) -> None:
    encoder = build(llama_directory, pooling=pooling)  # type: ignore[arg-type]
    text = card(encoder)
    head = front_matter(text)
    assert head["library_name"] == library
    assert head["base_model"] == "owner/base"
    assert "sentence-transformers" in head["tags"]  # type: ignore[operator]
    assert ("SentenceTransformer(" in text) == (library == "sentence-transformers")
    assert 'embedworks.load("my-model")' in text
    assert needs_embedworks(encoder.model) == (library == "embedworks")


def test_training_settings_appear_when_there_are_any(llama_directory: Path) -> None:
    encoder = build(llama_directory)
    assert "## Training" not in card(encoder)
    assert '"temperature": 0.05' in card(encoder, temperature=0.05)


def test_an_own_module_within_a_router_is_noticed(llama_directory: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    inner = build(llama_directory, pooling="last-layer-trainable").model
    router = Router.for_query_document(query_modules=list(inner), document_modules=list(inner))
    assert needs_embedworks(SentenceTransformer(modules=[router]))
