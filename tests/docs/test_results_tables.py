"""The figures in the docs come from the results files; a marker that names nothing fails the build."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("results_tables", ROOT / "docs" / "hooks" / "results_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "results").mkdir()
    report = {
        "tables": {"scores": [{"system": "a|b", "mean_points": 1.234567, "better": True}, {"system": "c", "p": 1e-5}]},
        "findings": [
            {"claim": "a > b", "measured": {"p": 0.0001, "interval": [1.0, 2.0]}, "published": {}, "verdict": "shown"}
        ],
    }
    (tmp_path / "results" / "x.json").write_text(json.dumps(report))
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_a_table_takes_its_place(hook) -> None:
    page = hook.on_page_markdown("before\n<!-- results: x.json scores -->\nafter")
    assert "| system | mean points | better | p |" in page
    assert "| a\\|b | 1.23 | yes |  |" in page
    assert "| c |  |  | 1.00e-05 |" in page


def test_findings_carry_claim_figures_and_verdict(hook) -> None:
    page = hook.on_page_markdown("<!-- results: x.json findings -->")
    assert "| a > b | p: 1.00e-04<br>interval: 1.00 to 2.00 |  | **shown** |" in page


@pytest.mark.parametrize("marker", ["<!-- results: y.json scores -->", "<!-- results: x.json nothing -->"])
def test_a_marker_that_names_nothing_fails(hook, marker: str) -> None:
    with pytest.raises((OSError, KeyError)):
        hook.on_page_markdown(marker)


def test_every_page_and_decision_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page not in navigation] == []
