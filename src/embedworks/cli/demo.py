"""``embedworks demo``: the main job on the documentation of the packages installed here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedworks.cli.answers import answer_document, render_answer
from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit, notice

if TYPE_CHECKING:
    from rich.console import Console

    from embedworks.demonstration import Demonstration


def demo(
    *,
    folder: Path = Path(".embedworks/demo"),
    serve: bool = True,
    port: int = 8765,
    max_entries: int = 14_000,
    training_minutes: float = 2.0,
    json: JsonTarget = None,
) -> None:
    """Read the documentation installed here, train, judge, index, search and serve it, in under five minutes.

    Args:
        folder: Where the model, the index and the report go; an earlier demo there is replaced.
        serve: Whether to serve the page at the end; --no-serve for scripts.
        port: Port of the page.
        max_entries: Largest number of docstrings read.
        training_minutes: Wall time of training.
        json: Where to write everything measured as JSON; - is standard output.
    """
    from embedworks import api
    from embedworks.demonstration import Plan, demonstrate

    plan = Plan(max_entries=max_entries, training_minutes=training_minutes)
    done = demonstrate(folder, plan, progress=True, announce=notice)
    emit(_document(done), json_target=json, render=lambda console: _render(console, done))
    if serve:
        api.serve(
            done.index,
            port=port,
            report=done.report_path,
            title="Python documentation",
            announce=lambda address: notice(f"6  Serving at {address}  (Ctrl-C ends it)"),
        )
    else:
        notice(f'Search it with: embedworks search {done.index_path} "your query"')
        notice(f"Serve it with:  embedworks serve {done.index_path} --report {done.report_path}")


def _document(done: Demonstration) -> dict[str, Any]:
    from embedworks.demonstration.report import score_rows

    packages = done.corpus.attributes["package"].unique().to_pylist()
    return {
        "entries": len(done.corpus),
        "packages": len(packages),
        "retrieval": {**done.retrieval.counts, "held_out_package": done.retrieval.package},
        "training": done.training,
        "fusion": {"method": done.choice.method, "weight_of_tuned": done.choice.weight, "queries": done.choice.queries},
        "tables": {
            judgement.all_systems.data_set: score_rows(judgement) for judgement in (done.functions, done.package)
        },
        "comparisons": [
            comparison.to_json()
            for judgement in (done.functions, done.package)
            for comparison in (judgement.all_systems, judgement.hybrid_against_parts)
        ],
        "answers": [answer_document(text, where, answer) for text, where, answer in done.answers],
        "index": str(done.index_path),
        "report": str(done.report_path),
        "seconds": {**done.seconds, "total": round(sum(done.seconds.values()), 2)},
    }


def _render(console: Console, done: Demonstration) -> None:
    console.print()
    for judgement in (done.functions, done.package):
        _render_scores(console, judgement)
    for text, where, answer in done.answers:
        render_answer(console, text, where, answer)
    took = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in done.seconds.items())
    console.print(f"[dim]{len(done.corpus):,} entries; {took}; {sum(done.seconds.values()):.0f} s in all[/dim]")


def _render_scores(console: Console, judgement: Any) -> None:
    from rich.table import Table

    from embedworks.demonstration.report import METRICS, score_rows
    from embedworks.evaluation import format_p

    comparison = judgement.all_systems
    table = Table(title=f"{comparison.data_set}, {comparison.units:,} queries", title_justify="left", box=None)
    table.add_column("system")
    for header in (*METRICS.values(), "nDCG to untuned", "95 %", "p (Holm)"):
        table.add_column(header, justify="right")
    for row in score_rows(judgement):
        cells = [row["system"], *(f"{row[label]:.2f}" for label in METRICS.values())]
        if row["difference"] is None:
            cells += ["", "", ""]
        else:
            interval = f"{row['difference_low']:+.1f} to {row['difference_high']:+.1f}"
            cells += [f"{row['difference']:+.2f}", interval, format_p(row["p_holm"])]
        table.add_row(*cells)
    console.print(table)
    for system in ("BM25", "tuned"):
        row = judgement.hybrid_against_parts.row(system)
        gain, low, high = (-100 * value for value in (row.difference, row.difference_high, row.difference_low))
        console.print(
            f"  hybrid against {system}: {gain:+.2f} points ({low:+.1f} to {high:+.1f}), p {format_p(row.p_holm)}"
        )
    console.print()
