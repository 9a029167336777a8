from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding, WordEmbeddings
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer

from embedworks.encoders import packaged_minilm
from embedworks.encoders.engine import encode_texts, native_bfloat16
from embedworks.foundation import InputError, NonFiniteError

Reference = Callable[..., NDArray[np.float32]]


def close(got: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("always_prepared")
def test_vectors_equal_those_of_each_text_alone(
    model: SentenceTransformer, texts: list[str], one_by_one: Reference
) -> None:
    vectors, report = encode_texts(model, texts, precision="float32")
    close(vectors, one_by_one(model, texts))
    assert report.texts == len(texts)
    assert report.precision == "float32"
    assert report.duplicates == len(texts) - len(set(texts))
    assert 1.0 <= report.padding_ratio < 1.3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_order_budget_and_window_do_not_matter(model: SentenceTransformer, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text(max_size=40) | st.sampled_from(["", "a b", "stone " * 80]), max_size=30))
    texts = [text for text in texts if not any(0xD800 <= ord(character) <= 0xDFFF for character in text)]
    order = data.draw(st.permutations(range(len(texts))))
    plain, _ = encode_texts(model, texts, precision="float32")
    shuffled, report = encode_texts(
        model,
        (texts[index] for index in order),
        precision="float32",
        batch_tokens=data.draw(st.integers(1, 3000)),
        window=data.draw(st.integers(1, 40)),
    )
    assert report.duplicates == len(texts) - len(set(texts))
    close(shuffled, plain[order])


def test_thousands_of_real_texts_equal_the_librarys_own(model: SentenceTransformer, data_folder: Path) -> None:
    from embedworks.data import load_data_set

    table = load_data_set("stsb-en")["test"].table
    texts = [*table.column("a").to_pylist(), *table.column("b").to_pylist()]
    texts = [*texts, *(text.upper() for text in texts[:500]), *(" ".join(texts[i : i + 9]) for i in range(0, 900, 9))]
    vectors, report = encode_texts(model, texts, precision="float32", window=1000)
    assert report.texts > 3000
    close(vectors, model.encode(texts))


def test_minilm_equals_each_text_alone(texts: list[str], one_by_one: Reference) -> None:
    model = SentenceTransformer(str(packaged_minilm()), device="cpu")
    reference = one_by_one(model, texts)
    exact, _ = encode_texts(model, texts, precision="float32")
    close(exact, reference)
    automatic, report = encode_texts(model, texts)
    assert (automatic * reference).sum(axis=1).min() >= 0.999
    assert report.precision == ("bfloat16" if native_bfloat16() else "float32")


@pytest.mark.parametrize("kind", ["arrow", "chunked arrow", "numpy", "generator", "tuple"])
def test_texts_may_come_in_any_collection(model: SentenceTransformer, texts: list[str], kind: str) -> None:
    collection = {
        "arrow": pa.array(texts),
        "chunked arrow": pa.chunked_array([texts[:7], texts[7:]]),
        "numpy": np.array(texts, dtype=object),
        "generator": iter(texts),
        "tuple": tuple(texts),
    }[kind]
    vectors, _ = encode_texts(model, collection, precision="float32", window=16)
    close(vectors, encode_texts(model, texts, precision="float32")[0])


@pytest.mark.parametrize("texts", [[], ["a"], [""], ["same"] * 50])
def test_the_smallest_inputs(model: SentenceTransformer, texts: list[str], one_by_one: Reference) -> None:
    vectors, report = encode_texts(model, texts, window=3)
    assert vectors.shape == (len(texts), 64)
    assert report.duplicates == max(0, len(texts) - 1)
    assert report.batches == min(1, len(texts))
    if texts:
        close(vectors, one_by_one(model, texts))


