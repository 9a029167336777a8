"""The planner takes the cheaper way at the recall that is wanted, and its prices are measured, not made up."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.index import Index
from embedworks.index.calibration import MARGINS, SHARES, Calibration, calibrate
from embedworks.index.partition import partition_rows
from embedworks.index.planner import LONGEST_ANSWER, Plan, plan

ROWS = 1_000_000


def _prices(**changes: Any) -> Calibration:
    """10 ns a row scanned; lists cost more and find more the farther they are trusted to reach."""
    prices: dict[str, Any] = {
        "scan_nanoseconds": 10.0,
        "fixed_nanoseconds": 1_000.0,
        "lists_nanoseconds": {str(margin): [100_000.0 * (1 + margin)] * len(SHARES) for margin in MARGINS},
        "recall": {str(margin): [1 - 0.01 / (1 + 10 * margin)] * len(SHARES) for margin in MARGINS},
    }
    return Calibration(**{**prices, **changes})


def _plan(prices: Calibration, share: float, **changes: Any) -> Plan:
    settings = {"rows": ROWS, "passing": int(share * ROWS), "k": 10, "wanted_recall": 0.99}
    return plan(prices, **{**settings, **changes})


def test_the_smallest_margin_of_the_wanted_recall_is_taken() -> None:
    prices = _prices()
    assert prices.margins == sorted(MARGINS)
    for wanted in (0.99, 0.998, 0.9985):
        found = _plan(prices, 1.0, wanted_recall=wanted)
        enough = [margin for margin in MARGINS if 1 - 0.01 / (1 + 10 * margin) >= wanted]
        assert found.margin == min(enough)
        assert found.recall == pytest.approx(1 - 0.01 / (1 + 10 * found.margin))
        assert found.recall >= wanted
        assert found.nanoseconds == pytest.approx(100_000 * (1 + found.margin))
    assert _plan(prices, 1.0, wanted_recall=0.99).margin < _plan(prices, 1.0, wanted_recall=0.9985).margin


def test_few_rows_are_scanned_and_many_searched_by_lists() -> None:
    assert _plan(_prices(), 0.5).way == "lists"
    few = _plan(_prices(), 0.001)
    assert (few.way, few.recall, few.margin) == ("scan", 1.0, 0.0)


@pytest.mark.parametrize(
    "changes", [{"wanted_recall": 1.0}, {"k": LONGEST_ANSWER + 1}, {"passing": 9}, {"wanted_recall": 0.9999}], ids=str
)
def test_lists_are_not_searched_where_they_cannot_serve(changes: dict[str, Any]) -> None:
    found = _plan(_prices(lists_nanoseconds={str(margin): [1.0] * len(SHARES) for margin in MARGINS}), 1.0, **changes)
    assert (found.way, found.recall) == ("scan", 1.0)
    assert found.nanoseconds == found.scan_nanoseconds


@given(
    share=st.floats(0, 1.0),
    k=st.integers(1, 200),
    wanted=st.floats(0.5, 1.0),
    scale=st.sampled_from([1e-3, 0.3, 1.0, 1e3]),
    seed=st.integers(0, 2**20),
)
def test_lists_are_cheaper_than_a_scan_and_find_what_is_wanted(
    share: float, k: int, wanted: float, scale: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    prices = _prices(
        lists_nanoseconds={
            str(margin): sorted((scale * 1e6 * generator.random(len(SHARES)) + 1).tolist()) for margin in MARGINS
        },
        recall={str(margin): generator.uniform(0.4, 1, len(SHARES)).tolist() for margin in MARGINS},
    )
    found = _plan(prices, share, k=k, wanted_recall=wanted)
    passing = int(share * ROWS)
    assert found.scan_nanoseconds == pytest.approx(1_000 + 10 * passing)
    assert found.nanoseconds <= found.scan_nanoseconds
    if found.way == "scan":
        assert found.recall == 1.0
        return
    assert k <= min(passing, LONGEST_ANSWER)
    assert found.recall >= wanted
    assert found.nanoseconds < found.scan_nanoseconds
    assert found.recall == prices.lists_recall(found.margin, passing / ROWS)
    assert found.nanoseconds == prices.lists_cost(found.margin, passing / ROWS)


def test_between_measured_shares_prices_and_recall_lie_between() -> None:
    costs = [float(2**place) for place in range(len(SHARES))]
    recall = [1 - 0.01 * place for place in range(len(SHARES))]
    prices = _prices(lists_nanoseconds={"0.5": costs}, recall={"0.5": recall})
    for share, cost, found in zip(SHARES, costs, recall, strict=True):
        assert prices.lists_cost(0.5, share) == pytest.approx(cost)
        assert prices.lists_recall(0.5, share) == pytest.approx(found)
    middle = float(np.sqrt(SHARES[0] * SHARES[1]))  # both lie on the logarithm of the share
    assert prices.lists_cost(0.5, middle) == pytest.approx(np.sqrt(costs[0] * costs[1]))
    assert prices.lists_recall(0.5, middle) == pytest.approx((recall[0] + recall[1]) / 2)
    for share in (0.0, 1e-9, SHARES[-1] / 2):
        assert prices.lists_cost(0.5, share) == pytest.approx(costs[-1])
        assert prices.lists_recall(0.5, share) == pytest.approx(recall[-1])


@pytest.fixture(scope="module", params=["float32", "pq"])
def measured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Of 1,500 rows in 40 clusters; measured with fewer queries and margins, which takes less."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((40, 16))
    vectors = centres[generator.integers(0, 40, 1_500)] + 0.5 * generator.standard_normal((1_500, 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedworks.index.segments.CODED_ROWS", 1_000)
        patch.setattr("embedworks.index.calibration._QUERIES", 40)
        patch.setattr("embedworks.index.calibration.MARGINS", MARGINS[::4])
        path: Path = tmp_path_factory.mktemp("calibration") / "rows.index"
        index = Index.create(path, dimension=16, storage=request.param, lexical=False)
        index.add([f"{row:04d}" for row in range(1_500)], vectors)
        snapshot = index._store.snapshot
        partition, order = partition_rows(snapshot)
        sorted_rows = Index.create(path.with_name("sorted.index"), dimension=16, storage=request.param, lexical=False)
        sorted_rows.add([f"{row:04d}" for row in order], vectors[order])
        segment = sorted_rows._store.snapshot.segments[0]
        return calibrate(partition, segment.codes, segment.vectors)


def test_measuring_gives_plausible_numbers_that_survive_json(measured: Calibration) -> None:
    assert Calibration.from_document(json.loads(json.dumps(asdict(measured)))) == measured
    assert measured.margins == sorted(MARGINS[::4])
    for margin in measured.margins:
        costs, recall = measured.lists_nanoseconds[str(margin)], measured.recall[str(margin)]
        assert len(costs) == len(recall) == len(SHARES)
        assert all(500 < cost < 5e7 for cost in costs)
        assert all(0 < found <= 1 for found in recall)
    assert 0.1 <= measured.scan_nanoseconds < 1e5
    assert 500 < measured.fixed_nanoseconds < 5e7


def test_the_measured_recall_rises_with_the_margin(measured: Calibration) -> None:
    rising = np.array([measured.recall[str(margin)] for margin in measured.margins])
    assert (np.diff(rising, axis=0) >= -0.005).all()
    assert (rising[-1] > rising[0]).any()
    assert (rising[-1] > 0.9).all()
