from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embedworks.encoders.engine import choice, encode_texts, native_bfloat16, precision
from embedworks.encoders.engine.precision import half_precision, least_cosine


class Brittle(nn.Module):
    """Multiplies by a large number what half precision rounds away."""

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        states = features["token_embeddings"]
        features["token_embeddings"] = (states * 1e4).sin()
        return features


@pytest.mark.usefixtures("always_prepared", "bfloat16_is_native")
@pytest.mark.parametrize("requested", ["auto", "bfloat16"])
def test_half_precision_is_taken_where_a_sample_bears_it(
    model: SentenceTransformer, texts: list[str], requested: str
) -> None:
    exact, _ = encode_texts(model, texts, precision="float32")
    half, report = encode_texts(model, texts, precision=requested)
    assert report.precision == "bfloat16"
    assert "verified" in report.precision_reason
    assert report.minimum_cosine is not None
    assert 0.999 <= report.minimum_cosine < 1.0
    cosines = (half * exact).sum(axis=1)
    assert cosines.min() >= 0.999
    assert half.dtype == np.float32
    assert not np.array_equal(half, exact)
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1.0, atol=1e-6)  # normalised in float32


@pytest.mark.usefixtures("always_prepared", "bfloat16_is_native")
def test_a_model_that_half_precision_breaks_is_computed_in_float32(
    model: SentenceTransformer, texts: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    model = SentenceTransformer(modules=[model[0], Brittle(), model[1], model[2]], device="cpu")
    with caplog.at_level(logging.WARNING):
        vectors, report = encode_texts(model, texts)
    assert report.precision == "float32"
    assert report.minimum_cosine is not None
    assert report.minimum_cosine < 0.999
    assert "least cosine" in report.precision_reason
    assert any("computing in float32: in bfloat16 the least cosine" in record.message for record in caplog.records)
    np.testing.assert_array_equal(vectors, encode_texts(model, texts, precision="float32")[0])


@pytest.mark.usefixtures("always_prepared", "bfloat16_is_native")
def test_a_model_that_does_not_run_in_half_precision_is_computed_in_float32(
    model: SentenceTransformer, texts: list[str]
) -> None:
    def refuse(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")

    model[0].model.encoder.layer[0].intermediate.dense.register_forward_pre_hook(refuse)
    _, report = encode_texts(model, texts)
    assert report.precision == "float32"
    assert report.precision_reason == "the model does not run in bfloat16"


@pytest.mark.parametrize("requested", ["auto", "bfloat16"])
def test_without_native_support_float32_is_taken(
    model: SentenceTransformer, texts: list[str], requested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "native_bfloat16", lambda: False)
    _, report = encode_texts(model, texts, precision=requested)
    assert report.precision == "float32"
    assert report.precision_reason == "the cpu has no native bfloat16"
    assert report.minimum_cosine is None


@pytest.mark.usefixtures("bfloat16_is_native")
def test_few_texts_are_not_worth_a_conversion(model: SentenceTransformer) -> None:
    _, report = encode_texts(model, ["a query"])
    assert (report.precision, report.precision_reason) == ("float32", "too few tokens for a conversion to pay")
    _, report = encode_texts(model, ["a query"], precision="bfloat16")
    assert report.precision == "bfloat16"


@pytest.mark.usefixtures("bfloat16_is_native")
def test_a_model_stored_in_half_precision(model: SentenceTransformer, texts: list[str]) -> None:
    reference = model.bfloat16().encode(texts).astype(np.float32)
    vectors, report = encode_texts(model, texts)
    assert report.precision == "bfloat16"
    assert report.minimum_cosine is None
    assert least_cosine(torch.from_numpy(vectors), torch.from_numpy(reference)) > 0.999
    exact, report = encode_texts(model, texts, precision="float32")
    assert report.precision == "float32"
    np.testing.assert_allclose(exact, model.float().encode(texts), atol=1e-5)


def test_the_flags_decide_before_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_bfloat16_speed_up", lambda: 9.0)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    assert not native_bfloat16()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert native_bfloat16()
    assert half_precision(torch.device("cpu")) == "bfloat16"
    monkeypatch.setattr(precision, "_bfloat16_speed_up", lambda: 1.1)
    assert not native_bfloat16()
    assert half_precision(torch.device("cpu")) is None


def test_least_cosine() -> None:
    rows = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]])
    assert least_cosine(rows, rows) == pytest.approx(1.0)
    assert least_cosine(rows, torch.tensor([[2.0, 4.0], [0.0, 0.0], [0.0, 1.0]])) == pytest.approx(0.0)
    assert least_cosine(torch.tensor([[torch.nan, 1.0]]), torch.ones(1, 2)) == -1.0
    assert choice.LEAST_COSINE == 0.999