def test_duplicates_are_computed_once_even_in_far_windows(model: SentenceTransformer) -> None:
    computed = []
    model[0].register_forward_hook(lambda _module, inputs, _output: computed.append(inputs[0]["input_ids"].shape[0]))
    vectors, report = encode_texts(model, ["a", "b", "a", "c", "b", "a"] * 20, window=4)
    assert sum(computed) == 3
    assert report.duplicates == 117
    np.testing.assert_array_equal(vectors[:6], vectors[-6:])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a", None], "row 1: a NoneType"),
        (["a", "b", 3.5], "row 2: a float"),
        ([b"a"], "row 0: a bytes"),
        (["a", "b\ud800c"], "row 1: the text holds a lone surrogate at character 1"),
        ("a single text", "a single text"),
        (7, "int is no collection"),
        (pa.array(["a", None]), "row 1: a NoneType"),
    ],
)
def test_what_is_no_text_is_refused_before_anything_is_computed(
    model: SentenceTransformer, texts: list[str], said: str
) -> None:
    model.forward = pytest.fail
    with pytest.raises(InputError, match=said):
        encode_texts(model, texts)


def test_a_bad_text_late_in_a_generator_is_named_too(model: SentenceTransformer) -> None:
    with pytest.raises(InputError, match="row 70"):
        encode_texts(model, ("a" if row != 70 else None for row in range(100)), window=8)


def test_prompts(model: SentenceTransformer, texts: list[str], one_by_one: Reference) -> None:
    close(encode_texts(model, texts, prompt="query: ", precision="float32")[0], one_by_one(model, texts, "query: "))
    model.prompts, model.default_prompt_name = {"document": "document: "}, "document"
    close(encode_texts(model, texts, precision="float32")[0], one_by_one(model, texts, "document: "))
    close(encode_texts(model, texts, prompt="", precision="float32")[0], one_by_one(model, texts, ""))


def test_prompts_that_the_pooling_leaves_out(
    model: SentenceTransformer, texts: list[str], one_by_one: Reference
) -> None:
    model.set_pooling_include_prompt(False)
    close(
        encode_texts(model, texts, prompt="find this: ", precision="float32")[0],
        one_by_one(model, texts, "find this: "),
    )
    with pytest.raises(InputError, match="cannot chunk"):
        encode_texts(model, texts, prompt="find this: ", overflow="chunk")


@pytest.mark.usefixtures("always_prepared")
@pytest.mark.parametrize("pooling", ["cls", "max", "weightedmean", "lasttoken", "mean_sqrt_len_tokens"])
def test_every_pooling(model: SentenceTransformer, texts: list[str], one_by_one: Reference, pooling: str) -> None:
    dense = Dense(64, 24)
    model = SentenceTransformer(modules=[model[0], Pooling(64, pooling_mode=pooling), dense, Normalize()], device="cpu")
    vectors, _ = encode_texts(model, texts[:40], precision="float32")
    assert vectors.shape == (40, 24)
    close(vectors, one_by_one(model, texts[:40]))


