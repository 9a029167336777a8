"""``embedworks inspect``: what vectors can and cannot say, one question a sub-verb."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.inspect_capacity import DEFAULT_DIMENSION, inspect_capacity
from embedworks.cli.inspect_depth import inspect_depth
from embedworks.foundation import InputError


def inspect(
    question: tyro.conf.Positional[Literal["depth", "capacity"]],
    first: tyro.conf.Positional[Path],
    second: tyro.conf.Positional[Path | None] = None,
    *,
    distance: Literal["cosine", "chord", "angular"] | None = None,
    dimension: int | None = None,
    json: JsonTarget = None,
) -> None:
    """Ask how central vectors are and whether two files are alike, or whether a dimension limits search on judged data.

    Args:
        question: depth: how central each row is, and how two files differ. capacity: how densely judged queries share
            documents, which dimension they need, and whether yours is likely to be the limit.
        first: depth: vectors as ``embedworks encode`` writes them, .npy, one row a text. capacity: folder of judged
            data, ours or in the manner of BEIR, or the name of a judged data set.
        second: depth: vectors of other texts, by the same model.
        distance: depth: cosine (the default) takes one pass over the rows; chord and angular take all pairs.
        dimension: capacity: length of the vectors in question; 384 by default.
        json: Where to write the answer as JSON; - is standard output.
    """
    if question == "capacity":
        if second is not None or distance is not None:
            raise InputError("capacity takes one folder and no --distance", mend="see: embedworks inspect --help")
        inspect_capacity(first, dimension=DEFAULT_DIMENSION if dimension is None else dimension, json=json)
        return
    if dimension is not None:
        raise InputError("depth takes no --dimension", mend="see: embedworks inspect --help")
    inspect_depth(first, second, distance=distance or "cosine", json=json)
