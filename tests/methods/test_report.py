"""Verdicts follow from numbers; a report survives its round trip; a foreign file is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import StorageError
from embedworks.methods import Finding, Report, Verdict, verdict_of_check, verdict_of_difference

finite = st.floats(-50, 50)


@given(difference=finite, half=st.floats(0, 50), p_value=st.floats(0, 1), at_least=st.floats(0, 20))
def test_a_verdict_never_overstates(difference: float, half: float, p_value: float, at_least: float) -> None:
    interval = (difference - half, difference + half)
    verdict = verdict_of_difference(difference, interval, p_value, at_least=at_least)
    if verdict is Verdict.SHOWN:
        assert difference >= at_least
        assert difference > 0
        assert p_value < 0.05
    if difference <= 0 or p_value >= 0.05 or difference < at_least:
        assert verdict is not Verdict.SHOWN
    if interval[1] < at_least and not (difference >= at_least and p_value < 0.05):
        assert verdict is Verdict.NOT_SHOWN


def test_a_check_is_shown_up_to_its_tolerance() -> None:
    assert verdict_of_check(1e-5, 1e-5) is Verdict.SHOWN
    assert verdict_of_check(1.1e-5, 1e-5) is Verdict.NOT_SHOWN
    assert verdict_of_check(float("nan"), 1e-5) is Verdict.NOT_SHOWN


def _report() -> Report:
    finding = Finding(name="gain", claim="a > b", measured={"difference_points": 1.5}, verdict=Verdict.SHOWN)
    return Report(
        method="contrastive", scale="quick", seeds=[1, 2], config={"batch_size": 8}, findings=[finding],
        tables={"scores": [{"system": "a", "score": 1.0}]}, environment={"versions": {}}, seconds=1.0,
    )  # fmt: skip


def test_a_report_survives_its_round_trip(tmp_path: Path) -> None:
    _report().write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == _report()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "other"}', '{"kind": "embedworks-report", "schema": 9}'])
def test_a_foreign_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(StorageError, match="is not a report"):
        Report.read(tmp_path / "x.json")


def test_an_unknown_verdict_is_refused(tmp_path: Path) -> None:
    document = _report().to_json()
    document["findings"][0]["verdict"] = "great"
    (tmp_path / "x.json").write_text(json.dumps(document))
    with pytest.raises(StorageError, match="is not a report"):
        Report.read(tmp_path / "x.json")