@pytest.mark.usefixtures("always_prepared")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("pooling", ["mean", "lasttoken"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_causal_model_and_its_padding_side(
    llama_directory: Path, one_by_one: Reference, precision: str, pooling: str, side: str
) -> None:
    # Rotary positions are relative, so padding on the left changes nothing, as it would for BERT.
    first = Transformer(str(llama_directory))
    first.tokenizer.padding_side = side
    model = SentenceTransformer(modules=[first, Pooling(32, pooling_mode=pooling), Normalize()], device="cpu")
    texts = ["red", "a green bird sings", "two boats", "the small machine counts every coin twice", "old tree " * 9]
    vectors, report = encode_texts(model, texts, precision=precision)
    reference = one_by_one(model, texts)
    if report.precision == "float32":
        close(vectors, reference)
    else:
        assert (vectors * reference).sum(axis=1).min() >= 0.999


def test_truncated_dimensions(model: SentenceTransformer, texts: list[str]) -> None:
    with model.truncate_embeddings(16):
        vectors, _ = encode_texts(model, texts, precision="float32")
        close(vectors, model.encode(texts))
    assert vectors.shape == (len(texts), 16)


def test_the_own_array_is_filled(model: SentenceTransformer) -> None:
    output = np.zeros((3, 64), dtype=np.float32)
    vectors, _ = encode_texts(model, ["a", "b", "a"], output=output)
    assert np.shares_memory(vectors, output)
    close(output, model.encode(["a", "b", "a"]))
    for wrong in (np.zeros((2, 64), np.float32), np.zeros((3, 63), np.float32), np.zeros((3, 64)), np.zeros(3)):
        with pytest.raises(InputError, match="output"):
            encode_texts(model, ["a", "b", "a"], output=wrong)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.usefixtures("always_prepared")
def test_the_model_is_left_as_it_was(model: SentenceTransformer, texts: list[str], precision: str) -> None:
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    first, _ = encode_texts(model, texts, precision=precision)
    second, _ = encode_texts(model, texts, precision=precision)
    np.testing.assert_array_equal(first, second)  # dropout would differ
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    loss = model(model.preprocess(["a text"]))["sentence_embedding"][:, :3].sum()
    loss.backward()
    assert model[0].model.embeddings.word_embeddings.weight.grad is not None


def test_too_long_texts_are_counted_and_said_once(
    model: SentenceTransformer, caplog: pytest.LogCaptureFixture, one_by_one: Reference
) -> None:
    texts = ["short", "stone " * 46, "stone " * 47, "stone " * 900, "stone " * 47]
    with caplog.at_level(logging.WARNING):
        vectors, report = encode_texts(model, texts, window=2)
    assert report.truncated == 2
    assert report.duplicates == 1
    assert [record.message for record in caplog.records if "were cut" in record.message] == [
        "2 texts are longer than the model reads and were cut; overflow='chunk' reads them whole"
    ]
    close(vectors, one_by_one(model, texts))


def test_too_long_texts_may_be_refused(model: SentenceTransformer) -> None:
    with pytest.raises(InputError, match=r"rows 1, 3: longer than the 48 tokens"):
        encode_texts(model, ["a", "stone " * 50, "b", "stone " * 51], overflow="error")
    encode_texts(model, ["a", "stone " * 46], overflow="error")


def test_chunks_cover_the_text_and_are_averaged_by_length(model: SentenceTransformer, one_by_one: Reference) -> None:
    words = [*range(10), *range(40)] * 4
    long = " ".join(str(word) for word in words)
    texts = ["a", long, "stone " * 46, "b"]
    vectors, report = encode_texts(model, texts, overflow="chunk", batch_tokens=100)
    assert report.truncated == 0
    close(vectors[[0, 2, 3]], one_by_one(model, ["a", texts[2], "b"]))

    ids = model.tokenizer(long, add_special_tokens=False, verbose=False)["input_ids"]
    size, stride = 46, 46 // 8
    chunks, start = [], 0
    while True:
        chunks.append(ids[start : start + size])
        if start + size >= len(ids):
            break
        start += size - stride
    total = np.zeros(64)
    weights = 0
    for chunk in chunks:
        row = torch.tensor([[101, *chunk, 102]])
        with torch.no_grad():
            vector = model({"input_ids": row, "attention_mask": torch.ones_like(row)})["sentence_embedding"][0]
        total += row.shape[1] * vector.double().numpy()
        weights += row.shape[1]
    mean = total / weights
    close(vectors[1], (mean / np.linalg.norm(mean)).astype(np.float32))


def test_chunks_of_a_model_that_does_not_normalise(model: SentenceTransformer) -> None:
    plain = SentenceTransformer(modules=[model[0], model[1]], device="cpu")
    vectors, _ = encode_texts(plain, ["stone " * 300], overflow="chunk")
    close(vectors, encode_texts(plain, iter(["stone " * 300]), overflow="chunk", batch_tokens=1)[0])
    assert abs(np.linalg.norm(vectors[0]) - 1) > 0.1


@pytest.mark.usefixtures("always_prepared")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("change", ["step", "data", "attribute", "replaced", "loaded", "hook"])
def test_a_model_that_changed_gives_no_stale_vectors(
    model: SentenceTransformer, texts: list[str], precision: str, change: str
) -> None:
    before, _ = encode_texts(model, texts, precision=precision)
    layer = model[0].model.encoder.layer[0]
    if change == "step":
        optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
        model(model.preprocess(["a text", "and one"]))["sentence_embedding"][:, :5].sum().backward()
        optimizer.step()
    elif change == "data":
        layer.intermediate.dense.weight.data.mul_(-1)
    elif change == "attribute":
        layer.attention.self.scaling *= 9
    elif change == "replaced":
        layer.output.dense = torch.nn.Linear(128, 64)
    elif change == "hook":
        layer.output.dense.register_forward_hook(lambda _module, _inputs, output: -output)
    else:
        other = {name: value * 1.5 for name, value in model.state_dict().items()}
        model.load_state_dict(other)
    after, _ = encode_texts(model, texts, precision=precision)
    fresh, _ = encode_texts(copy.deepcopy(model), texts, precision=precision)
    np.testing.assert_array_equal(after, fresh)
    assert np.abs(after - before).max() > 1e-3


def test_static_embeddings(model: SentenceTransformer, texts: list[str]) -> None:
    static = SentenceTransformer(
        modules=[StaticEmbedding(model.tokenizer, embedding_dim=32), Normalize()], device="cpu"
    )
    texts = [text for text in texts if text.strip("\0\t\n ") and "\u200b" not in text]
    vectors, report = encode_texts(static, texts, prompt="a ", overflow="error", window=16)
    close(vectors, static.encode(texts, prompt="a "))
    assert report.truncated == 0
    assert report.precision == "float32"


def test_word_embeddings(texts: list[str]) -> None:
    vocabulary = ["stone", "river", "green", "machine", "graph"]
    words = WordEmbeddings(
        WhitespaceTokenizer(vocabulary, stop_words=[]),
        embedding_weights=np.random.default_rng(0).normal(size=(5, 12)),
        max_seq_length=20,
    )
    model = SentenceTransformer(modules=[words, Pooling(12)], device="cpu")
    vectors, report = encode_texts(model, texts, window=32)
    close(vectors, model.encode(texts))
    assert report.truncated is None
    with pytest.raises(InputError, match="fast tokenizer"):
        encode_texts(model, texts, overflow="error")


@pytest.mark.parametrize("count", [3, 100])
def test_non_finite_vectors_name_their_row(model: SentenceTransformer, count: int) -> None:
    poison = model.tokenizer.convert_tokens_to_ids("poison")
    with torch.no_grad():
        model[0].model.embeddings.word_embeddings.weight[poison] = torch.nan
    texts = [f"text {row}" for row in range(count)]
    texts[2] = "poison"
    with pytest.raises(NonFiniteError, match=r"^rows 2: the model gives NaN"):
        encode_texts(model, texts, batch_tokens=64)


def test_settings_below_one_are_refused(model: SentenceTransformer) -> None:
    with pytest.raises(InputError, match="window"):
        encode_texts(model, ["a"], window=0)
    with pytest.raises(InputError, match="batch_tokens"):
        encode_texts(model, ["a"], batch_tokens=0)


def test_the_first_forward_pass_comes_before_the_last_text_is_drawn(model: SentenceTransformer) -> None:
    drawn = 0
    at_first_pass: list[int] = []

    def draw() -> object:
        nonlocal drawn
        for row in range(400):
            drawn += 1
            yield f"text number {row}"

    model[0].register_forward_hook(lambda *_: at_first_pass.append(drawn))
    encode_texts(model, draw(), window=40)
    assert at_first_pass[0] <= 10 + 40  # the first window of a quarter, and the one being prepared
    assert drawn == 400


def test_threads_may_encode_at_once(model: SentenceTransformer, texts: list[str]) -> None:
    expected, _ = encode_texts(model, texts, precision="float32")
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(encode_texts, model, texts, precision="float32", window=20) for _ in range(8)]
        for finished in runs:
            close(finished.result()[0], expected)
