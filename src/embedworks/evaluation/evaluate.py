"""One door to all protocols: an encoder and a data set in, results out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedworks.data import Judged, Labelled, ScoredPairs, read_table
from embedworks.evaluation.classification import evaluate_classification, evaluate_nearest_neighbours
from embedworks.evaluation.clustering import evaluate_clustering
from embedworks.evaluation.encoding import RememberingEncoder
from embedworks.evaluation.result import Result
from embedworks.evaluation.retrieval import evaluate_retrieval
from embedworks.evaluation.sts import evaluate_sts
from embedworks.foundation import InputError
from embedworks.foundation.protocols import Encoder


def evaluate(
    encoder: Encoder, on: Any, *, system: str, data_set: str | None = None, progress: bool = False
) -> list[Result]:
    """Judge an encoder by the protocol that fits the data.

    * ``Judged``: retrieval by exact cosine, metrics at 10.
    * ``ScoredPairs``: Spearman and Pearson. Of train, dev and test splits only ``test`` is judged.
    * ``Labelled`` with ``train`` and ``test``: logistic regression (8 examples a label, 10 draws), 1 nearest
      neighbour, and clustering of the test texts. A single ``Labelled``: clustering.

    Args:
        encoder: Anything with ``dimension`` and ``encode``.
        on: Name of a catalogued data set, a record, a mapping of split or data set names to records, or the path of
            a file (scored pairs or labelled texts) or folder (judged set).
        system: Name of the encoder in the results.
        data_set: Name of the data in the results; by default the catalogued name or the path.
        progress: Whether to show progress while encoding.

    Returns:
        One result a task and data set.

    Raises:
        InputError: There is no such data set or file, or the data fit no protocol.
    """
    if isinstance(on, str | Path):
        records, name = _load(on)
    elif isinstance(on, Mapping):
        records, name = dict(on), "data"
    else:
        records, name = {"test": on}, _KIND_NAMES.get(type(on), "data")
    return _evaluate_records(encoder, records, system=system, data_set=data_set or name, progress=progress)


_KIND_NAMES: dict[type, str] = {Judged: "judged set", ScoredPairs: "scored pairs", Labelled: "labelled texts"}
_SPLITS = ("train", "dev", "test")


def _evaluate_records(
    encoder: Encoder, records: dict[str, Any], *, system: str, data_set: str, progress: bool
) -> list[Result]:
    judged_names = ["test"] if "test" in records and set(records) <= set(_SPLITS) else list(records)
    results: list[Result] = []
    for key in judged_names:
        record = records[key]
        name = data_set if judged_names == ["test"] else f"{data_set}/{key}"
        if isinstance(record, Judged):
            results.append(evaluate_retrieval(encoder, record, system=system, data_set=name, progress=progress))
        elif isinstance(record, ScoredPairs):
            results.append(evaluate_sts(encoder, record, system=system, data_set=name, progress=progress))
        elif isinstance(record, Labelled):
            train = records.get("train") if key == "test" else None
            if isinstance(train, Labelled):
                # Each protocol below asks for the same texts; they are encoded once.
                remembered = RememberingEncoder(encoder)
                results += [
                    evaluate_classification(remembered, train, record, system=system, data_set=name, progress=progress),
                    evaluate_nearest_neighbours(
                        remembered, train, record, system=system, data_set=name, progress=progress
                    ),
                    evaluate_clustering(remembered, record, system=system, data_set=name, progress=progress),
                ]
            else:
                results.append(evaluate_clustering(encoder, record, system=system, data_set=name, progress=progress))
        else:
            raise InputError(
                f"{type(record).__name__} fits no protocol",
                where=name,
                mend="give Judged, ScoredPairs or Labelled records",
            )
    return results


def _load(on: str | Path) -> tuple[dict[str, Any], str]:
    from embedworks.data import CATALOGUE, load_data_set

    if isinstance(on, str) and on in CATALOGUE:
        return dict(load_data_set(on)), on
    path = Path(on)
    if not path.exists():
        raise InputError(
            "is neither a catalogued data set nor a file",
            where=str(on),
            mend=f"use one of {', '.join(sorted(CATALOGUE))}, or the path of your data",
        )
    if path.is_dir():
        return {"test": Judged.read(path)}, str(on)
    columns = set(read_table(path).column_names)
    if {"a", "b", "score"} <= columns:
        return {"test": ScoredPairs.read(path)}, str(on)
    if {"text", "label"} <= columns:
        return {"test": Labelled.read(path)}, str(on)
    raise InputError(
        f"has the columns {', '.join(sorted(columns))}",
        where=str(on),
        mend="give a, b and score (scored pairs), text and label (labelled texts), or a folder (judged set)",
    )
