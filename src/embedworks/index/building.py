"""A whole corpus becomes an index in one go; it appears at its path complete, or not at all."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import LOCAL_FILES, FileOperations, InputError, StorageError, progress_bar
from embedworks.foundation.protocols import Encoder
from embedworks.index.index import Index
from embedworks.index.store import Store, not_written
from embedworks.index.stored_vectors import Storage
from embedworks.index.writer import NewRows, added, writer_lock

if TYPE_CHECKING:
    from embedworks.data import Corpus

_ROWS_A_COMMIT = 65_536
_TEXTS_AT_ONCE = 1_024
_BUILD_LOCK = "build.lock"
_LOGGER = logging.getLogger(__name__)


def build_index(
    corpus: Corpus,
    vectors: NDArray[np.floating] | Encoder,
    path: str | Path,
    *,
    storage: Storage = "float32",
    lexical: bool = True,
    model: str | None = None,
    progress: bool = False,
    files: FileOperations = LOCAL_FILES,
) -> Index:
    """Index a corpus with all its attributes.

    Args:
        corpus: Ids, texts and attributes.
        vectors: One vector a row, shape (rows, dimension), possibly mapped from a file; or an encoder of the texts.
        path: Where the index is to stand; nothing may be there.
        storage: How vectors are kept: float32, float16, int8 or pq, as in :meth:`Index.create`.
        lexical: Whether texts are indexed by their terms too.
        model: Name or path of the model the vectors come from; the encoder's ``name`` unless given.
        progress: Whether to show a bar.
        files: The file effects; tests pass one that fails.

    Returns:
        The index, open.

    Raises:
        InputError: Something stands at the path, or rows, vectors or attributes do not fit; nothing is left behind.
    """
    target = Path(path)
    if target.exists():
        raise InputError("exists already", where=str(target), mend="choose another place, or remove it first")
    if isinstance(vectors, np.ndarray):
        if vectors.ndim != 2 or len(vectors) != len(corpus):
            what = f"the shape is {vectors.shape} for {len(corpus):,} rows"
            raise InputError(what, where="vectors", mend="pass one vector a row of the corpus, in its order")
        dimension = vectors.shape[1]
    else:
        dimension = vectors.dimension
        if model is None:
            name = getattr(vectors, "name", None)
            model = name if isinstance(name, str) else None
    _remove_abandoned(target)
    staging = target.with_name(f".tmp-{target.name}-{uuid.uuid4().hex[:12]}")
    try:
        Index.create(staging, dimension=dimension, storage=storage, lexical=lexical, model=model, files=files)
        with writer_lock(staging, name=_BUILD_LOCK):
            _fill(Store(staging, files=files), corpus, vectors, dimension=dimension, progress=progress)
            files.remove(staging / _BUILD_LOCK)
            files.rename(staging, target)
            files.sync_directory(target.resolve().parent)
    except OSError as error:
        raise not_written(target, error) from error
    finally:
        if staging.exists():
            LOCAL_FILES.remove_tree(staging)
    return Index.open(target, files=files)


def _remove_abandoned(target: Path) -> None:
    """Remove what builds of the same index left when they were killed; one still at work holds its lock."""
    for left in target.parent.glob(f".tmp-{target.name}-*"):
        try:
            with writer_lock(left, name=_BUILD_LOCK):
                LOCAL_FILES.remove_tree(left)
        except StorageError:
            _LOGGER.info("another build of %s is at work in %s", target, left)


def _fill(
    store: Store, corpus: Corpus, vectors: NDArray[np.floating] | Encoder, *, dimension: int, progress: bool
) -> None:
    ids, texts, attributes = list(corpus.ids), list(corpus.texts), corpus.attributes
    with progress_bar("Indexing", len(ids), unit="rows", enabled=progress) as advance:
        for start in range(0, len(ids), _ROWS_A_COMMIT):
            rows = slice(start, min(start + _ROWS_A_COMMIT, len(ids)))
            block = np.empty((rows.stop - rows.start, dimension), dtype=np.float32)
            for first, part in _parts(vectors, texts, rows):
                block[first : first + len(part)] = part
                advance(len(part))
            columns = attributes.slice(start, rows.stop - start) if attributes.num_columns else None
            new = NewRows(ids=ids[rows], vectors=block, texts=texts[rows], attributes=columns)
            store.change(partial(added, store.path, new=new, replace=False, files=store.files))
    store.maintain()


def _parts(
    vectors: NDArray[np.floating] | Encoder, texts: list[str], rows: slice
) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Yield the vectors of some rows in parts, each with its place among them."""
    if isinstance(vectors, np.ndarray):
        yield 0, vectors[rows]
        return
    for start in range(rows.start, rows.stop, _TEXTS_AT_ONCE):
        part = texts[start : min(start + _TEXTS_AT_ONCE, rows.stop)]
        encoded = np.asarray(vectors.encode(part))
        if encoded.shape != (len(part), vectors.dimension):
            what = f"gave shape {encoded.shape} for {len(part)} texts and dimension {vectors.dimension}"
            raise InputError(what, where="encoder")
        yield start - rows.start, encoded
