"""``embedworks encode``: texts of a file into a file of vectors, resumable."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import tyro

from embedworks.cli.arguments import JsonTarget, Overflow, Precision
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console

    from embedworks.encoders.engine import EncodeReport


def encode(
    model: tyro.conf.Positional[str],
    texts: tyro.conf.Positional[Path],
    *,
    out: Path,
    precision: Precision = "auto",
    overflow: Overflow = "truncate",
    json: JsonTarget = None,
) -> None:
    """Turn the texts of a file into vectors; a killed run resumes where it stopped.

    Args:
        model: minilm, the directory of a model, or a Hugging Face id.
        texts: File with a column text; Parquet, CSV, JSONL or Arrow.
        out: The .npy file to write, float32, one row a text.
        precision: auto uses bfloat16 where the processor has it and a sample agrees with float32.
        overflow: What to do with a text longer than the model reads.
        json: Where to write the report as JSON; - is standard output.
    """
    from embedworks import api
    from embedworks.data import Corpus

    corpus = Corpus.read(texts)
    report = cast(
        "EncodeReport",
        api.encode(model, corpus.texts, out=out, precision=precision, overflow=overflow, progress=True),
    )

    def render(console: Console) -> None:
        console.print(
            f"{report.texts:,} texts, {report.tokens:,} tokens in {report.seconds:.1f} s as {report.precision}; "
            f"{report.truncated:,} truncated, {report.duplicates:,} duplicates encoded once. Wrote {out}"
        )

    emit({"out": str(out), **asdict(report)}, json_target=json, render=render)
