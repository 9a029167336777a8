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


def test_search_prints_one_document_or_a_table(run, monkeypatch: pytest.MonkeyPatch) -> None:
    from embedworks.evaluation.filtered import search_benchmark

    engine = {"cpu_ms": 0.25, "recall": 0.995, "setting": "gather"}
    ratio = {"median": 1.75, "low": 1.5, "high": 2.0}
    cell = {
        "cell": "date 10 %",
        "passing": 4000.0,
        "best_peer": "NumPy exact",
        "engines": {"embedworks": engine, "NumPy exact": engine},
        "ratio": ratio,
        "ratio_new_filter": ratio,
    }
    summary = {"cells": 12, "at_least_as_fast": ["date 10 %"], "three_times_as_fast": []}
    figures = {"rows": 3000, "dimension": 8, "rounds": 2, "wanted_recall": 0.99, "cells": [cell], "summary": summary}
    monkeypatch.setattr(search_benchmark, "run", lambda **settings: figures)
    assert json.loads(run("bench", "search", "--json", "-").out) == figures
    shown = run("bench", "search").out
    for word in ("3,000", "1.75", "NumPy", "1 of 12"):
        assert word in shown
