"""A comparison as a picture: a dot a system with its 95 % interval, the figures beside it, light or dark."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embedworks.evaluation.compare import Comparison, ComparisonRow, format_p, metric_label
from embedworks.foundation import LOCAL_FILES, InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class _Colours:
    surface: str
    text: str
    quiet: str
    grid: str
    systems: tuple[str, ...]


# Hues of Okabe and Ito 2008, told apart under all common kinds of colour blindness; lighter on the dark surface, so
# that every dot keeps a contrast of at least 3 to 1. Position and label say the same as the colour.
_THEMES: dict[Theme, _Colours] = {
    "light": _Colours(
        surface="#ffffff",
        text="#1a1d21",
        quiet="#5c6570",
        grid="#e3e6ea",
        systems=("#6b7280", "#0072b2", "#c14e00", "#00795a", "#a8457f", "#8a6400"),
    ),
    "dark": _Colours(
        surface="#15181d",
        text="#eceff3",
        quiet="#a2abb6",
        grid="#2c323a",
        systems=("#9aa3af", "#56b4e9", "#f08a4b", "#2fc79a", "#e29ac6", "#e6b93f"),
    ),
}
_UNIT_NAMES = {
    "retrieval": "queries",
    "sts": "pairs",
    "classification": "test texts",
    "nearest-neighbours": "test texts",
    "clustering": "texts",
}
_WIDTH = 7.6  # inches, all sizes below likewise
_ROW, _HEADER, _FOOTER, _TOP = 0.36, 0.56, 0.44, 0.06
_FIGURES, _EDGE, _GAP = 1.95, 0.12, 0.24
_NAME_SIZE, _NAME_LETTERS = 9.5, 28
_PIXELS_PER_INCH = 200


def write_comparison_picture(comparisons: Sequence[Comparison], path: str | Path, *, theme: Theme = "light") -> None:
    """Draw comparisons one below the other and write them as SVG or PNG, whole or not at all.

    Each row is a system: a dot at its value, a line over its 95 % interval, and beside them the value in points and
    the difference to the baseline with Holm's p; a thin vertical line marks the baseline's value. Panels of the same
    metric share their scale. The same comparisons give the same bytes. An SVG has no background, so that it sits on
    any page of the same theme; a PNG has one.

    Args:
        comparisons: One panel each, in order.
        path: File to write; ``.svg`` or ``.png`` decides the format.
        theme: Colours for a light or a dark page.

    Raises:
        InputError: There is no comparison, or the suffix or the theme is unknown.
    """
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if not comparisons:
        raise InputError("there is no comparison", where=str(target), mend="give at least one to draw")
    if kind not in ("svg", "png"):
        raise InputError(f"unknown kind of picture {target.suffix!r}", where=str(target), mend="use .svg or .png")
    if theme not in _THEMES:
        raise InputError(f"{theme!r} is no theme", where="picture", mend="use light or dark")
    LOCAL_FILES.replace_file(target, _drawn(comparisons, kind, _THEMES[theme]))


def _drawn(comparisons: Sequence[Comparison], kind: str, colours: _Colours) -> bytes:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.system for comparison in comparisons for row in comparison.rows))
    colour_of = {name: colours.systems[number % len(colours.systems)] for number, name in enumerate(names)}
    heights = [_HEADER + _ROW * len(comparison.rows) + _FOOTER for comparison in comparisons]
    height = sum(heights) + _TOP - _FOOTER / 4
    names_width = max(map(_name_width, names)) + _EDGE + _GAP
    # Letters become paths and identifiers are salted with a constant: no font of the reader's, the same bytes again.
    # A dollar sign in a name is a dollar sign.
    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "svg.fonttype": "path",
        "svg.hashsalt": "embedworks",
        "text.parse_math": False,
    }
    with rc_context(settings):
        figure = Figure(figsize=(_WIDTH, height), facecolor=colours.surface)
        FigureCanvasAgg(figure)
        top = height - _TOP
        for comparison, panel_height in zip(comparisons, heights, strict=True):
            rows_height = _ROW * len(comparison.rows)
            axes = figure.add_axes(
                (
                    names_width / _WIDTH,
                    (top - _HEADER - rows_height) / height,
                    (_WIDTH - names_width - _FIGURES) / _WIDTH,
                    rows_height / height,
                )
            )
            _draw_panel(axes, comparison, _scale(comparisons, comparison.metric), names_width, colour_of, colours)
            top -= panel_height
        sink = io.BytesIO()
        figure.savefig(
            sink,
            format=kind,
            dpi=_PIXELS_PER_INCH,
            transparent=kind == "svg",
            metadata={"Date": None} if kind == "svg" else {"Software": None},
        )
    return sink.getvalue()


def _draw_panel(
    axes: Axes,
    comparison: Comparison,
    scale: tuple[float, float],
    names_width: float,
    colour_of: dict[str, str],
    colours: _Colours,
) -> None:
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import ScaledTranslation

    figure = axes.figure

    def inches(right: float, up: float) -> ScaledTranslation:
        return ScaledTranslation(right, up, figure.dpi_scale_trans)

    corner = axes.transAxes
    axes.text(
        0,
        1,
        comparison.data_set,
        fontsize=11,
        fontweight="bold",
        color=colours.text,
        transform=corner + inches(_EDGE - names_width, 0.30),
    )
    units = f"{comparison.units:,} {_UNIT_NAMES.get(comparison.task, 'units')}"
    axes.text(
        0,
        1,
        f"{metric_label(comparison.metric)} in points, with 95 % intervals over {units}",
        fontsize=8.5,
        color=colours.quiet,
        transform=corner + inches(_EDGE - names_width, 0.11),
    )
    axes.text(
        1,
        1,
        f"difference to {_shortened(comparison.baseline, 22)}",
        fontsize=8.5,
        color=colours.quiet,
        ha="right",
        transform=corner + inches(_FIGURES - _EDGE, 0.11),
    )
    baseline = comparison.row(comparison.baseline)
    axes.axvline(100 * baseline.value, color=colours.quiet, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    for number, row in enumerate(comparison.rows):
        colour = colour_of[row.system]
        axes.plot(
            [100 * row.low, 100 * row.high], [number] * 2, color=colour, linewidth=2.6, solid_capstyle="round", zorder=2
        )
        axes.plot(100 * row.value, number, "o", markersize=8.5, color=colour, mec=colours.surface, mew=1.4, zorder=3)
        at_left, at_right = axes.get_yaxis_transform(), axes.get_yaxis_transform()
        is_best = row.value == max(other.value for other in comparison.rows)
        weight = "bold" if is_best else "normal"
        axes.text(
            0,
            number,
            _shortened(row.system, _NAME_LETTERS),
            transform=at_left + inches(_EDGE - names_width, 0),
            va="center_baseline",
            fontsize=_NAME_SIZE,
            fontweight=weight,
            color=colours.text,
        )
        axes.text(
            1,
            number,
            f"{100 * row.value:.1f}",
            transform=at_right + inches(0.52, 0),
            ha="right",
            va="center_baseline",
            fontsize=9.5,
            fontweight=weight,
            color=colours.text,
        )
        axes.text(
            1,
            number,
            _difference(row),
            transform=at_right + inches(_FIGURES - _EDGE, 0),
            ha="right",
            va="center_baseline",
            fontsize=8.5,
            color=colours.text if row.significant else colours.quiet,
        )
    axes.set_xlim(*scale)
    axes.set_ylim(len(comparison.rows) - 0.5, -0.5)
    axes.set_facecolor("none")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="x", length=0, pad=4, labelsize=8, labelcolor=colours.quiet)
    axes.set_yticks([])
    axes.grid(axis="x", color=colours.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _difference(row: ComparisonRow) -> str:
    if row.difference is None:
        return "baseline"
    p = format_p(row.p_holm)
    sign = "+" if row.difference >= 0 else "\N{MINUS SIGN}"
    return f"{sign}{abs(100 * row.difference):.1f}, p {p if p.startswith('<') else f'= {p}'}"


def _scale(comparisons: Sequence[Comparison], metric: str) -> tuple[float, float]:
    rows = [row for comparison in comparisons if comparison.metric == metric for row in comparison.rows]
    low, high = 100 * min(row.low for row in rows), 100 * max(row.high for row in rows)
    margin = max(0.06 * (high - low), 0.5)
    return math.floor(low - margin), math.ceil(high + margin)


def _name_width(name: str) -> float:
    """Width of a system's name in bold, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    bold = FontProperties(family="DejaVu Sans", weight="bold")
    return float(TextPath((0, 0), _shortened(name, _NAME_LETTERS), size=_NAME_SIZE, prop=bold).get_extents().width) / 72


def _shortened(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
