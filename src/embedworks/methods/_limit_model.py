"""Vectors trained straight on judgements, kept by the ids of the queries and documents they stand for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, StorageError
from embedworks.foundation.staging import staged_directory, verify_directory

_KIND = "limit"
_CONFIG, _TENSORS = "config.json", "model.safetensors"


class FreeVectors:
    """One unit vector a query and a document: the best that any encoder of this dimension could do on the judgements.

    Args:
        query_ids: Ids of the queries, shape (m,).
        document_ids: Ids of the documents, shape (n,); no id is a query's too.
        queries: Unit vectors, float32, shape (m, d).
        documents: Unit vectors, float32, shape (n, d).
        training_settings: How they were trained and how well they rank; JSON values.
    """

    def __init__(
        self,
        query_ids: Sequence[str],
        document_ids: Sequence[str],
        queries: NDArray[np.float32],
        documents: NDArray[np.float32],
        *,
        training_settings: dict[str, Any],
    ) -> None:
        self.query_ids = list(query_ids)
        self.document_ids = list(document_ids)
        self._queries, self._documents = queries, documents
        self.training_settings = training_settings
        self._rows = dict(zip(self.document_ids, documents, strict=True))
        self._rows |= dict(zip(self.query_ids, queries, strict=True))

    @property
    def dimension(self) -> int:
        """Number of components of every vector."""
        return int(self._documents.shape[1])

    @property
    def margin(self) -> float:
        """Least difference of the lowest relevant to the highest other score; above 0 every query is right."""
        return float(self.training_settings["margin"])

    def vectors(self, of: Literal["query", "document"]) -> NDArray[np.float32]:
        """Return the vectors of all queries or documents, in the order of their ids."""
        return self._queries if of == "query" else self._documents

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of ids, shape (len(items), dimension).

        Raises:
            InputError: An id was not trained on; vectors of a text cannot be made.
        """
        unknown = [item for item in items if item not in self._rows]
        if unknown:
            raise InputError(
                f"no vector was trained for {unknown[0]!r}", where="limit", mend="give ids of queries or documents"
            )
        return (
            np.stack([self._rows[item] for item in items]) if len(items) else np.empty((0, self.dimension), np.float32)
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save as ``config.json`` and ``model.safetensors``; whole or not at all.

        Args:
            path: Where the directory is to stand.
            overwrite: Whether a directory there may be replaced.

        Raises:
            InputError: Something stands at ``path`` already.
        """
        from safetensors.numpy import save

        config = {
            "kind": _KIND,
            "query_ids": self.query_ids,
            "document_ids": self.document_ids,
            "training_settings": self.training_settings,
        }
        tensors = {"queries": self._queries, "documents": self._documents}
        with staged_directory(Path(path), metadata={"kind": _KIND}, overwrite=overwrite) as staging:
            (staging / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            (staging / _TENSORS).write_bytes(save(tensors))


def load_free_vectors(path: str | Path) -> FreeVectors:
    """Open saved vectors, after checking every file against the manifest.

    Args:
        path: The directory.

    Raises:
        StorageError: The directory is damaged or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    folder = Path(path)
    if verify_directory(folder).get("kind") != _KIND:
        raise StorageError("holds no free vectors", where=str(folder), mend="load it with embedworks.load")
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        tensors = load((folder / _TENSORS).read_bytes())
        return FreeVectors(
            config["query_ids"],
            config["document_ids"],
            tensors["queries"],
            tensors["documents"],
            training_settings=config["training_settings"],
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise StorageError(f"is damaged ({error})", where=str(folder), mend="restore it from a copy") from error
