"""The demonstration's claims, checked on a full run: the one CI has just made, or one made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.effect


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    given = os.environ.get("EMBEDWORKS_DEMO_JSON")
    if given:
        return json.loads(Path(given).read_text())
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "embedworks", "demo", "--folder", folder / "demo", "--no-serve", "--json", "-"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


def _against(document: dict[str, Any], data_set: str, baseline: str, system: str) -> dict[str, Any]:
    (comparison,) = [
        entry
        for entry in document["comparisons"]
        if entry["data_set"].startswith(data_set) and entry["baseline"] == baseline
    ]
    (row,) = [row for row in comparison["rows"] if row["system"] == system]
    return row


def test_it_reads_at_least_five_thousand_entries(document: dict[str, Any]) -> None:
    assert document["entries"] >= 5000
    assert document["packages"] > 20


def test_tuned_beats_untuned_by_five_points_on_held_out_functions(document: dict[str, Any]) -> None:
    row = _against(document, "held-out functions", "untuned", "tuned")
    assert row["difference"] >= 0.05
    assert row["p_holm"] < 0.01
    assert row["wilcoxon_p_holm"] < 0.01


@pytest.mark.parametrize("part", ["BM25", "tuned"])
def test_the_hybrid_beats_both_its_parts_on_held_out_functions(document: dict[str, Any], part: str) -> None:
    row = _against(document, "held-out functions", "hybrid", part)
    assert row["difference"] < 0, "the row is the part minus the hybrid"
    assert row["p_holm"] < 0.01


def test_whatever_the_held_out_package_shows_is_reported(document: dict[str, Any]) -> None:
    (table,) = [rows for name, rows in document["tables"].items() if name.startswith("held-out package")]
    assert [row["system"] for row in table] == ["BM25", "untuned", "tuned", "hybrid"]
    assert all(0 < row[metric] <= 100 for row in table for metric in ("nDCG@10", "recall@10", "MRR@10"))


def test_filtered_answers_keep_their_filter(document: dict[str, Any]) -> None:
    first, second, third = document["answers"]
    assert all(len(answer["hits"]) == 3 for answer in document["answers"])
    assert all(hit["attributes"]["kind"] == "function" and hit["attributes"]["words"] > 20 for hit in first["hits"])
    assert all(
        hit["attributes"]["package"] in ("torch", "transformers") and hit["attributes"]["kind"] != "class"
        for hit in second["hits"]
    )
    assert all(
        hit["attributes"]["package"] == "python" and 10 <= hit["attributes"]["words"] <= 200 for hit in third["hits"]
    )
