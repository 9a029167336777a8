"""Texts of mixed length to measure with: half of them titles, half of them abstracts or whole docstrings."""

from __future__ import annotations

import ast
import importlib.util
import json
import lzma
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

ABSTRACTS: Final = "arxiv-abstracts-2025-26/abstracts.jsonl.xz"
_PACKAGES: Final = ("scipy", "numpy", "sklearn", "torch")


def mixed_texts(count: int, *, seed: int) -> tuple[list[str], str]:
    """Return distinct texts, short and long in turn, and where they are from.

    Args:
        count: How many.
        seed: Decides which.

    Returns:
        Titles and abstracts of arXiv papers where the folder ``EMBEDWORKS_DATA`` holds them; else first lines and whole
        texts of docstrings of installed packages, read without running anything.
    """
    folder = os.environ.get("EMBEDWORKS_DATA")
    path = Path(folder) / ABSTRACTS if folder else None
    if path is not None and path.is_file():
        pairs, source = _abstracts(path), "arXiv titles and abstracts"
    else:
        pairs, source = islice(_docstrings(), 2 * count), "docstrings of installed packages, first lines and whole"
    drawn = list(dict(pairs).items())
    if 2 * len(drawn) < count:
        raise InputError(f"only {2 * len(drawn)} texts to measure with", where="texts", mend="ask for fewer")
    chosen = random_generator(seed, "benchmark", "texts").permutation(len(drawn))[: (count + 1) // 2]
    return [text for index in chosen for text in drawn[index]][:count], source


def _abstracts(path: Path) -> Iterator[tuple[str, str]]:
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            paper = json.loads(line)
            yield paper["title"], paper["abstract"]


def _docstrings() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        specification = importlib.util.find_spec(package)
        if specification is None or specification.origin is None:
            continue
        for path in sorted(Path(specification.origin).parent.rglob("*.py")):
            try:
                tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    first, _, rest = (ast.get_docstring(node) or "").partition("\n")
                    if first and len(rest) > 200:
                        yield first, rest
