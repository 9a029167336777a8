"""Which way a query takes: a scan of what passes, or a search list by list; and how far a list is trusted to reach.

Both ways have a price in nanoseconds (see ``calibration``). A scan is exact, so lists are taken only where they are
expected to be cheaper at the recall that is wanted. Where the filter shuns the query's neighbourhood, more lists are
opened than was expected, at the most all of them: then the answer is that of a scan, and has cost little more.

The margin follows the recall that is wanted and nothing else, and where lists are taken they are taken for every wider
filter too. So a tighter filter loses nothing: a hit of the wider one that still passes is there again, unless k better
ones are. For with one margin lists are opened in one order; a list that the tighter search does not open lies behind
all it opens; the wider search has opened these before that one, and knew k rows as good by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from embedworks.index.calibration import SHARES, Calibration

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
    margin = calibration.margin(wanted_recall)
    if margin is None:
        return chosen
    share = passing / rows
    wider = zip(SHARES, calibration.lists_nanoseconds[str(margin)], strict=True)
    price = calibration.lists_cost(margin, share)
    if price >= _CLEARLY * scan or any(
        nanoseconds >= _CLEARLY * calibration.scan_cost(round(measured * rows))
        for measured, nanoseconds in wider
        if measured > share
    ):
        return chosen
    return Plan("lists", price, scan, calibration.lists_recall(margin, share), margin)
