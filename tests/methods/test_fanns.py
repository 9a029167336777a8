"""Filtered search: curves, the parameter search, verdicts; a fitted index; and the effects on real papers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from embedworks.data import Corpus
from embedworks.foundation import InputError
from embedworks.methods import Report, Verdict, fanns
from embedworks.methods import _fanns_curves as curves
from embedworks.methods import _fanns_findings as findings
from embedworks.methods import _fanns_search as search
from embedworks.methods._fanns_curves import Curve, Point
from embedworks.methods._fanns_picture import draw_curves

TEXTS = ["how long to boil an egg", "bread with a thick crust", "the orbit of a comet", "a soup of lentils"]
HAS_DATA = (Path(os.environ.get("EMBEDWORKS_DATA", "")) / "arxiv-abstracts-2025-26" / "minilm.f16.npy").is_file()


def point(recall: float, distances: float) -> Point:
    return Point("x", recall, distances, distances / 1000, 0.0, 0)


def test_cost_at_a_recall_lies_between_two_settings() -> None:
    curve = Curve("any", "R", [point(0.9, 100), point(1.0, 200)])
    assert curve.distances_at(0.95) == pytest.approx(150)
    assert curve.milliseconds_at(0.95) == pytest.approx(0.15)
    assert curve.distances_at(0.5) == 100
    assert Curve("any", "R", [point(0.9, 100)]).distances_at(0.95) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.6, 1.7, 1.65], Verdict.SHOWN),
        ([1.1, 1.12, 1.11], Verdict.NOT_SHOWN),
        ([1.0, 1.0, 1.0], Verdict.NOT_SHOWN),
        ([0.9, 1.6, 1.9], Verdict.NOT_RESOLVABLE),
        ([2.0, None, 2.0], Verdict.NOT_SHOWN),
        ([2.0, 2.0], Verdict.NOT_RESOLVABLE),
    ],
)
def test_a_ratio_is_judged_over_seeds(values: list[float | None], expected: Verdict) -> None:
    assert findings.judge(values, least=1.5, claimed_from=1.0)[1] is expected


def test_the_parameter_search_goes_downhill_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bowl:
        def __init__(self, settings: dict[str, float]) -> None:
            self.cost = (settings["degree"] - 16) ** 2 + 100 * (settings["alpha"] - 1.0) + 1

        def distances_at(self) -> float:
            return self.cost

    class OfOne:
        questions = {"EM": None}

    monkeypatch.setattr(search, "build", lambda kind, attribute, trial, seed, **settings: settings)
    monkeypatch.setattr(search, "structure_curve", lambda built, trial, question, until: Bowl(built))
    found = search.descend("ung", OfOne(), seed=0)
    assert found["found"] == str({"degree": 16, "alpha": 1.0})
    assert found["distances_there"] == 1.0
    assert found["builds"] <= 9


def test_a_fitted_index_holds_the_attributes(tmp_path: Path) -> None:
    corpus = Corpus.from_columns(range(len(TEXTS)), TEXTS, {"year": [2024, 2025, 2026, 2026]})
    index = fanns.fit(corpus, fanns.Config(), out=tmp_path / "x.index")
    from embedworks import load

    vector = load("minilm").encode(["comets and planets"])[0]
    assert index.search(vector, k=1, where="year >= 2025").hits[0].id == "2"
    assert len(index.search(vector, where="year < 2025").hits) == 1
    with pytest.raises(InputError, match="no place for the index"):
        fanns.fit(corpus, fanns.Config())


@pytest.mark.effect
@pytest.mark.skipif(not HAS_DATA, reason="needs the arXiv set")
def test_a_quick_run_judges_every_claim(tmp_path: Path) -> None:
    report = fanns.reproduce("quick")
    found = {finding.name: finding for finding in report.findings}
    assert found["no-violations"].verdict is Verdict.SHOWN
    assert found["correlated-stitched-vamana"].verdict is Verdict.SHOWN
    assert found["specialised-serf-2d"].measured["times_fewer"]["mean"] > 1.2
    kinds = {row["structure"] for row in report.tables["builds"]}
    assert kinds == set(curves.PLANS)
    exact = [row for row in report.tables["curves"] if row["name"] == "pre-filter"]
    assert {row["recall"] for row in exact} == {1.0}
    report.write(tmp_path / "fanns.json")
    draw_curves(Report.read(tmp_path / "fanns.json"), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(not HAS_DATA, reason="needs the arXiv set")
def test_questions_have_the_filters_they_are_named_after() -> None:
    from embedworks.methods._fanns_data import make_trial

    trial = make_trial(rows=300, queries=12, seed=0)
    for question in trial.questions.values():
        for made, where in zip(question.filters, question.wheres, strict=True):
            assert np.array_equal(made.mask, where.mask), question.name
    forms = {name: type(one.wheres[0].form).__name__ for name, one in trial.questions.items() if len(one.wheres)}
    assert forms["EM"] == forms["EMIS"] == forms["random 10.0%"] == "Labels"
    assert forms["R"] == forms["R, one-sided"] == "Range"
    assert forms["combined"] == "Arbitrary"
