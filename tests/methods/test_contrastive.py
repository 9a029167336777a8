"""The default method: pairs are what they say, a fit learns and saves, a report at quick scale is honest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import embedworks
from embedworks.data import Labelled, Pairs
from embedworks.evaluation import Result
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


def _judged(shares: list[float]) -> list[list[Result]]:
    """Return one result a seed, with that share of 200 test questions right."""
    return [
        [
            Result(
                system="any",
                data_set="banking77",
                task="classification",
                primary="accuracy",
                metrics={"accuracy": share},
                unit_ids=[str(place) for place in range(200)],
                per_unit={"accuracy": [float(place < 200 * share) for place in range(200)]},
                data_hash="same",
            )
        ]
        for share in shares
    ]


@pytest.mark.parametrize(
    ("ours", "others", "verdict"),
    [
        ([0.80, 0.81, 0.82], [0.60], Verdict.SHOWN),
        ([0.70, 0.52, 0.66], [0.60, 0.61, 0.60], Verdict.NOT_RESOLVABLE),
        ([0.50, 0.51, 0.52], [0.60, 0.61, 0.62], Verdict.NOT_SHOWN),
    ],
)
def test_the_verdict_asks_the_seeds(ours: list[float], others: list[float], verdict: Verdict) -> None:
    results = {"ours": _judged(ours), "other": _judged(others)}
    finding = contrastive._finding("any", "ours", "other", results, task="classification", seeds=(0, 1, 2))
    assert finding.verdict is verdict


@pytest.mark.slow
def test_quick_reproduction_reports_honestly(data_folder: Path, tmp_path: Path) -> None:
    report = contrastive.reproduce("quick")
    assert len(report.findings) == 6
    for finding in report.findings:
        low, high = finding.measured["interval_95_points"]
        assert low <= finding.measured["difference_points"] <= high
        assert finding.verdict is Verdict.NOT_RESOLVABLE, "one seed shows nothing"
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json").findings[0].name == "tuning"
    json.dumps(report.to_json(), allow_nan=False)
