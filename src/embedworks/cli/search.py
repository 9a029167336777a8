"""``embedworks search``: one query against an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.answers import answer_document, render_answer
from embedworks.cli.arguments import HitCount, JsonTarget, Mode
from embedworks.cli.compiling import compilation_announced
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def search(
    index: tyro.conf.Positional[Path],
    text: tyro.conf.Positional[str],
    *,
    where: str | None = None,
    k: HitCount = 10,
    mode: Mode = "hybrid",
    recall: float = 0.99,
    model: str | None = None,
    explain: bool = False,
    json: JsonTarget = None,
) -> None:
    """Search an index by meaning, by words, or by both, under a filter.

    Args:
        index: Directory of the index.
        text: The query.
        where: Filter in SQL form, such as "year >= 2025 and kind = 'function'".
        k: Number of hits wanted.
        mode: vector searches by meaning, lexical by words, hybrid by both.
        recall: Least share of the true nearest entries to expect of an approximate answer; 1 makes it exact.
        model: Encoder for the query; by default the one the index was built with.
        explain: Say how it was found: plan, selectivity, what was compared, milliseconds by step.
        json: Where to write the answer as JSON; - is standard output.
    """
    from embedworks import api

    explanation = None
    with compilation_announced():
        if explain:
            explanation = api.explain(index, text, k=k, where=where, mode=mode, recall=recall, model=model)
            answer = explanation.answer
        else:
            answer = api.search(index, text, k=k, where=where, mode=mode, recall=recall, model=model)
    document = answer_document(text, where, answer)
    if explanation is not None:
        document["explanation"] = explanation.to_dict()

    def render(console: Console) -> None:
        render_answer(console, text, where, answer)
        if explanation is not None:
            console.print(str(explanation), highlight=False, markup=False)

    emit(document, json_target=json, render=render)
