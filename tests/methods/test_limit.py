"""Free vectors fitted to judgements, LIMIT's systems and patterns, and verdicts computed from what is measured."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import embedworks
from embedworks.analysis import CriticalSize, ranking_check
from embedworks.data import Corpus, Judged, load_data_set
from embedworks.data.limit import generate_limit
from embedworks.evaluation import RememberingEncoder
from embedworks.foundation import InputError, StorageError
from embedworks.foundation.staging import staged_directory
from embedworks.methods import Verdict, limit
from embedworks.methods import _limit_free as free
from embedworks.methods import _limit_patterns as patterns
from embedworks.methods import _limit_search as search
from embedworks.methods._report import Report

ITEMS = [f"{colour} {thing}" for colour in ("Red", "Green", "Blue", "Grey") for thing in ("Tea", "Rye", "Sun and Moon")]


def _judged() -> Judged:
    documents = [f"d{number}" for number in range(8)]
    pairs = list(itertools.combinations(documents[:6], 2))
    corpus = Corpus.from_columns(documents, [f"text {name}" for name in documents])
    queries = [f"q{number}" for number in range(len(pairs))]
    relevance = {query: dict.fromkeys(pair, 1) for query, pair in zip(queries, pairs, strict=True)}
    return Judged.from_columns(corpus, [*queries, "unjudged"], [f"text {name}" for name in [*queries, "x"]], relevance)


def test_free_vectors_rank_the_judgements_and_load_again(tmp_path: Path) -> None:
    judged = _judged()
    model = limit.fit(judged, limit.Config(dimension=5, starts=2, patience=200), out=tmp_path / "model")
    queries, documents = model.vectors("query"), model.vectors("document")
    assert model.dimension == 5
    assert len(model.query_ids) == 15
    assert model.document_ids == judged.corpus.ids
    assert np.allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-6)
    wanted = np.array(
        [[bool(judged.relevance[query].get(name)) for name in model.document_ids] for query in model.query_ids]
    )
    check = ranking_check(queries, documents, wanted)
    assert check.solved
    assert check.margin == pytest.approx(model.margin, abs=1e-6)
    assert np.array_equal(model.encode(["d3", "q1"]), np.stack([documents[3], queries[1]]))
    assert np.array_equal(documents[6], documents[7]), "documents that no query wants share a vector"
    with pytest.raises(InputError, match="nobody"):
        model.encode(["d1", "nobody"])

    loaded = limit.load(tmp_path / "model")
    assert loaded.training_settings == model.training_settings
    assert np.array_equal(loaded.encode(["q0"]), model.encode(["q0"]))
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(StorageError, match=r"model\.safetensors"):
        limit.load(tmp_path / "model")
    with staged_directory(tmp_path / "foreign", metadata={"kind": "other"}) as staging:
        (staging / "config.json").write_text("{}")
    with pytest.raises(StorageError, match="no free vectors"):
        limit.load(tmp_path / "foreign")


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no judgements"):
        limit.fit(object(), limit.Config())  # type: ignore[arg-type]
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="exists already"):
        limit.fit(_judged(), limit.Config(), out=tmp_path / "taken")
    corpus = Corpus.from_columns(["q"], ["a text"])
    with pytest.raises(InputError, match="a query and a document"):
        limit.fit(Judged.from_columns(corpus, ["q"], ["a question"], {"q": {"q": 1}}), limit.Config())


def test_one_thread_and_then_as_many_as_before() -> None:
    import torch

    before = torch.get_num_threads()
    with limit.one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_phrases_find_exactly_what_is_listed() -> None:
    judged = generate_limit(ITEMS, queries=6, documents=12, items_per_document=4, pattern="disjoint")
    answers = search.PhraseSearch(judged.corpus).search(judged.query_texts, 100)
    for query, answer in zip(judged.query_ids, answers, strict=True):
        assert {document for document, _ in answer} == set(judged.relevance[query])
    assert search.PhraseSearch(judged.corpus).search(["Who likes Nothing?"], 5) == [[]]


class _Letters:
    """Counts letters; stands in for an encoder."""

    dimension = 26

    def encode(self, items: list[str]) -> np.ndarray:
        return np.array([[text.lower().count(chr(97 + place)) for place in range(26)] for text in items], np.float32)


def test_shortened_vectors_are_the_first_components() -> None:
    whole = _Letters().encode(["abc", "cab"])
    assert np.array_equal(search.Shortened(_Letters(), 2).encode(["abc", "cab"]), whole[:, :2])


def test_systems_and_patterns_on_a_set_of_ones_own() -> None:
    found = search.systems(
        RememberingEncoder(_Letters()),
        generate_limit(ITEMS, queries=6, documents=12, items_per_document=4, pattern="disjoint"),
        dimensions=(3,),
    )
    assert list(found) == [f"{search.SINGLE}, 3 of 26", search.SINGLE, search.BM25, search.PHRASES]
    assert found[search.PHRASES].exact == 100
    assert all(0 <= one.at[2] <= one.at[20] <= one.at[100] <= 100 for one in found.values())
    rows = search.recall_rows(found)
    assert {row["system"] for row in rows} == set(found)


def test_patterns_of_one_seed_differ_in_density() -> None:
    done: list[int] = []
    items = [f"thing {number}" for number in range(120)]
    outcomes = patterns.pattern_outcomes(_Letters(), items, queries=40, documents=80, seed=1, finished=done.append)
    assert sum(done) == len(outcomes) == 4
    assert outcomes["disjoint"].strength == 0
    assert outcomes["dense"].graph_density > 2 * outcomes["random"].graph_density
    assert all(one.found[search.BM25].at[100] > 90 for one in outcomes.values())


def _recalls(value: float) -> search.Recalls:
    return search.Recalls(dict.fromkeys((2, 5, 10, 20, 100), value), value, np.full(8, value / 100))


def _outcomes(dense: float, other: float, bm25: float) -> dict[str, patterns.PatternOutcome]:
    return {
        pattern: patterns.PatternOutcome(
            {
                search.SINGLE: _recalls(dense if pattern == "dense" else other),
                search.BM25: _recalls(98.0 if pattern == "dense" else bm25),
            },
            0.1,
            2.0,
        )
        for pattern in ("random", "cycle", "disjoint", "dense")
    }


def test_verdicts_on_patterns_follow_the_recalls() -> None:
    wide = [_outcomes(10 + shift, 45, 97) for shift in (0, 1, 2)]
    assert {finding.verdict for finding in patterns.pattern_findings(wide)} == {Verdict.SHOWN}
    narrow = [_outcomes(40 + shift, 45, 80) for shift in (0, 1, 2)]
    assert {finding.verdict for finding in patterns.pattern_findings(narrow)} == {Verdict.NOT_SHOWN}
    single = patterns.pattern_findings(wide[:1])
    assert {finding.verdict for finding in single} == {Verdict.NOT_RESOLVABLE}
    rows = patterns.pattern_rows(wide)
    assert len(rows) == 8
    assert next(row for row in rows if row["pattern"] == "dense")["recall@20"] == 11.0


def _curve(sizes: dict[int, int]) -> list[CriticalSize]:
    return [
        CriticalSize(dimension, 2, {0: size, 1: size - 1}, {size: 1}, {size: 1e-3}) for dimension, size in sizes.items()
    ]


def test_verdicts_on_critical_sizes_follow_the_sizes() -> None:
    good = {4: 9, 5: 13, 6: 19, 7: 23, 8: 28, 9: 32}
    findings = {finding.name: finding for finding in free.critical_findings(_curve(good))}
    assert findings["critical-size"].verdict is findings["cubic-fit"].verdict is Verdict.SHOWN
    bad = {finding.name: finding.verdict for finding in free.critical_findings(_curve({**good, 8: 20}))}
    assert bad["critical-size"] is bad["cubic-fit"] is Verdict.NOT_SHOWN
    few = {finding.name: finding.verdict for finding in free.critical_findings(_curve({4: 9, 5: 14}))}
    assert set(few.values()) == {Verdict.NOT_RESOLVABLE}
    assert [row["published"] for row in free.critical_rows(_curve(good))] == [10, 14, 19, 24, 28, 32]


def test_verdicts_on_the_circle_follow_its_ranking() -> None:
    right = free.CircleOutcome(46, 2, 1035, "float64", 0, 3.02e-5, 3.0e-5)
    assert {finding.verdict for finding in free.circle_findings([right])} == {Verdict.SHOWN}
    wrong = free.CircleOutcome(46, 2, 1035, "float64", 1, -1e-5, 3.0e-5)
    assert {finding.verdict for finding in free.circle_findings([wrong])} == {Verdict.NOT_SHOWN}


def test_the_small_set_as_computed_before(data_folder: Path) -> None:
    judged = load_data_set("limit-small")["test"]
    lexical = search.systems(RememberingEncoder(_Letters()), judged, dimensions=())
    for name in (search.BM25,):
        ours = [*(lexical[name].at[cut] for cut in search.CUTS), lexical[name].exact]
        assert ours == pytest.approx(search.EARLIER_RUN[name], abs=1)
    assert lexical[search.PHRASES].exact == 100
    assert lexical[search.SINGLE].at[2] < 30
    densities = patterns.density_findings({"limit-small": judged})
    assert [finding.verdict for finding in densities] == [Verdict.SHOWN]


@pytest.mark.effect
def test_one_vector_a_text_fails_where_many_do_not(data_folder: Path) -> None:
    encoder = embedworks.load("minilm")
    judged = load_data_set("limit-small")["test"]
    found = search.systems(RememberingEncoder(encoder), judged, tokens=encoder)
    findings = search.small_findings(found, longest=173, limit=256)
    assert {finding.verdict for finding in findings} == {Verdict.SHOWN}, [
        (finding.name, finding.measured) for finding in findings
    ]


@pytest.mark.slow
def test_quick_reproduction_reports_honestly(data_folder: Path, tmp_path: Path) -> None:
    report = limit.reproduce("quick")
    verdicts = {finding.name: finding.verdict for finding in report.findings}
    assert verdicts["exact-solution"] is verdicts["exact-margins"] is verdicts["densities-limit-small"] is Verdict.SHOWN
    assert verdicts["critical-size"] is verdicts["cubic-fit"] is verdicts["pattern-random"] is Verdict.NOT_RESOLVABLE
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json").method == "limit"
    json.dumps(report.to_json(), allow_nan=False)
