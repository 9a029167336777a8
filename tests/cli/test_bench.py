"""``embedworks bench`` passes its settings on, and prints one JSON document or a table."""

from __future__ import annotations

import json

import pytest

from embedworks.encoders.engine import benchmark

FIGURES = {
    "model": "all-MiniLM-L6-v2",
    "rounds": 2,
    "texts": {"source": "arXiv titles and abstracts"},
    "one_thread": {
        benchmark.LIBRARY: {
            "agrees": True,
            "tokens_a_second": 2000.0,
            "ratio": {"median": 1.0, "low": 1.0, "high": 1.0},
        },
        benchmark.OURS: {
            "agrees": True,
            "tokens_a_second": 3000.0,
            "ratio": {"median": 1.5, "low": 1.4, "high": 1.6},
        },
        benchmark.OURS_HALF: {"agrees": False},
    },
    "two_threads": {benchmark.OURS: {"ratio": {"median": 1.25, "low": 1.2, "high": 1.3}}},
    "assembly": {"vectors": 100_000, "in_memory": {"share_of_encoding": 0.0002}},
}


def test_figures_as_json_and_as_a_table(run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(benchmark, "run", lambda **settings: asked.append(settings) or FIGURES)
    assert json.loads(run("bench", "encode", "--rounds", "2", "--json", "-").out) == FIGURES
    shown = run("bench", "encode").out
    assert [settings["rounds"] for settings in asked] == [2, 7]
    for word in ("1.50", "1.25", "3,000", "other vectors", "0.02%"):
        assert word in shown
