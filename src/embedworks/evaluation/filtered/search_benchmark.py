"""How fast filtered search is, as a ratio to the best of the other engines, cell by cell, at equal recall.

One thread each. Every engine takes the setting that is fastest among those that reach recall@10 of 0.99 on 200
queries; times come from 200 others, held out like the first. Rounds interleave the engines in random order; times are
of the processor, since a shared machine's wall clock says more about the neighbours. Peers get the rows that pass as
their interface takes them (a bitmap, a callback, a label), ready before the clock starts; engines with a table of their
own, and ours, get the filter as they take it from anyone. Ours is timed a second time with filters it has never seen.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from embedworks.evaluation.filtered.cells import Cell, cells_of
from embedworks.evaluation.filtered.engines import PEERS, Engine, Ours
from embedworks.evaluation.filtered.papers import MEASURING, TUNING, PaperSet, read_paper_set
from embedworks.evaluation.filtered.race import WANTED_RECALL, Arm, Truth, choose, race, ratio
from embedworks.foundation import environment, progress_bar

if TYPE_CHECKING:
    from rich.table import Table

OURS: Final = "embedworks"
OURS_NEW: Final = "embedworks, new filter"
_AT_LEAST: Final = 3.0
_LOGGER = logging.getLogger(__name__)


def run(
    *,
    rounds: int = 7,
    rows: int | None = None,
    queries: int = TUNING + MEASURING,
    peers: Sequence[type[Engine]] = PEERS,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure.

    Args:
        rounds: How many times every engine runs in each cell, on queries of their own.
        rows: How many papers to search; all unless given.
        queries: How many papers to hold out, half of them for tuning.
        peers: Whom to compare with; one that is not installed is left out with a line that says how to get it.
        seed: Decides queries, filters and order.
        progress: Whether to show a progress bar.

    Returns:
        A JSON document: per cell and engine the milliseconds, the recall and the setting; per cell the ratio.

    Raises:
        InputError: The arXiv set is not there.
    """
    papers = read_paper_set(rows=rows, queries=queries, seed=seed)
    cells = cells_of(papers, seed=seed)
    absent = {peer.name: hint for peer in peers if (hint := peer.missing()) is not None}
    for name, hint in absent.items():
        _LOGGER.warning("%s is not installed and left out; to have it: %s", name, hint)
    present: list[type[Engine]] = [Ours, *(peer for peer in peers if peer.name not in absent)]
    engines: list[Engine] = []
    with _one_thread(), tempfile.TemporaryDirectory() as folder:
        try:
            built: dict[str, float] = {}
            with progress_bar("building", len(present), unit="engines", enabled=progress) as advance:
                for number, kind in enumerate(present):
                    engines.append(kind())
                    place = Path(folder) / str(number)
                    place.mkdir()
                    begun = time.perf_counter()
                    engines[-1].build(papers, cells, place)
                    built[kind.name] = round(time.perf_counter() - begun, 2)
                    advance(1)
            measured = []
            with progress_bar("measuring", len(cells), unit="cells", enabled=progress) as advance:
                for cell in cells:
                    measured.append(_measure(engines, papers, cell, rounds=rounds, seed=seed))
                    advance(1)
        finally:
            for engine in engines:
                engine.close()
    return {
        "benchmark": "search",
        "seed": seed,
        "rounds": rounds,
        "rows": len(papers),
        "dimension": papers.vectors.shape[1],
        "wanted_recall": WANTED_RECALL,
        "queries": {"tuning": len(cells[0].tuning), "measuring": len(cells[0].measuring)},
        "environment": environment() | {"engines": _versions(present)},
        "not_installed": absent,
        "build_seconds": built,
        "cells": measured,
        "summary": _summary(measured),
        "tables": tables(measured),
    }


def _measure(engines: Sequence[Engine], papers: PaperSet, cell: Cell, *, rounds: int, seed: int) -> dict[str, Any]:
    truth = Truth(papers, cell)
    arms, unable = [], []
    for engine in engines:
        choice = choose(engine, papers, cell, truth)
        if choice is None:
            unable.append(engine.name)
            continue
        arms.append(Arm(engine.name, engine, choice, [engine.prepare(f, choice.setting) for f in cell.filters]))
        if isinstance(engine, Ours):
            arms.append(Arm(OURS_NEW, engine, choice, [engine.prepare(f, "new filter") for f in cell.filters]))
    figures = race(arms, papers, cell, truth, rounds=rounds, seed=seed)
    able = {
        name: found
        for name, found in figures.items()
        if name not in (OURS, OURS_NEW) and found["reached_when_tuned"] and found["recall"] >= WANTED_RECALL - 0.005
    }
    best = min(able, key=lambda name: able[name]["cpu_ms"])
    ours = figures[OURS]["cpu_ms_by_round"]
    return {
        "cell": cell.name,
        "filters": [where.where for where in cell.filters],
        "passing": round(float(np.mean([len(where.rows) for where in cell.filters])), 1),
        "cannot_express_it": unable,
        "engines": figures,
        "best_peer": best,
        "ratio": ratio(figures[best]["cpu_ms_by_round"], ours, seed=seed),
        "ratio_new_filter": ratio(figures[best]["cpu_ms_by_round"], figures[OURS_NEW]["cpu_ms_by_round"], seed=seed),
        "ratios": {name: ratio(found["cpu_ms_by_round"], ours, seed=seed) for name, found in able.items()},
    }


