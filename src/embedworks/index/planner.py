"""Which way a query takes: a scan of what passes, or a search list by list; and how far a list is trusted to reach.

Both ways have a price in nanoseconds (see ``calibration``). A scan is exact, so lists are taken only where they are
expected to be cheaper at the recall that is wanted. Where the filter shuns the query's neighbourhood, more lists are
opened than was expected, at the most all of them: then the answer is that of a scan, and has cost little more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from embedworks.index.calibration import Calibration

LONGEST_ANSWER: Final = 100
"""A longer answer is found by a scan: the recall was measured for ten."""
_CLEARLY: Final = 0.8


@dataclass(frozen=True)
class Plan:
    """A way and its price.

    Args:
        way: ``scan`` or ``lists``.
        nanoseconds: What it is expected to cost.
        scan_nanoseconds: What a scan is expected to cost.
        recall: The recall@10 to expect; 1 for a scan.
        margin: How far a list is trusted to reach; 0 for a scan.
    """

    way: str
    nanoseconds: float
    scan_nanoseconds: float
    recall: float
    margin: float = 0.0


def plan(calibration: Calibration, *, rows: int, passing: int, k: int, wanted_recall: float) -> Plan:
    """Choose the way for one query.

    Args:
        calibration: Of the partition.
        rows: Rows in its lists.
        passing: How many of them pass the filter.
        k: How many are wanted.
        wanted_recall: Least recall to expect; 1 allows a scan only.
    """
    scan = calibration.scan_cost(passing)
    chosen = Plan("scan", scan, scan, 1.0)
    if passing < k or k > LONGEST_ANSWER or wanted_recall >= 1.0:
        return chosen
    share = passing / rows
    for margin in calibration.margins:
        recall = calibration.lists_recall(margin, share)
        if recall < wanted_recall:
            continue
        price = calibration.lists_cost(margin, share)
        return Plan("lists", price, scan, recall, margin) if price < _CLEARLY * scan else chosen
    return chosen
