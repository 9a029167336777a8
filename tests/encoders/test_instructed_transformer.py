"""Instructions that are attended to and not pooled: by offsets, on either side of padding, cut or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn import functional as F

from embedworks.encoders import (
    InstructedTransformer,
    Instructions,
    PoolingSettings,
    TextEncoder,
    build,
    export,
    load,
)
from embedworks.encoders.instructed_transformer import instruction_tokens
from embedworks.foundation import InputError

Vectors = Callable[..., torch.Tensor]
FIND = Instructions(query="find the bird")
PROMPT = FIND.prompts()["query"]
QUERIES = ["the old tree", "red", "a green bird sings in the old tree", " the", ""]
POOLINGS: dict[str, PoolingSettings | None] = {
    "mean": None,
    "latent-attention": PoolingSettings(latents=4, heads=4),
    "self-attention": PoolingSettings(heads=4),
    "last-layer-trainable": PoolingSettings(latents=4, heads=4),
}


def instructed(directory: Path, pooling: str = "mean", **options: Any) -> TextEncoder:
    return build(
        directory,
        pooling=pooling,  # type: ignore[arg-type]
        pooling_settings=POOLINGS[pooling],
        **{"attention": "bidirectional", "instructions": FIND, **options},
    )


def expected_mean(encoder: TextEncoder, text: str, prompt: str) -> torch.Tensor:
    """One text at a time: states of the whole, averaged over the tokens that hold a character behind the prompt."""
    tokenizer, longest = encoder.model.tokenizer, encoder.model.max_seq_length
    encoded = tokenizer(
        prompt + text, return_offsets_mapping=True, return_tensors="pt", truncation=True, max_length=longest
    )
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.no_grad():
        states = encoder.model[0].model(**encoded).last_hidden_state[0]
    own = [place for place, (_, end) in enumerate(offsets) if end > len(prompt)]
    first = min(own) if own else max(place for place, (_, end) in enumerate(offsets) if end) + 1
    return F.normalize(states[first:].mean(dim=0), dim=0)


def test_the_premise_tokens_merge_over_the_border(llama_directory: Path) -> None:
    tokenizer = instructed(llama_directory).model.tokenizer
    alone = tokenizer(PROMPT)["input_ids"][:-1]  # without the end-of-text token
    together = tokenizer(PROMPT + "the old tree")["input_ids"]
    assert together[: len(alone)] != alone


@pytest.mark.parametrize("side", ["left", "right"])
def test_only_the_tokens_of_the_text_are_averaged(llama_directory: Path, side: str) -> None:
    encoder = instructed(llama_directory)
    encoder.model.tokenizer.padding_side = side
    with torch.no_grad():
        vectors = encoder.model(encoder.model.preprocess(QUERIES, prompt=PROMPT))["sentence_embedding"]
    for vector, text in zip(vectors, QUERIES, strict=True):
        torch.testing.assert_close(vector, expected_mean(encoder, text, PROMPT), rtol=0, atol=1e-6)


def test_counting_the_instruction_on_its_own_loses_a_word(llama_directory: Path) -> None:
    """What sentence-transformers does, and why it is not done here."""
    encoder = instructed(llama_directory)
    stock = SentenceTransformer(str(llama_directory), local_files_only=True).eval()
    stock_tokens = stock[0].preprocess(["the old tree"], prompt=PROMPT)["prompt_length"]
    ours = int(encoder.model[0].preprocess(["the old tree"], prompt=PROMPT)["instruction_tokens"][0])
    offsets = encoder.model.tokenizer(PROMPT + "the old tree", return_offsets_mapping=True)["offset_mapping"]
    assert stock_tokens > ours
    assert offsets[ours][1] > len(PROMPT)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("cut", ["left", "right"])
def test_texts_that_are_cut_leave_out_what_is_left_of_the_instruction(
    llama_directory: Path, side: str, cut: str
) -> None:
    tokens = len(build(llama_directory).model.tokenizer(PROMPT)["input_ids"])
    encoder = instructed(llama_directory, max_length=tokens + 4)
    encoder.model.tokenizer.padding_side, encoder.model.tokenizer.truncation_side = side, cut
    texts = ["red", "a green bird sings in the old tree", "the small machine counts every coin twice"]
    with torch.no_grad():
        vectors = encoder.model(encoder.model.preprocess(texts, prompt=PROMPT))["sentence_embedding"]
    for vector, text in zip(vectors, texts, strict=True):
        torch.testing.assert_close(vector, expected_mean(encoder, text, PROMPT), rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", list(POOLINGS))
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_has_the_same_vector_alone_and_in_a_batch_and_from_the_engine(
    llama_directory: Path, pooling: str, side: str
) -> None:
    encoder = instructed(llama_directory, pooling)
    encoder.model.tokenizer.padding_side = side
    with torch.no_grad():
        together = encoder.model(encoder.model.preprocess(QUERIES, prompt=PROMPT))["sentence_embedding"]
        alone = torch.cat(
            [encoder.model(encoder.model.preprocess([text], prompt=PROMPT))["sentence_embedding"] for text in QUERIES]
        )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    fast = encoder.encode_query(QUERIES, precision="float32")
    np.testing.assert_allclose(fast, together.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_the_text_attends_to_the_instruction(llama_directory: Path, pooling: str) -> None:
    encoder = instructed(llama_directory, pooling)
    plain, query = encoder.encode_document(["two boats"]), encoder.encode_query(["two boats"])
    other = encoder.encode(["two boats"], prompt="Instruct: count the coins\nQuery: ")
    assert np.abs(query - plain).max() > 1e-4
    assert np.abs(query - other).max() > 1e-4


def test_an_instruction_within_the_text_is_found_by_the_template(llama_directory: Path) -> None:
    """In training each text may have another instruction, put before it by whoever makes the batches."""
    encoder = instructed(llama_directory)
    whole = [PROMPT + text for text in QUERIES]
    by_prompt = encoder.model.preprocess(QUERIES, prompt=PROMPT)
    by_template = encoder.model.preprocess(whole)
    assert torch.equal(by_template["instruction_tokens"], by_prompt["instruction_tokens"])
    assert torch.equal(by_template["input_ids"], by_prompt["input_ids"])
    np.testing.assert_array_equal(encoder.encode(whole), encoder.encode_query(QUERIES))
    assert encoder.model.preprocess(["red", whole[0]])["instruction_tokens"].tolist()[0] == 0


def test_the_callers_features_stay_and_can_be_embedded_again(llama_directory: Path) -> None:
    encoder = instructed(llama_directory)
    features = encoder.model.preprocess(QUERIES, prompt=PROMPT)
    mask = features["attention_mask"].clone()
    with torch.no_grad():
        first = encoder.model(features)["sentence_embedding"]
        assert torch.equal(features["attention_mask"], mask)
        assert torch.equal(encoder.model(features)["sentence_embedding"], first)


def test_a_loss_learns_through_it(llama_directory: Path) -> None:
    encoder = instructed(llama_directory, "latent-attention")
    loss = MultipleNegativesRankingLoss(encoder.model)
    columns = [[PROMPT + text for text in QUERIES[:3]], ["two boats", "red", "every coin"]]
    loss([encoder.model.preprocess(column) for column in columns], None).backward()
    assert all(weights.grad is not None for weights in encoder.model[1].parameters())


def test_instructions_that_are_pooled_are_only_prompts(llama_directory: Path) -> None:
    encoder = instructed(llama_directory, instructions=Instructions(query="find the bird", pooled=True))
    assert not isinstance(encoder.model[0], InstructedTransformer)
    whole = encoder.encode([PROMPT + "red"])
    np.testing.assert_allclose(encoder.encode_query(["red"]), whole, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode_document(["red"]), encoder.encode(["red"]))


def test_symmetric_instructions_stand_before_every_text(llama_directory: Path) -> None:
    encoder = instructed(llama_directory, instructions=Instructions(query="compare", document="compare"))
    vectors = encoder.encode(["red"])
    np.testing.assert_array_equal(vectors, encoder.encode_query(["red"]))
    np.testing.assert_array_equal(vectors, encoder.encode_document(["red"]))
    assert np.abs(vectors - encoder.encode(["red"], prompt="")).max() > 1e-4


def test_documents_of_other_models_may_be_called_passages(llama_directory: Path) -> None:
    encoder = build(llama_directory)
    encoder.model.prompts["passage"] = "passage: "
    np.testing.assert_array_equal(encoder.encode_document(["red"]), encoder.encode(["red"], prompt="passage: "))


def test_a_saved_model_keeps_template_and_prompts_and_can_be_built_upon(tmp_path: Path, llama_directory: Path) -> None:
    encoder = instructed(llama_directory)
    encoder.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.model.prompts == FIND.prompts()
    np.testing.assert_array_equal(loaded.encode_query(QUERIES), encoder.encode_query(QUERIES))
    assert loaded.model[0].template == FIND.pattern
    again = build(tmp_path / "model", pooling="self-attention")
    assert again.model[0].template == FIND.pattern
    other = build(tmp_path / "model", instructions=Instructions(template="codiemb", query="find"))
    assert other.model[0].template == Instructions(template="codiemb").pattern
    assert other.model.prompts["query"] == "Instruction: find Query: "


def test_an_instruction_that_fills_the_model_is_refused(llama_directory: Path) -> None:
    tokens = len(build(llama_directory).model.tokenizer(PROMPT)["input_ids"])
    encoder = instructed(llama_directory, max_length=tokens - 2)
    with pytest.raises(InputError, match="the instruction takes all"):
        encoder.encode_query(["red"])
    with pytest.raises(InputError, match="the instruction takes all"):
        encoder.model.preprocess(["red"], prompt=PROMPT)


def test_chunks_without_the_instruction_are_refused(llama_directory: Path) -> None:
    with pytest.raises(InputError, match="only the first chunk holds the prompt"):
        instructed(llama_directory).encode_query(["red"], overflow="chunk")


def test_offsets_are_needed(llama_directory: Path) -> None:
    transformer = instructed(llama_directory).model[0]
    transformer.template = "no pattern"
    with pytest.raises(InputError, match="neither the name of a template"):
        transformer.check()
    transformer.template = None
    assert transformer.borders(["Instruct: a\nQuery: b"], None) == [0]
    transformer.modality_config = {"message": transformer.modality_config["text"]}
    with pytest.raises(InputError, match="needs a fast tokenizer of plain texts"):
        transformer.check()


@pytest.mark.parametrize(
    ("offsets", "border", "expected"),
    [
        ([(0, 0), (0, 4), (4, 9), (0, 0)], 0, 0),  # no instruction
        ([(0, 0), (0, 4), (4, 9), (9, 12), (0, 0)], 9, 3),  # the border between two tokens
        ([(0, 0), (0, 4), (3, 9), (9, 12)], 4, 2),  # a token over the border is the text's
        ([(0, 0), (0, 4), (4, 9), (0, 0)], 9, 3),  # an empty text leaves the end
        ([(0, 4), (4, 9)], 9, 0),  # and where there is no end, everything
        ([], 9, 0),
        ([(0, 0), (12, 14), (0, 0)], 9, 1),  # cut on the left beyond the instruction
    ],
)
def test_counting_by_offsets(offsets: list[tuple[int, int]], border: int, expected: int) -> None:
    assert instruction_tokens(offsets, border, longest=32) == expected


def test_export_counts_on_the_words_of_a_bert(tmp_path: Path) -> None:
    """The first special token is left out with the instruction, there as here, and is pooled without one."""
    encoder = build("minilm", instructions=FIND)
    export(encoder, tmp_path / "model")
    stock = SentenceTransformer(str(tmp_path / "model"), local_files_only=True).eval()
    assert [type(module).__name__ for module in stock] == ["Transformer", "Pooling", "Normalize"]
    assert type(encoder.model[0]) is InstructedTransformer
    for name, vectors in (("query", encoder.encode_query(QUERIES)), ("document", encoder.encode_document(QUERIES))):
        np.testing.assert_allclose(stock.encode(QUERIES, prompt_name=name), vectors, rtol=0, atol=1e-5)


def test_export_is_refused_where_tokens_merge_over_the_end_of_an_instruction(
    tmp_path: Path, llama_directory: Path
) -> None:
    with pytest.raises(InputError, match="wrong where tokens merge over its end"):
        export(instructed(llama_directory), tmp_path / "model")
    unspaced = Instructions(template="Task: {instruction}; text:{text}", query="find")
    with pytest.raises(InputError, match="wrong where tokens merge over its end"):
        export(build("minilm", instructions=unspaced), tmp_path / "model")
    with pytest.raises(InputError, match="counts places from the instruction"):
        export(build("minilm", pooling="weighted-mean", instructions=FIND), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_export_keeps_the_prompts_of_pooled_instructions(tmp_path: Path, llama_directory: Path) -> None:
    encoder = instructed(llama_directory, instructions=Instructions(query="find the bird", pooled=True))
    export(encoder, tmp_path / "model")
    stock = SentenceTransformer(str(tmp_path / "model"), local_files_only=True)
    expected = encoder.encode_query(QUERIES)
    np.testing.assert_allclose(stock.encode_query(QUERIES), expected, rtol=0, atol=1e-5)
