"""``embedworks inspect``: what vectors can and cannot say, one question a sub-verb."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.inspect_depth import inspect_depth


def inspect(
    question: tyro.conf.Positional[Literal["depth"]],
    first: tyro.conf.Positional[Path],
    second: tyro.conf.Positional[Path | None] = None,
    *,
    distance: Literal["cosine", "chord", "angular"] = "cosine",
    json: JsonTarget = None,
) -> None:
    """Rank the rows of a file of vectors from central to outlying; with a second file, test whether the two are alike.

    Args:
        question: depth: how central each row is, and how two files differ.
        first: Vectors as ``embedworks encode`` writes them: .npy, one row a text.
        second: Vectors of other texts, by the same model.
        distance: Cosine takes one pass over the rows; chord and angular take all pairs.
        json: Where to write the answer as JSON; - is standard output.
    """
    inspect_depth(first, second, distance=distance, json=json)
