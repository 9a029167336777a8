"""The curves of a report as a picture: recall against distance computations, and against queries a second."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from embedworks.foundation import LOCAL_FILES
from embedworks.methods._report import Report

_QUESTIONS: Final = ("EM", "R", "EMIS", "combined", "random 10.0%", "random 1.0%")
_OWN: Final = (
    "pre-filter", "post-filter", "in-filter", "ivf", "acorn-1", "acorn-gamma", "serf-2d", "filtered-vamana",
    "stitched-vamana", "ung", "nhq",
)  # fmt: skip
_MARKS: Final = "os^vD<>phX*"
_LEAST_RECALL: Final = 0.5


def draw_curves(report: Report, path: Path) -> None:
    """Draw the curves of the first seed, a column a question.

    Above: distance computations, which depend on no machine, of our structures. Below: queries a second of a core, of
    our structures and of the other engines (grey, dashed).

    Args:
        report: Of ``embedworks reproduce fanns``.
        path: A .png or .svg file.
    """
    from matplotlib.figure import Figure

    lines = _lines(report)
    questions = [name for name in _QUESTIONS if name in lines]
    figure = Figure(figsize=(3.1 * len(questions), 7.2), layout="constrained")
    grid = figure.subplots(2, len(questions), squeeze=False, sharex=True)
    shown: dict[str, Any] = {}
    for column, question in enumerate(questions):
        above, below = grid[0][column], grid[1][column]
        above.set_title(question, fontsize=10)
        for name, points in sorted(lines[question].items()):
            kept = [point for point in points if point["recall"] >= _LEAST_RECALL]
            recalls = [point["recall"] for point in kept]
            if not kept:
                continue
            own = name in _OWN
            place = _OWN.index(name) if own else 0
            style: dict[str, Any] = (
                {"marker": _MARKS[place], "color": f"C{place % 10}", "markersize": 4, "linewidth": 1.2}
                if own
                else {"marker": ".", "color": "0.6", "linestyle": "--", "linewidth": 0.8, "markersize": 3}
            )
            if own:
                above.plot(recalls, [point["distances"] for point in kept], **style)
            (line,) = below.plot(recalls, [1000 / max(point["ms"], 1e-4) for point in kept], **style)
            shown.setdefault(name if own else "other engines", line)
        for axes in (above, below):
            axes.set_yscale("log")
            axes.grid(visible=True, linewidth=0.3)
        below.set_xlabel("recall@10")
    grid[0][0].set_ylabel("distance computations a query")
    grid[1][0].set_ylabel("queries a second, one thread")
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.lstrip("."), dpi=110)
    LOCAL_FILES.replace_file(path, content.getvalue())


def _lines(report: Report) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    lines: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for point in report.tables["curves"]:
        if point["seed"] == 0:
            lines[point["question"]][point["name"]].append(point)
    return lines
