"""Which way a query takes: a scan of what passes, or a walk through the graph; and how far the walk may go.

Both ways have a price in nanoseconds (see ``calibration``). A scan is exact, so the graph is taken only where it is
expected to be clearly cheaper at the recall that is wanted. What the price list cannot know is whether the filter shuns
the query's own neighbourhood; a walk that meets too few passing rows at its start, or goes over its budget, gives up
and the scan is done, so no query costs much more than its scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from embedworks.index.calibration import Calibration

LONGEST_ANSWER: Final = 100
"""A longer answer is found by a scan: the beam would have to be wider than any that was measured."""
_CLEARLY: Final = 0.7
_OVER_EXPECTED: Final = 2.0
_FEWEST_OF_EXPECTED: Final = 0.75


@dataclass(frozen=True)
class Plan:
    """A way and its price.

    Args:
        way: ``scan`` or ``graph``.
        nanoseconds: What it is expected to cost.
        scan_nanoseconds: What a scan is expected to cost.
        recall: The recall@10 to expect; 1 for a scan.
        beam: Width of the walk; 0 for a scan.
        budget: Most scores the walk may compute.
        fewest: Least share of passing rows at the walk's start.
    """

    way: str
    nanoseconds: float
    scan_nanoseconds: float
    recall: float
    beam: int = 0
    budget: int = 0
    fewest: float = 0.0


def plan(calibration: Calibration, *, rows: int, passing: int, k: int, wanted_recall: float) -> Plan:
    """Choose the way for one query.

    Args:
        calibration: Of the graph.
        rows: Rows of the graph.
        passing: How many of them pass the filter.
        k: How many are wanted.
        wanted_recall: Least recall to expect of a walk; 1 allows none.
    """
    scan = calibration.scan_cost(passing)
    chosen = Plan("scan", scan, scan, 1.0)
    if passing < k or k > LONGEST_ANSWER or wanted_recall >= 1.0 or calibration.cheapest_walk > scan:
        return chosen
    share = passing / rows
    for beam in calibration.beams:
        recall = calibration.walk_recall(beam, share)
        if beam < 2 * k or recall < wanted_recall:
            continue
        scores = calibration.walk_scores(beam, share)
        price = scores * calibration.walk_nanoseconds
        if price < _CLEARLY * scan:
            budget = min(_OVER_EXPECTED * scores, _CLEARLY * scan / calibration.walk_nanoseconds)
            return Plan("graph", price, scan, recall, beam, int(budget), _FEWEST_OF_EXPECTED * share)
        break
    return chosen
