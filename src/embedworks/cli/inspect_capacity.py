"""``embedworks inspect capacity``: is the dimension of one's vectors likely to be what limits search on judged data?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit
from embedworks.foundation import InputError, progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from embedworks.data import Judged

DEFAULT_DIMENSION = 384


def inspect_capacity(
    judged: tyro.conf.Positional[Path], *, dimension: int = DEFAULT_DIMENSION, json: JsonTarget = None
) -> None:
    """Say how densely the queries share documents, and what dimension their judgements need.

    Args:
        judged: Folder of judged data, ours or in the manner of BEIR, or the name of a judged data set.
        dimension: Length of the vectors in question.
        json: Where to write the answer as JSON; - is standard output.
    """
    from embedworks.analysis.capacity import dimensions_to_try, judge_capacity

    if dimension < 1:
        raise InputError(f"--dimension is {dimension}", mend="give the length of your vectors")
    data = _read(judged)
    with progress_bar(
        "Training free vectors", len(dimensions_to_try(dimension)), unit="dimensions", enabled=True
    ) as advance:
        found = judge_capacity(data.relevance, dimension=dimension, documents=len(data.corpus), finished=advance)
    document = {"question": "capacity", "path": str(judged), **found.to_json()}

    def render(console: Console) -> None:
        _render(console, document)

    emit(document, json_target=json, render=render)


def _read(path: Path) -> Judged:
    from embedworks.data import CATALOGUE, Judged, load_data_set

    if not path.exists() and str(path) in CATALOGUE:
        for part in load_data_set(str(path), progress=True).values():
            if isinstance(part, Judged):
                return part
        raise InputError("holds no judged queries", where=str(path), mend="embedworks data lists what each set holds")
    return Judged.read(path)


def _render(console: Console, document: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    own, bounds = document["densities"], document["bounds"]
    console.print(
        f"[bold]{escape(document['path'])}[/bold]: {own['queries']:,} queries with {own['relevant_per_query']:.1f} "
        f"relevant documents each, {own['relevant_documents']:,} of {own['documents']:,} documents relevant to some"
    )
    known = dict(document["published_densities"])
    known["yours"] = {name: own[name] for name in ("graph_density", "average_query_strength")}
    table = Table("judged set", "graph density", "average query strength", box=None, pad_edge=False)
    for name, entry in sorted(known.items(), key=lambda item: item[1]["average_query_strength"]):
        style = "[bold]" if name == "yours" else ""
        table.add_row(
            f"{style}{name}", f"{style}{entry['graph_density']:.6f}", f"{style}{entry['average_query_strength']:.4f}"
        )
    console.print(table)
    console.print(
        "Density is the share of pairs of queries that have a relevant document in common; strength adds up how much "
        "of its relevant documents a query has in common with each other one."
    )
    looked_at = f"{document['queries_looked_at']:,} different queries, {document['documents_looked_at']:,} documents"
    console.print(f"In exact arithmetic ({looked_at}) the least dimension that ranks every query right lies")
    console.print(f"  at {bounds['lower']} or above: {escape(bounds['lower_by'])}")
    console.print(f"  at {bounds['upper']} or below: {escape(bounds['upper_by'])}{_margin(bounds['upper_margin'])}")
    console.print(f"  (sign rank of the judgements: {bounds['sign_rank'][0]} to {bounds['sign_rank'][1]})")
    tried = ", ".join(f"{entry['dimension']}: {100 * entry['queries_right']:.1f} %" for entry in document["tried"])
    console.print(f"Queries ranked right by vectors trained on the judgements themselves, by dimension: {tried}")
    free = document["free_dimension"]
    if free is not None:
        console.print(f"So {free} dimensions suffice with a margin of {document['margin']:g} between cosines.")
    console.print(f"That {document['dimension']} dimensions are the limit is [bold]{document['verdict']}[/bold]:")
    console.print(escape(document["reason"]))


def _margin(margin: float | None) -> str:
    if margin is None:
        return ""
    if margin <= 0:
        return ", by less than float64 can tell"
    return f", by a margin of {margin:.1e}"
