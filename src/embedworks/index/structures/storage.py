"""A structure in a directory of its own: arrays as .npy, settings as JSON, sealed; written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from embedworks.foundation import StorageError
from embedworks.foundation.staging import staged_directory, verify_directory
from embedworks.index.structures.registry import structure_class
from embedworks.index.structures.structure import Structure, Vectors

_FACTS = "structure.json"


def save_structure(structure: Structure, path: str | Path) -> None:
    """Write a structure to a new directory; the vectors are not part of it.

    Args:
        structure: What to write.
        path: Where nothing may stand yet.

    Raises:
        InputError: Something stands there.
    """
    document = {
        "kind": structure.kind,
        "rows": structure.rows,
        "dimension": structure.vectors.shape[1],
        "facts": structure.facts(),
    }
    with staged_directory(Path(path)) as folder:
        for name, array in structure.arrays().items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        (folder / _FACTS).write_text(json.dumps(document, allow_nan=False), encoding="utf-8")


def load_structure(path: str | Path, vectors: Vectors) -> Structure:
    """Open a structure over the vectors it was built on; its arrays are mapped, not read.

    Args:
        path: The directory.
        vectors: float32, shape (n, d).

    Raises:
        StorageError: It is damaged, of an unknown kind, or belongs to other vectors.
    """
    folder = Path(path)
    verify_directory(folder)
    document: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    if (document["rows"], document["dimension"]) != vectors.shape:
        raise StorageError(
            f"was built on {document['rows']} rows of {document['dimension']} components, got {vectors.shape}",
            where=str(folder),
            mend="give it the vectors it was built on",
        )
    arrays = {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in folder.glob("*.npy")}
    return structure_class(document["kind"]).restore(vectors, arrays, document["facts"])
