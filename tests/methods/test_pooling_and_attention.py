"""The designs are put together as published, train, and are judged by verdicts that can go either way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embedworks.data import Labelled, Pairs, ScoredPairs
from embedworks.encoders import LatentQueryAttention, LoraSettings, attention_direction, build, load
from embedworks.evaluation import Result
from embedworks.evaluation.result import hash_of
from embedworks.evaluation.seeded_families import SeededRow
from embedworks.foundation import InputError
from embedworks.methods import Report, Verdict
from embedworks.methods._pooling_and_attention_data import SIZES, StudyData, require_published_inputs
from embedworks.methods._pooling_and_attention_layers import LayerTasks, analyse_layers, judge_layers, layer_row
from embedworks.methods._pooling_and_attention_mechanism import (
    FIVE,
    mechanism_findings,
    padding_deviation,
    random_decoder,
    reaction_to_later_tokens,
    single_row_deviation,
    tiny_config,
)
from embedworks.methods._pooling_and_attention_study import best_verdict
from embedworks.methods._report import verdict_over_seeds
from embedworks.methods.pooling_and_attention import DESIGNS, Config, build_design, find_design, fit, reproduce

PAIRS = Pairs.from_columns(
    ["a red cup", "a fast train", "deep snow", "an old song"],
    ["the cup is red", "the train is fast", "the snow is deep", "the song is old"],
    negatives=[["the cup is blue"], ["the train is late"], ["the snow is gone"], ["the song is new"]],
)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_decoder(tmp_path_factory.mktemp("decoder"))


def train(decoder: Path, design: str, **changes: Any) -> Any:
    training = {"batch_size": 4, "epochs": 20.0, "max_steps": 20, "learning_rate": 3e-3, "precision": "float32"}
    return fit(PAIRS, tiny_config(decoder, design, **{**training, **changes}))


def test_the_five_designs_are_the_papers() -> None:
    found = {design.model: (name, design.pooling, design.attention) for name, design in DESIGNS.items() if design.model}
    assert found == {
        1: ("eos-causal", "last-token", "causal"),
        2: ("last-layer-causal", "last-layer-trainable", "causal"),
        3: ("multi-layer-causal", "multi-layer-trainable", "causal"),
        4: ("last-layer-bidirectional", "last-layer-trainable", "bidirectional"),
        5: ("multi-layer-bidirectional", "multi-layer-trainable", "bidirectional"),
    }
    assert {name for name, design in DESIGNS.items() if design.model is None} == {
        "mean-causal",
        "mean-bidirectional",
        "weighted-mean",
    }


def test_a_design_is_found_by_number_and_by_name() -> None:
    assert [find_design(number) for number in (1, "2", 3, 4, 5)] == list(FIVE)
    assert find_design("weighted-mean") == "weighted-mean"
    for unknown in ("None", "6", 0, "cls"):
        with pytest.raises(InputError, match="choose 1 to 5"):
            find_design(unknown)


def test_the_defaults_are_the_published_values() -> None:
    config = Config()
    assert (config.latents, config.heads, config.head_dimension, config.feed_forward_multiple) == (768, 32, 2048, 4)
    assert (config.batch_size, config.max_steps, config.learning_rate) == (2048, 1000, 1e-5)
    assert (config.weight_decay, config.temperature, config.max_tokens) == (0.01, 0.05, 1024)
    assert config.lora
    assert (LoraSettings().rank, LoraSettings().alpha, LoraSettings().dropout) == (16, 32, 0.1)
    assert not config.zero_init_output
    assert config.layer_weight_mode == "add"
    assert config.last_layer_scope == "all"


@pytest.mark.parametrize("name", DESIGNS)
def test_each_design_is_built_as_its_entry_says(name: str, decoder: Path) -> None:

    encoder = build_design(tiny_config(decoder, name))
    assert attention_direction(encoder.model.transformers_model) == DESIGNS[name].attention  # type: ignore[index]
    module = type(encoder.model[1]).__name__
    assert module == {
        "last-layer-trainable": "LastLayerTrainablePooling",
        "multi-layer-trainable": "MultiLayerTrainablePooling",
    }.get(DESIGNS[name].pooling, "Pooling")  # type: ignore[index]
    if module == "MultiLayerTrainablePooling":
        summary = "last-token" if DESIGNS[name].attention == "causal" else "mean"  # type: ignore[index]
        assert encoder.model[1].layer_summary == summary
        assert encoder.model[1].layers == 3


def test_every_pooler_setting_reaches_the_pooler(decoder: Path) -> None:
    changes = {"latents": 5, "heads": 2, "head_dimension": 7, "feed_forward_multiple": 3, "zero_init_output": True}
    multi: Any = build_design(tiny_config(decoder, "multi-layer-causal", layer_weight_mode="scalar", **changes)).model[
        1
    ]
    last: Any = build_design(tiny_config(decoder, "last-layer-causal", last_layer_scope="eos", **changes)).model[1]
    for pooler in (multi, last):
        assert pooler.attention.sizes == {
            "latents": 5,
            "heads": 2,
            "head_dimension": 7,
            "feed_forward_multiple": 3,
        }
        assert pooler.zero_init_output
    assert multi.layer_weights.shape == (3, 1)
    assert last.last_layer_scope == "eos"


def test_the_mechanism_holds(tmp_path: Path) -> None:
    findings = mechanism_findings(tmp_path)
    assert [finding.name for finding in findings] == [
        "one-row-attention",
        "padding",
        "attention-direction",
        "layer-weights",
    ]
    assert {finding.name: finding.verdict for finding in findings} == dict.fromkeys(
        (finding.name for finding in findings), Verdict.SHOWN
    )


def test_the_padding_check_sees_a_pooler_without_a_mask(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = LatentQueryAttention.forward
    monkeypatch.setattr(
        LatentQueryAttention, "forward", lambda self, rows, mask: honest(self, rows, torch.ones_like(mask))
    )
    assert padding_deviation(decoder) > 1e-3


def test_the_one_row_check_sees_a_pooler_that_reads_more(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert single_row_deviation(decoder) == (0.0, 0.0)
    monkeypatch.setattr(
        "embedworks.methods._pooling_and_attention_mechanism.tiny_config",
        lambda folder, design, **changes: tiny_config(folder, design, last_layer_scope="all"),
    )
    _, movement = single_row_deviation(decoder)
    assert movement > 1e-4


def test_the_direction_check_tells_the_masks_apart(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    causal, bidirectional = reaction_to_later_tokens(decoder)
    assert causal == 0.0
    assert bidirectional > 1e-2
    for name in ("eos-causal", "last-layer-bidirectional"):
        swapped = {**DESIGNS, name: replace(DESIGNS[name], attention="bidirectional" if "eos" in name else "causal")}
        monkeypatch.setattr("embedworks.methods.pooling_and_attention.DESIGNS", swapped)
        causal, bidirectional = reaction_to_later_tokens(decoder)
        assert causal > 1e-2 or bidirectional == 0.0


@pytest.mark.parametrize("name", DESIGNS)
def test_a_design_overfits_one_batch(name: str, decoder: Path) -> None:
    encoder = train(decoder, name)
    settings = encoder.training_settings
    assert settings["design"] == name
    assert settings["last_loss"] < 0.3 < settings["first_loss"]
    vectors = encoder.encode(PAIRS.queries)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-4)
    positives = encoder.encode(PAIRS.positives)
    assert (vectors @ positives.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("multi-layer-bidirectional", {"layer_weight_mode": "mul"}),
        ("multi-layer-bidirectional", {"layer_weight_mode": "scalar"}),
        ("multi-layer-causal", {"layer_weight_mode": "mean"}),
        ("last-layer-causal", {"last_layer_scope": "eos"}),
        ("last-layer-bidirectional", {"zero_init_output": True}),
        ("multi-layer-bidirectional", {"lora": True}),
    ],
)
def test_every_option_learns(name: str, changes: dict[str, Any], decoder: Path, tmp_path: Path) -> None:
    encoder = train(decoder, name, **changes)
    settings = encoder.training_settings
    assert settings["last_loss"] < 0.7 * settings["first_loss"]
    encoder.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    expected = encoder.encode(PAIRS.queries, precision="float32")
    assert np.allclose(loaded.encode(PAIRS.queries, precision="float32"), expected, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in FIVE if "layer" in name])
def test_gradients_reach_every_weight_of_the_pooler(name: str, decoder: Path) -> None:
    before = dict(build_design(tiny_config(decoder, name)).model[1].named_parameters())
    after = dict(train(decoder, name, max_steps=3, epochs=3.0).model[1].named_parameters())
    assert "attention.latents" in before
    assert ("layer_weights" in before) == ("multi" in name)
    for parameter, values in before.items():
        assert not torch.equal(values, after[parameter]), parameter


def test_the_same_seed_gives_the_same_model_and_another_seed_another(decoder: Path) -> None:
    first, again, other = (
        train(decoder, "multi-layer-causal", max_steps=3, epochs=3.0, seed=seed).encode(PAIRS.queries)
        for seed in (0, 0, 1)
    )
    assert np.allclose(first, again, atol=1e-5)
    assert not np.allclose(first, other, atol=1e-2)


def test_a_fitted_model_is_saved_and_loads_without_a_flag(decoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    config = tiny_config(decoder, "multi-layer-bidirectional", max_steps=2, batch_size=4)
    encoder = fit(PAIRS, config, out=out)
    loaded = load(out)
    assert np.allclose(loaded.encode(PAIRS.queries), encoder.encode(PAIRS.queries), atol=1e-2)
    assert np.allclose(
        loaded.encode(PAIRS.queries, precision="float32"), encoder.encode(PAIRS.queries, precision="float32"), atol=1e-5
    )
    with pytest.raises(InputError, match="exists already"):
        fit(PAIRS, config, out=out)


def test_any_backbone_takes_a_design_that_fits_its_attention() -> None:
    config = replace(Config.small(), design="multi-layer-bidirectional", latents=4, max_steps=2, batch_size=4)
    encoder = fit(PAIRS, config)
    assert encoder.encode(["a text"]).shape == (1, 384)
    with pytest.raises(InputError, match="causal"):
        fit(PAIRS, replace(config, design="eos-causal"))


def test_pairs_without_negatives_get_mined_ones(decoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Pairs] = []
    from embedworks import training

    honest = training.fit_pairs

    def watched(model: Any, pairs: Pairs, *rest: Any, **named: Any) -> Any:
        seen.append(pairs)
        return honest(model, pairs, *rest, **named)

    monkeypatch.setattr(training, "fit_pairs", watched, raising=False)
    bare = Pairs.from_columns(PAIRS.queries, PAIRS.positives)
    fit(bare, tiny_config(decoder, "mean-causal", max_steps=1, batch_size=4))
    fit(bare, tiny_config(decoder, "mean-causal", max_steps=1, batch_size=4, hard_negatives=0))
    fit(PAIRS, tiny_config(decoder, "mean-causal", max_steps=1, batch_size=4))
    mined = seen[0].negatives
    assert mined is not None
    assert any(mined)
    assert all(not set(row) & {positive} for row, positive in zip(mined, bare.positives, strict=True))
    assert seen[1].negatives is None
    assert seen[2].negatives == PAIRS.negatives


def test_the_heat_map_is_the_mean_correlation_of_a_texts_vectors(decoder: Path) -> None:
    from embedworks.encoders import layer_embeddings

    encoder = build(decoder, attention="causal")
    found = analyse_layers(encoder, PAIRS.queries)
    layers = [layer.vectors for layer in layer_embeddings(encoder, PAIRS.queries, summary="mean")]
    assert found.shape == (4, 4)
    for row in range(4):
        for column in range(4):
            slow = [np.corrcoef(layers[row][text], layers[column][text])[0, 1] for text in range(4)]
            assert found[row, column] == pytest.approx(np.mean(slow), abs=1e-5)


def test_layers_are_judged_on_each_kind_of_task(decoder: Path) -> None:
    encoder = build(decoder, attention="causal")
    tasks = LayerTasks(
        sts={"pairs": ScoredPairs.from_columns(PAIRS.queries, PAIRS.positives, [0, 1, 2, 3])},
        labelled={
            "classes": (
                Labelled.from_columns(PAIRS.queries, ["x", "y", "x", "y"]),
                Labelled.from_columns(PAIRS.positives, ["x", "y", "x", "y"]),
            )
        },
        judged={},
    )
    sts, classes = judge_layers(encoder, tasks)
    assert [result.system for result in sts] == ["layer 0", "layer 1", "layer 2", "layer 3"]
    assert classes[0].task == "nearest-neighbours"


def layer_result(layer: int, values: list[float]) -> Result:
    return Result(
        system=f"layer {layer}",
        data_set="set",
        task="nearest-neighbours",
        metrics={"accuracy": float(np.mean(values))},
        primary="accuracy",
        unit_ids=[str(place) for place in range(len(values))],
        per_unit={"accuracy": values},
        data_hash=hash_of(["set"]),
    )


def test_a_layer_row_counts_hidden_layers_only_and_tells_luck_from_gain() -> None:
    last = [0.0, 1.0] * 50
    good, lucky = [0.5, 1.0] * 50, [*last[:-2], 1.0, 1.0]
    row = layer_row([layer_result(0, [1.0] * 100), layer_result(1, good), layer_result(2, last)], model="m")
    assert (row["best_hidden_layer"], row["non_last_wins"], row["layers_significantly_better"]) == (1, True, 1)
    row = layer_row([layer_result(0, [1.0] * 100), layer_result(1, lucky), layer_result(2, last)], model="m")
    assert (row["non_last_wins"], row["layers_significantly_better"]) == (True, 0)
    row = layer_row([layer_result(0, [1.0] * 100), layer_result(1, last), layer_result(2, good)], model="m")
    assert (row["best_hidden_layer"], row["non_last_wins"], row["layers_significantly_better"]) == (2, False, 0)


def family_row(difference: float, low: float, high: float, p: float | None) -> SeededRow:
    return SeededRow("sts", "x", 12, 0.5, 0.01, difference, 0.01, low, high, "data sets", 0.001, 0.002, p, p, star=None)


def test_verdicts_follow_the_numbers() -> None:
    three = (0, 1, 2)
    assert verdict_over_seeds(family_row(0.05, 0.03, 0.07, 0.003), three, at_least=3.0) is Verdict.SHOWN
    assert verdict_over_seeds(family_row(0.05, 0.03, 0.07, 0.003), (0,), at_least=3.0) is Verdict.NOT_RESOLVABLE
    assert verdict_over_seeds(family_row(0.01, -0.01, 0.02, 0.3), three, at_least=3.0) is Verdict.NOT_SHOWN
    assert verdict_over_seeds(family_row(0.04, -0.01, 0.09, 0.2), three, at_least=3.0) is Verdict.NOT_RESOLVABLE
    assert verdict_over_seeds(family_row(-0.02, -0.03, -0.01, None), three, sign=-1) is Verdict.SHOWN
    assert verdict_over_seeds(family_row(0.02, 0.01, 0.03, None), three, sign=-1) is Verdict.NOT_SHOWN


def test_one_of_several_claims() -> None:
    shown, refuted, open_ = Verdict.SHOWN, Verdict.NOT_SHOWN, Verdict.NOT_RESOLVABLE
    assert best_verdict([refuted, shown]) is shown
    assert best_verdict([refuted, refuted]) is refuted
    assert best_verdict([refuted, open_]) is open_


def test_the_published_scale_is_refused_in_one_line_without_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        InputError, match=r"the weights of mistralai/Mistral-7B-v0\.1 are not on this machine"
    ) as caught:
        reproduce("paper")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_a: "somewhere/config.json")
    monkeypatch.setenv("EMBEDWORKS_DATA", str(tmp_path))
    with pytest.raises(InputError, match="triples are not on this machine"):
        require_published_inputs()
    (tmp_path / "ir-data").mkdir()
    PAIRS.write(tmp_path / "ir-data" / "train.parquet")
    require_published_inputs()


def test_what_is_trained_on_is_not_what_is_judged(data_folder: Path) -> None:
    data = StudyData.load(SIZES["quick"])
    stsb = data.sets["stsb-en"]["train"]

    def pairs_of(found: ScoredPairs) -> set[frozenset[str]]:
        return {frozenset((a.lower().strip(), b.lower().strip())) for a, b in zip(found.a, found.b, strict=True)}

    trained = pairs_of(stsb)
    assert len(data.suite.sts) == 12
    assert all(not trained & pairs_of(found) for found in data.suite.sts.values())
    triples = data.triples(SIZES["quick"], progress=False)
    assert len(triples) == SIZES["quick"].triples
    queries = {text for name in ("cranfield", "dbpedia-entity-5k") for text in data.suite.judged[name].query_texts}
    assert not queries & {*triples.queries, *triples.positives}
    negatives = triples.negatives
    assert negatives is not None
    assert np.mean([len(row) for row in negatives]) > 0.9


@pytest.mark.slow
def test_the_quick_scale_gives_an_honest_report(data_folder: Path, tmp_path: Path) -> None:
    report = reproduce("quick")
    assert report.seconds < 240
    report.write(tmp_path / "report.json")
    again = Report.read(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["scale"] == "quick"
    verdict = {finding.name: finding.verdict for finding in again.findings}
    exact = ("one-row-attention", "padding", "attention-direction", "layer-weights", "layers-as-measured-before")
    assert all(verdict[name] is Verdict.SHOWN for name in exact)
    # One seed and a few steps resolve nothing, and the report must say so.
    study = ("sts-gain", "model-5-over-model-4", "model-5-retrieval", "model-5-classification", "model-5-clustering")
    assert all(verdict[name] is Verdict.NOT_RESOLVABLE for name in study)
    assert verdict["non-last-layers"] is not Verdict.NOT_SHOWN
    runs = again.tables["runs"]
    assert [row["design"] for row in runs] == list(DESIGNS)
    assert {row["family"] for row in again.tables["families"]} == {"sts", "classification", "retrieval", "clustering"}
    assert all(row["star"] in ("", "*", "refused") for row in again.tables["families"])
    assert again.tables["layers"][0]["layer_6"] == pytest.approx(82.03, abs=0.05)
