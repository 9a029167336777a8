"""Runs of codes: each from the first code up to, and without, the second."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Run: TypeAlias = tuple[int, int]


def joined(runs: Iterable[Run]) -> list[Run]:
    """Sort runs, leave out the empty ones, and join those that touch or overlap.

    Example:
        >>> joined([(5, 6), (0, 2), (2, 3), (4, 4)])
        [(0, 3), (5, 6)]
    """
    whole: list[Run] = []
    for start, end in sorted(runs):
        if start == end:
            continue
        if whole and start <= whole[-1][1]:
            whole[-1] = whole[-1][0], max(end, whole[-1][1])
        else:
            whole.append((start, end))
    return whole


def others(runs: Iterable[Run], end: int) -> list[Run]:
    """Return the runs from 0 to ``end`` that joined runs leave out.

    Example:
        >>> others([(0, 3), (5, 6)], 9)
        [(3, 5), (6, 9)]
    """
    left: list[Run] = []
    place = 0
    for start, beyond in runs:
        if place < start:
            left.append((place, start))
        place = beyond
    if place < end:
        left.append((place, end))
    return left
