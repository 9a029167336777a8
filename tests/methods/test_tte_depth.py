"""A depth model places new texts and survives saving; the study's groups, alterations, verdicts and effects."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import embedworks
from embedworks.analysis import classifier_test, depth_rank_test, depths, depths_against
from embedworks.data import Corpus
from embedworks.foundation import InputError, StorageError
from embedworks.methods import Verdict, tte_depth
from embedworks.methods import _tte_depth_corpora as corpora
from embedworks.methods import _tte_depth_data as data
from embedworks.methods import _tte_depth_examples as examples
from embedworks.methods._over_seeds import over_seeds, verdict_of_gain, verdict_within
from embedworks.methods._report import Report

COOKING = [
    "how long to boil an egg", "a sauce of tomatoes and garlic", "bread with a thick crust", "frying onions slowly",
    "a soup of lentils and carrots", "the best flour for pasta", "roasting a chicken with lemon", "pickled cucumbers",
]  # fmt: skip
NEW = ["baking a cake with apples", "stewed beans with rice", "the orbit of a comet"]


@pytest.mark.parametrize("distance", ["cosine", "chord", "angular"])
def test_a_fitted_model_places_new_texts_and_loads_again(distance: str, tmp_path: Path) -> None:
    corpus = Corpus.from_columns(range(len(COOKING)), COOKING)
    model = tte_depth.fit(corpus, tte_depth.Config(distance=distance), out=tmp_path / "model")
    vectors, new = (embedworks.load("minilm").encode(texts) for texts in (COOKING, NEW))
    assert np.allclose(model.corpus_depths, depths(vectors, distance=distance), atol=1e-6)
    found = model.depths(NEW)
    assert np.allclose(found, depths_against(new, vectors, distance=distance), atol=1e-6)
    assert found.argmin() == 2, "the comet is the most outlying among recipes"
    assert model.order()[0] == model.corpus_depths.argmax()
    assert model.centrality(NEW)[2] == np.mean(model.corpus_depths < found[2])
    test = model.compare(NEW)
    assert test.q == pytest.approx(depth_rank_test(vectors, new, distance=distance).q)
    assert test.rank_sum.exact_p_one_sided is not None

    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json", "manifest.json", "model.safetensors",
    ]  # fmt: skip
    loaded = tte_depth.load(tmp_path / "model")
    assert loaded.dimension == model.dimension == 384
    assert loaded.training_settings == model.training_settings
    assert json.loads(json.dumps(loaded.training_settings))["texts"] == len(COOKING)
    assert np.array_equal(loaded.corpus_depths, model.corpus_depths)
    assert np.array_equal(loaded.depths(NEW), found)
    assert np.array_equal(loaded.encode(NEW), new)


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    one = Corpus.from_columns(["a"], ["a text"])
    with pytest.raises(InputError, match="one row"):
        tte_depth.fit(one, tte_depth.Config(), out=tmp_path / "model")
    with pytest.raises(InputError, match="no distance"):
        tte_depth.fit(one, tte_depth.Config(distance="far"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="holds no texts"):
        tte_depth.fit(object(), tte_depth.Config())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="exists already"):
        tte_depth.fit(one, tte_depth.Config(), out=tmp_path / "taken")


def test_a_damaged_or_foreign_directory_is_refused(tmp_path: Path) -> None:
    from embedworks.foundation.staging import staged_directory

    model = tte_depth.fit(Corpus.from_columns(range(len(COOKING)), COOKING), tte_depth.Config(), out=tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(StorageError, match=r"model\.safetensors"):
        tte_depth.load(tmp_path / "model")
    embedworks.load("minilm").save(tmp_path / "encoder")
    with pytest.raises(StorageError, match="no depth model"):
        tte_depth.load(tmp_path / "encoder")
    for name, config in (("empty", "{}"), ("odd", '{"backbone": "minilm", "distance": "far", "dimension": 384}')):
        with staged_directory(tmp_path / name, metadata={"kind": "tte-depth"}) as staging:
            (staging / "config.json").write_text(config)
            model.save(tmp_path / f"copy-{name}")
            tensors = (tmp_path / f"copy-{name}" / "model.safetensors").read_bytes()
            (staging / "model.safetensors").write_bytes(tensors)
        with pytest.raises(StorageError, match=r"damaged|fit together"):
            tte_depth.load(tmp_path / name)


def _papers(own: int, other: int) -> data.Papers:
    titles = [f"seen {number}" for number in range(own)] + [f"read {number}" for number in range(other)]
    return data.Papers(titles, ["cs.CV"] * own + ["cs.CL"] * other, np.zeros((own + other, 384), dtype=np.float16))


def test_groups_are_disjoint_within_and_over_seeds() -> None:
    groups = data.disjoint_groups(_papers(130, 50), seeds=3, size=10)
    texts = [text for group in groups for part in vars(group).values() for text in part]
    assert len(texts) == len(set(texts)) == 3 * 5 * 10
    for group in groups:
        assert {len(part) for part in vars(group).values()} == {10}
        assert sum(text.startswith("read") for text in group.mixed) == 2
        assert not any(text.startswith("read") for text in group.field + group.same_field + group.source)
    with pytest.raises(InputError, match="are needed"):
        data.disjoint_groups(_papers(130, 30), seeds=3, size=10)


def test_alterations_do_what_their_names_say() -> None:
    titles = ["Deep nets: a study of depth", "A plain title of six words", "One", "Who sees, and why"]
    shuffled = data.shuffled_words(titles, seed=1)
    assert [Counter(text.split()) for text in shuffled] == [Counter(text.split()) for text in titles]
    assert shuffled != titles
    dropped = data.dropped_words(titles * 50, seed=1)
    assert all(
        Counter(short.split()) <= Counter(long.split()) for short, long in zip(dropped, titles * 50, strict=True)
    )
    assert all(text for text in dropped)
    kept = sum(len(text.split()) for text in dropped) / sum(len(text.split()) for text in titles * 50)
    assert 0.65 < kept < 0.8, "about 30 % of the words are gone; a title of one word keeps it"
    assert data.first_clauses(titles) == ["Deep nets", "A plain title", "One", "Who sees"]
    assert all(title in text for title, text in zip(titles, data.in_a_template(titles), strict=True))
    sampled = data.sampled_by_word_pairs(titles, count=100, seed=1)
    pairs = {pair for title in titles for pair in zip(title.split(), title.split()[1:], strict=False)}
    assert len(sampled) == 100
    assert all(pair in pairs for text in sampled for pair in zip(text.split(), text.split()[1:], strict=False))
    assert all(text.split()[0] in {title.split()[0] for title in titles} for text in sampled)
    drawn = data.sampled_word_by_word(titles, count=300, seed=1)
    words = Counter(word for title in titles for word in title.split())
    found = Counter(word for text in drawn for word in text.split())
    assert {len(text.split()) for text in drawn} == {len(title.split()) for title in titles}
    assert set(found) == set(words)
    assert max(found, key=lambda word: found[word]) in {word for word in words if words[word] == max(words.values())}


def test_intervals_are_students_and_verdicts_follow_them() -> None:
    from scipy import stats

    values = [0.31, 0.35, 0.28, 0.4]
    summary = over_seeds(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (summary.low, summary.high) == pytest.approx((low, high))
    assert summary.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert over_seeds([0.0, 0.0]).p == 1.0
    assert verdict_of_gain(summary, at_least=0.3) is Verdict.SHOWN
    assert verdict_of_gain(summary, at_least=0.5) is Verdict.NOT_SHOWN
    assert verdict_of_gain(over_seeds([0.3, 0.31])) is Verdict.NOT_RESOLVABLE, "two seeds show nothing"
    assert verdict_within(summary, 0.2, 0.5) is Verdict.SHOWN
    assert verdict_within(summary, 0.5, 0.6) is Verdict.NOT_SHOWN
    assert verdict_within(summary, 0.3, 0.5) is Verdict.NOT_RESOLVABLE
    assert verdict_within(over_seeds([0.3, 0.3]), 0.0, 1.0) is Verdict.NOT_RESOLVABLE


def _outcome(q: float, *, auc: float | None = 0.7) -> corpora.PairOutcome:
    p = 1e-6 if q < 0.45 else 0.5 if q < 0.55 else 1 - 1e-6
    companions = None if auc is None else corpora.Companions(auc, 0.01 if auc > 0.6 else 0.5, 0.5, 0.5, 1.0)
    return corpora.PairOutcome(
        q=q,
        q_pooled=(q + 0.5) / 2,
        q_released=q,
        w=(0.5 - q) * 40,
        p_one_sided=p,
        p_two_sided=2 * min(p, 1 - p),
        p_permutation=None if auc is None else 0.5,
        companions=companions,
    )


def test_verdicts_on_corpora_are_computed_from_what_was_measured() -> None:
    qs = {
        corpora.NULL: 0.52,
        corpora.OTHER: 0.12,
        corpora.REVERSED: 0.13,
        corpora.MIXED: 0.42,
        corpora.OWN_SHUFFLED: 0.49,
        corpora.SHUFFLED: 0.5,
        corpora.CONCENTRATED: 0.8,
        corpora.SAMPLED: 0.3,
    }
    jitter = (-0.01, 0.0, 0.01)
    outcomes = [
        {name: _outcome(q + j, auc=None if name == corpora.OWN_SHUFFLED else 0.7 + j) for name, q in qs.items()}
        for j in jitter
    ]
    nulls = [{"one_sided": 0.04 + j / 5, "two_sided": 0.05, "q_mean": 0.5, "q_sd": 0.02} for j in jitter]
    findings = corpora.corpora_findings(outcomes, nulls)
    assert {finding.verdict for finding in findings} == {Verdict.SHOWN}
    measured = {finding.name: finding.measured for finding in findings}
    assert measured["blind-spot"]["q"] == pytest.approx(0.49)
    assert measured["blind-spot-other-titles"]["q"] == pytest.approx(0.5)
    assert measured["companion"]["detected"] == "3 of 3 seeds"

    for name in (corpora.OTHER, corpora.OWN_SHUFFLED, corpora.SAMPLED):
        outcomes = [{**seed, name: replace(seed[name], q=0.6 + j)} for seed, j in zip(outcomes, jitter, strict=True)]
    outcomes = [
        {**seed, corpora.SHUFFLED: _outcome(0.1 + j, auc=0.5 + j)} for seed, j in zip(outcomes, jitter, strict=True)
    ]
    nulls = [{**null, "one_sided": 0.15 + j} for null, j in zip(nulls, jitter, strict=True)]
    changed = {finding.name: finding.verdict for finding in corpora.corpora_findings(outcomes, nulls)}
    shown = {name for name in changed if changed[name] is Verdict.SHOWN}
    assert shown == {"contamination", "concentrated"}
    weak = [{**seed, corpora.MIXED: _outcome(0.5 + j)} for seed, j in zip(outcomes, jitter, strict=True)]
    verdicts = {finding.name: finding.verdict for finding in corpora.corpora_findings(weak, nulls)}
    assert verdicts["contamination"] is Verdict.NOT_SHOWN, "W near 0 stays below its limit"
    assert changed["companion"] is Verdict.NOT_RESOLVABLE
    rows = {row["corpus"]: row for row in corpora.pair_rows(outcomes)}
    assert set(rows) == set(qs)
    assert rows[corpora.CONCENTRATED]["two-sided < 0.05"] == "100 %"
    assert rows[corpora.OWN_SHUFFLED]["classifier < 0.05"] == ""
    assert "classifier AUC" not in rows[corpora.OWN_SHUFFLED]
    assert len(corpora.released_rows(outcomes)) == len(corpora.EARLIER_RUN)


def test_accuracy_is_the_mean_over_classes() -> None:
    shown = np.eye(3)
    test = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0.9, 0.4], [0, 0, 1]])
    truth = np.array([0, 1, 2, 2])
    for classifier in examples.CLASSIFIERS:
        assert examples.accuracy(shown, np.arange(3), test, truth, classifier) == pytest.approx((1 + 1 + 0.5) / 3)
    two = np.array([[1.0, 0.0], [0.0, 1.0], [-0.8, 0.6]])
    labels = np.array([0, 1, 1])
    probe = np.array([[0.6, 0.8]])
    assert examples.accuracy(two, labels, probe, np.array([1]), "nearest neighbour") == 1.0
    # the mean of the second class points at (-0.45, 0.89): cosine 0.45 against 0.6
    assert examples.accuracy(two, labels, probe, np.array([1]), "nearest centroid") == 0.0


def test_verdicts_on_examples_are_computed_from_what_was_measured() -> None:
    def cell(k: int, deepest: float, outlying: float) -> examples.ExamplesOutcome:
        chosen = dict.fromkeys(("deepest", "deepest, chord", "k-means", "local outlier factor"), deepest)
        return examples.ExamplesOutcome(
            k, "nearest centroid", {**chosen, "most outlying": outlying}, np.array([0.4, 0.5, 0.6])
        )

    splits = [[cell(k, (0.7 if k < 8 else 0.4) + j, 0.2 + j) for k in examples.EXAMPLES] for j in (-0.01, 0, 0.01)]
    verdicts = {finding.name: finding.verdict for finding in examples.example_findings(splits)}
    assert verdicts["examples-1"] is verdicts["examples-4"] is verdicts["outlying-8"] is Verdict.SHOWN
    assert verdicts["examples-8"] is Verdict.NOT_SHOWN
    assert splits[1][0].percentile == 100
    assert replace(splits[1][0], chosen={"deepest": 0.5}).percentile == pytest.approx(50)


@pytest.fixture(scope="module")
def papers(data_folder: Path) -> data.Papers:
    return data.read_papers()


@pytest.mark.effect
def test_level_and_power_on_abstracts(papers: data.Papers) -> None:
    vectors = papers.vectors
    rows = data.class_rows(papers, classes=2)
    assert list(rows) == ["cs.CV", "cs.CL"]
    vision, language = (vectors[of_class[:1500]] for of_class in rows.values())
    rejected, mixed = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(1500)
        rejected.append(corpora.null_splits(vision[order[:600]], splits=100, seed=seed)["one_sided"])
        contaminated = np.concatenate([vision[order[600:840]], language[order[:60]]])
        mixed.append(depth_rank_test(vision[order[:300]], contaminated))
        assert depth_rank_test(vision[order[:300]], language[order[:300]]).q < 0.2
    assert 0.01 <= np.mean(rejected) <= 0.09
    assert np.median([test.rank_sum.p_one_sided for test in mixed]) < 0.05


@pytest.mark.effect
def test_shuffled_words_are_seen_by_a_classifier_and_not_by_depth(papers: data.Papers) -> None:
    groups = data.disjoint_groups(papers, seeds=3, size=150)
    encoder = embedworks.load("minilm")
    for seed, group in enumerate(groups):
        reference, own, others = (
            encoder.encode(texts)
            for texts in (
                group.field,
                data.shuffled_words(group.field, seed=seed),
                data.shuffled_words(group.same_field + group.source, seed=seed),
            )
        )
        test = depth_rank_test(reference, own)
        assert 0.43 <= test.q <= 0.55
        assert test.rank_sum.p_two_sided > 0.05
        assert classifier_test(reference, others, seed=seed).p < 0.05


@pytest.mark.effect
def test_the_deepest_examples_beat_random_ones(papers: data.Papers) -> None:
    splits = [examples.example_outcomes(papers, split=split, draws=50) for split in range(3)]
    verdicts = {finding.name: finding.verdict for finding in examples.example_findings(splits)}
    assert verdicts["examples-1"] is verdicts["examples-2"] is Verdict.SHOWN
    for cell in (cell for split in splits for cell in split if cell.examples <= 2):
        assert cell.chosen["most outlying"] < cell.random.mean() < cell.chosen["deepest"]


@pytest.mark.slow
def test_quick_reproduction_reports_honestly(data_folder: Path, tmp_path: Path) -> None:
    report = tte_depth.reproduce("quick")
    verdicts = {finding.name: finding.verdict for finding in report.findings}
    assert verdicts["other-field"] is verdicts["examples-1"] is Verdict.SHOWN
    assert len(report.seeds) == 3
    assert {len(rows) for rows in report.tables.values()} == {5, 8, 12}
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json").method == "tte-depth"
    json.dumps(report.to_json(), allow_nan=False)
