"""The planner takes the cheaper way, bounds what a walk may cost, and its prices are measured, not made up."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.index.calibration import BEAMS, SHARES, Calibration, calibrate
from embedworks.index.codes import Codes, encode_rows
from embedworks.index.graph import Graph, build_graph
from embedworks.index.planner import LONGEST_ANSWER, plan

ROWS = 1_000_000


@pytest.fixture
def prices() -> Calibration:
    """A million rows: 10 ns a row scanned, 100 ns a score walked, twenty scores a beam entry, more as fewer pass."""
    return Calibration(
        scan_nanoseconds=10.0,
        fixed_nanoseconds=1_000.0,
        walk_nanoseconds=100.0,
        scores={str(beam): [20.0 * beam / share for share in SHARES] for beam in BEAMS},
        recall={str(beam): [1 - 0.3 / beam] * len(SHARES) for beam in BEAMS},
    )


def _plan(prices: Calibration, share: float, **changes: Any) -> Any:
    settings = {"rows": ROWS, "passing": int(share * ROWS), "k": 10, "wanted_recall": 0.99}
    return plan(prices, **{**settings, **changes})


def test_the_narrowest_beam_of_the_wanted_recall_is_taken(prices: Calibration) -> None:
    assert _plan(prices, 1.0).beam == 32
    assert _plan(prices, 1.0, wanted_recall=0.996).beam == 96
    assert _plan(prices, 1.0, k=40).beam == 96
    assert _plan(prices, 1.0).recall == pytest.approx(1 - 0.3 / 32)


def test_few_rows_are_scanned_and_many_walked(prices: Calibration) -> None:
    assert _plan(prices, 0.5).way == "graph"
    assert _plan(prices, 0.001).way == "scan"


@pytest.mark.parametrize(
    "changes", [{"wanted_recall": 1.0}, {"k": LONGEST_ANSWER + 1}, {"passing": 9}, {"wanted_recall": 0.9999}], ids=str
)
def test_a_walk_is_not_taken_where_it_cannot_serve(prices: Calibration, changes: dict[str, Any]) -> None:
    assert _plan(prices, 1.0, **changes).way == "scan"


@given(share=st.floats(1e-6, 1.0), k=st.integers(1, 200))
def test_a_walk_is_cheaper_than_a_scan_and_its_budget_too(share: float, k: int) -> None:
    scores = {str(beam): [20.0 * beam / measured for measured in SHARES] for beam in BEAMS}
    prices = Calibration(10.0, 1_000.0, 100.0, scores, {str(beam): [1.0] * len(SHARES) for beam in BEAMS})
    found = _plan(prices, share, k=k)
    assert found.scan_nanoseconds == pytest.approx(1_000 + 10 * int(share * ROWS))
    assert found.nanoseconds <= found.scan_nanoseconds
    if found.way == "graph":
        assert found.budget * prices.walk_nanoseconds <= found.scan_nanoseconds
        assert found.budget * prices.walk_nanoseconds >= found.nanoseconds - prices.walk_nanoseconds


def test_between_measured_shares_prices_lie_between(prices: Calibration) -> None:
    for share in SHARES:
        assert prices.walk_scores(64, share) == pytest.approx(20 * 64 / share)
    assert prices.walk_scores(64, 0.5) < prices.walk_scores(64, 0.3) < prices.walk_scores(64, 0.25)
    assert prices.walk_scores(64, 1e-9) == prices.walk_scores(64, SHARES[-1])


def test_measuring_gives_true_counts_and_survives_json() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    layers = build_graph(vectors)
    graph = Graph(layers.arrays(), layers.entry, Codes(*encode_rows(vectors)))
    measured = calibrate(graph, vectors)
    assert Calibration.from_document(json.loads(json.dumps(asdict(measured)))) == measured
    for beam in BEAMS:
        assert len(measured.scores[str(beam)]) == len(measured.recall[str(beam)]) == len(SHARES)
        assert all(0 < scores <= 2 * 400 for scores in measured.scores[str(beam)])
    assert measured.recall["256"][0] >= 0.98, "a beam of more than half the rows misses hardly anything"
    assert measured.recall["16"][0] <= measured.recall["256"][0]
    assert min(measured.scan_nanoseconds, measured.fixed_nanoseconds, measured.walk_nanoseconds) > 0
