"""The parts of a data set as files of one's own: tables as Parquet, judged sets as folders, vectors as .npy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedworks.data.judged import Judged
from embedworks.data.record import Record
from embedworks.foundation import LOCAL_FILES, FileOperations, InputError, staged_directory

Part = Record | Judged | NDArray[np.floating]
"""A table of one kind, a judged set, or vectors of shape (n, d)."""


def write_parts(parts: Mapping[str, Part], path: str | Path, *, files: FileOperations = LOCAL_FILES) -> list[Path]:
    """Write the parts of a data set into a new folder, whole or not at all.

    Args:
        parts: Part name to record or matrix of vectors, as :func:`load_data_set` returns them.
        path: The folder to make.
        files: The file effects; tests pass one that fails.

    Returns:
        Where each part stands.

    Raises:
        InputError: Something stands at ``path``, or its parent does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError("the folder does not exist", where=str(target.parent), mend="make it first")
    names = []
    with staged_directory(target, metadata={"kind": "data set"}, files=files) as staging:
        for part, record in parts.items():
            if isinstance(record, Judged):
                names.append(part)
                record.write(staging / part, files=files)
            elif isinstance(record, Record):
                names.append(f"{part}.parquet")
                record.write(staging / names[-1], files=files)
            else:
                names.append(f"{part}.npy")
                np.save(staging / names[-1], record, allow_pickle=False)
    return [target / name for name in names]