def _summary(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cells": len(measured),
        "at_least_as_fast": [one["cell"] for one in measured if one["ratio"]["median"] >= 1],
        "faster_beyond_doubt": [one["cell"] for one in measured if one["ratio"]["low"] > 1],
        "three_times_as_fast": [one["cell"] for one in measured if one["ratio"]["median"] >= _AT_LEAST],
        "slower": [one["cell"] for one in measured if one["ratio"]["median"] < 1],
        "our_recall_below_the_wanted": [
            one["cell"] for one in measured if one["engines"][OURS]["recall"] < WANTED_RECALL
        ],
    }


def tables(measured: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the tables of the documentation.

    Args:
        measured: The cells of :func:`run`.

    Returns:
        ``cells``: ours and the best peer; ``engines``: milliseconds of every engine, and recall where it is too low.
    """
    return {
        "cells": [
            {
                "cell": one["cell"],
                "passing": round(one["passing"]),
                "ours_ms": one["engines"][OURS]["cpu_ms"],
                "recall": one["engines"][OURS]["recall"],
                "best_peer": f"{one['best_peer']}, {one['engines'][one['best_peer']]['setting']}",
                "its_ms": one["engines"][one["best_peer"]]["cpu_ms"],
                "its_recall": one["engines"][one["best_peer"]]["recall"],
                "times_as_fast": _shown_ratio(one["ratio"]),
                "with_a_new_filter": _shown_ratio(one["ratio_new_filter"]),
                "exact_in_NumPy": _shown_ratio(one["ratios"]["NumPy exact"]) if "NumPy exact" in one["ratios"] else "",
            }
            for one in measured
        ],
        "engines": [
            {"engine": name} | {one["cell"]: _shown_engine(one["engines"].get(name)) for one in measured}
            for name in dict.fromkeys(name for one in measured for name in one["engines"])
        ],
    }


def _shown_ratio(found: dict[str, float]) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _shown_engine(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    reached = found["reached_when_tuned"]
    return f"{found['cpu_ms']:.3g}" if reached else f"{found['cpu_ms']:.3g} at {found['recall']:.2f}"


@contextmanager
def _one_thread() -> Iterator[None]:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    import embedworks.index  # noqa: F401 - what has threads is loaded before it is held to one

    with threadpool_limits(1):
        yield


def _versions(engines: Sequence[type[Engine]]) -> dict[str, str]:
    from importlib.metadata import version

    return {kind.name: version(kind.package.replace("_", "-")) for kind in engines if kind.package}


def table(figures: dict[str, Any]) -> Table:
    """Return the figures as a table for a terminal.

    Args:
        figures: What :func:`run` returned.
    """
    from rich.table import Table as RichTable

    summary = figures["summary"]
    shown = RichTable(
        title=f"{figures['rows']:,} x {figures['dimension']}, recall@10 >= {figures['wanted_recall']}, one thread",
        caption=(
            f"processor milliseconds a query; ratio: best peer / ours, median of {figures['rounds']} rounds and 90 % "
            f"interval; at least as fast in {len(summary['at_least_as_fast'])} of {summary['cells']} cells, "
            f"3 times in {len(summary['three_times_as_fast'])}"
        ),
    )
    for column in ("cell", "passing", "ours ms", "recall", "best peer", "its ms", "ratio", "ratio, new filter"):
        shown.add_column(column, justify="left" if column in ("cell", "best peer") else "right")
    for cell in figures["cells"]:
        ours, best = cell["engines"][OURS], cell["engines"][cell["best_peer"]]
        ratios = [cell[name] for name in ("ratio", "ratio_new_filter")]
        shown.add_row(
            cell["cell"],
            f"{cell['passing']:,.0f}",
            f"{ours['cpu_ms']:.3f}",
            f"{ours['recall']:.3f}",
            f"{cell['best_peer']} ({best['setting']})",
            f"{best['cpu_ms']:.3f}",
            _shown_ratio(ratios[0]),
            f"{ratios[1]['median']:.2f}",
        )
    return shown
