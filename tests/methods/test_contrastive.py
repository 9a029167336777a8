"""The default method: pairs are what they say, a fit learns and saves, a report at quick scale is honest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import embedworks
from embedworks.data import Labelled, Pairs
from embedworks.foundation import InputError
from embedworks.methods import Verdict, contrastive
from embedworks.methods._report import Report


def _labelled() -> Labelled:
    labels = ["a"] * 5 + ["b"] * 3 + ["lonely"]
    return Labelled.from_columns([f"text {row} of {label}" for row, label in enumerate(labels)], labels)


@pytest.mark.parametrize("seed", range(5))
def test_intent_pairs_join_different_texts_of_one_label(seed: int) -> None:
    pairs = contrastive.intent_pairs(_labelled(), seed=seed, masked=True)
    assert len(pairs) == 8, "a label with a single text gives no pair"
    for query, positive, label in zip(pairs.queries, pairs.positives, pairs.query_ids, strict=True):
        assert query != positive
        assert query.endswith(f"of {label}")
        assert positive.endswith(f"of {label}")
    assert pairs.query_ids == pairs.positive_ids


def test_intent_pairs_without_mask_differ_only_in_their_ids() -> None:
    masked = contrastive.intent_pairs(_labelled(), seed=1, masked=True)
    plain = contrastive.intent_pairs(_labelled(), seed=1, masked=False)
    assert plain.query_ids is None
    assert plain.positive_ids is None
    assert (plain.queries, plain.positives) == (masked.queries, masked.positives)


def _pairs() -> Pairs:
    subjects = ["cat", "train", "river", "bread", "violin", "comet", "ladder", "pepper"]
    return Pairs.from_columns(
        [f"code word {number} {number * 7}" for number in range(8)],
        [f"a long story about one {subject} and its owner" for subject in subjects],
    )


def test_a_fit_learns_its_pairs_and_saves_a_model_that_loads(tmp_path: Path) -> None:
    pairs = _pairs()
    config = contrastive.Config(max_steps=25, epochs=100, batch_size=8, learning_rate=2e-4, precision="float32")

    def rank_one(encoder) -> float:
        queries, positives = encoder.encode(pairs.queries), encoder.encode(pairs.positives)
        return float(np.mean((queries @ positives.T).argmax(axis=1) == np.arange(8)))

    before = rank_one(embedworks.load("minilm"))
    tuned = contrastive.fit(pairs, config, out=tmp_path / "model")
    assert before < 0.6
    assert rank_one(tuned) == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["model"], "checkpoints go when the model is saved"
    loaded = embedworks.load(tmp_path / "model")
    assert np.allclose(loaded.encode(pairs.queries), tuned.encode(pairs.queries), atol=1e-6)


def test_a_setting_out_of_range_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="learning_rate"):
        contrastive.fit(_pairs(), contrastive.Config(learning_rate=-1.0), out=tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_quick_reproduction_reports_honestly(data_folder: Path, tmp_path: Path) -> None:
    report = contrastive.reproduce("quick")
    assert len(report.findings) == 6
    for finding in report.findings:
        low, high = finding.measured["interval_95_points"]
        assert low <= finding.measured["difference_points"] <= high
        if finding.verdict is Verdict.SHOWN:
            assert finding.measured["p"] < 0.05
            assert finding.measured["difference_points"] > 0
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json").findings[0].name == "tuning"
    json.dumps(report.to_json(), allow_nan=False)
