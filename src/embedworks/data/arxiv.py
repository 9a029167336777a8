"""Abstracts of arXiv papers with their dates, authors and categories, and the vectors of the packaged encoder."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.data.corpus import Corpus
from embedworks.data.download import File
from embedworks.data.vectors import read_vectors
from embedworks.foundation import StorageError

_PAPERS, _VECTORS = "abstracts.jsonl.xz", "minilm.f16.npy"

ARXIV_FILES = (
    File(_PAPERS, None, 14_324_076, "bc18f72c14f481c25898664f343ef445ecdfd3e858c204ade4bbc4c2443e9d6d"),
    File(_VECTORS, None, 30_989_696, "db0e268f53e256dbb59d98db3c59e06048d08c06c87e906fff3fd2de296e4e98"),
)


def load_arxiv(paths: Mapping[str, Path]) -> dict[str, Corpus | NDArray[np.float16]]:
    """Read the papers, and the vector of each.

    Args:
        paths: File name to local path.

    Returns:
        ``papers``, whose text is title and abstract, with the attributes of the benchmark of filtered search (arXiv
        2507.21989) as far as the source has them; and ``minilm``, float16, shape (40351, 384), in the same order:
        all-MiniLM-L6-v2 over the first 256 tokens of each text.

    Raises:
        StorageError: A line is no paper.
    """
    try:
        with lzma.open(paths[_PAPERS], "rt", encoding="utf-8") as lines:
            papers = [json.loads(line) for line in lines]
        ids = [paper["id"] for paper in papers]
        texts = [f"{paper['title']}. {paper['abstract']}" for paper in papers]
        subjects = [sorted({category.partition(".")[0] for category in paper["categories"]}) for paper in papers]
        attributes = {
            "date": pa.array([date.fromisoformat(paper["date"]) for paper in papers], pa.date32()),
            "title": [paper["title"] for paper in papers],
            "authors": [paper["authors"] for paper in papers],
            "categories": [paper["categories"] for paper in papers],
            "primary": [paper["categories"][0] for paper in papers],
            "main_categories": subjects,
            "number_of_main_categories": [len(subject) for subject in subjects],
            "number_of_sub_categories": [len(paper["categories"]) for paper in papers],
            "number_of_authors": [len(paper["authors"]) for paper in papers],
            "has_comment": [paper["comment"] is not None for paper in papers],
        }
    except (lzma.LZMAError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StorageError(
            f"a line is no paper ({type(error).__name__}: {error})",
            where=str(paths[_PAPERS]),
            mend="get the published file again",
        ) from error
    return {"papers": Corpus.from_columns(ids, texts, attributes), "minilm": read_vectors(paths[_VECTORS])}
