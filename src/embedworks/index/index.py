"""The index a person opens, adds to, searches and saves: vectors, texts and attributes in one directory."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike

from embedworks.foundation import LOCAL_FILES, FileOperations, InputError, StorageError
from embedworks.index.answers import Fusion
from embedworks.index.intake import Columns, Strings, Texts, checked_count, checked_ids
from embedworks.index.manifest import Manifest, read_manifest
from embedworks.index.postings import default_settings
from embedworks.index.reading import IndexReader
from embedworks.index.snapshot import Snapshot
from embedworks.index.store import Store
from embedworks.index.stored_vectors import Storage, checked_storage
from embedworks.index.writer import Changes, NewRows, added, compacted, updated, without_rows


class Index(IndexReader):
    """Filtered nearest neighbours on disk; made by :meth:`create` or :meth:`open`.

    Every writing method returns only when its change is durable; a kill at any moment leaves the state before it or
    after it. A reader sees the commit it opened, and its own writes. Searching from several threads is safe.

    Example:
        >>> import tempfile, numpy as np
        >>> from pathlib import Path
        >>> index = Index.create(Path(tempfile.mkdtemp()) / "my.index", dimension=2)
        >>> index.add(["a", "b"], np.eye(2), texts=["red ink", "blue ink"], attributes={"year": [2024, 2026]})
        >>> index.search([1.0, 0.0], where="year >= 2025").hits[0].id
        'b'
    """

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        dimension: int,
        storage: Storage = "float32",
        lexical: bool = True,
        model: str | None = None,
        files: FileOperations = LOCAL_FILES,
    ) -> Index:
        """Make an empty index.

        Args:
            path: Where it is to stand; nothing, or an empty directory, may be there.
            dimension: Components of every vector.
            storage: How vectors are kept: ``float32``; ``float16``, half the disk; ``int8``, a quarter of the disk, one
                byte a component being all there is; ``pq``, float16 on the disk and codes of half a byte a component in
                memory, slower to scan. Exact search is exact over the vectors as they are kept.
            lexical: Whether texts are indexed by their terms too.
            model: Name or path of the model the vectors come from; kept for those who search by text.
            files: The file effects; tests pass one that fails.

        Returns:
            The index, open.

        Raises:
            InputError: Something stands there, the dimension is not positive, or the storage is unknown.
        """
        size = checked_count(dimension, name="dimension")
        manifest = Manifest(
            dimension=size,
            storage=checked_storage(storage),
            model=model,
            lexical=default_settings() if lexical else None,
        )
        Store.create(Path(path), manifest, files=files)
        return cls(Store(Path(path), files=files))

    @classmethod
    def open(cls, path: str | Path, *, in_memory: bool = False, files: FileOperations = LOCAL_FILES) -> Index:
        """Open an index; files are mapped, so this takes milliseconds whatever their size.

        Args:
            path: The directory.
            in_memory: Whether vectors and codes are read into memory instead of mapped: no search waits for the disk
                then, whatever the system keeps in its cache.
            files: The file effects of later writes; tests pass one that fails.

        Returns:
            The index at its last commit.

        Raises:
            StorageError: It is no index, or a file of it is missing, truncated or altered; the file is named. Files
                above 32 MiB are checked by size and structure only; :meth:`verify` reads them whole.
        """
        return cls(Store(Path(path), files=files, in_memory=in_memory))

    def set_fusion(self, fusion: Fusion) -> None:
        """Store how hybrid searches join their sides from now on, such as a weight found on training data."""
        self._store.change(lambda snapshot: snapshot.manifest.next(fusion=fusion))

    def add(
        self,
        ids: Strings,
        vectors: ArrayLike,
        *,
        texts: Texts | None = None,
        attributes: Columns | None = None,
        replace: bool = False,
    ) -> None:
        """Add rows; when this returns they are durable.

        Args:
            ids: Distinct strings, length (rows,).
            vectors: Real numbers, shape (rows, dimension); stored at unit length.
            texts: One text or None a row, for the lexical side and for showing.
            attributes: Columns of length (rows,); names new to the index are null in its older rows.
            replace: Whether a row whose id exists takes the place of the old one, which is otherwise an error.

        Raises:
            InputError: Something does not fit; row or column is named and nothing has changed.
            StorageError: Another writer is at work, or the disk refused.
        """
        new = NewRows(ids=ids, vectors=vectors, texts=texts, attributes=attributes)
        self._store.change(
            lambda snapshot: added(self.path, snapshot, new=new, replace=replace, files=self._store.files)
        )
        self._store.maintain()

    def update(
        self,
        ids: Strings,
        *,
        vectors: ArrayLike | None = None,
        texts: Texts | None = None,
        attributes: Columns | None = None,
    ) -> None:
        """Change rows that exist; when this returns the change is durable. What is not given stays as it is.

        Args:
            ids: Distinct ids of rows that exist.
            vectors: Their new vectors, shape (rows, dimension).
            texts: Their new texts, None for no text.
            attributes: The columns to change, of length (rows,); None as a value makes it null.

        Raises:
            InputError: An id is not in the index, or something does not fit; nothing has changed.
            StorageError: Another writer is at work, or the disk refused.

        Example:
            >>> import tempfile
            >>> index = Index.create(Path(tempfile.mkdtemp()) / "my.index", dimension=2)
            >>> index.add(["a"], [[3, 4]], texts=["red ink"], attributes={"year": [2024]})
            >>> index.update(["a"], attributes={"year": [2026]})
            >>> index.get(["a"])[0].text, index.get(["a"])[0].attributes
            ('red ink', {'year': 2026})
        """
        changes = Changes(ids=ids, vectors=vectors, texts=texts, attributes=attributes)
        self._store.change(lambda snapshot: updated(self.path, snapshot, changes=changes, files=self._store.files))
        self._store.maintain()

    def delete(self, ids: Strings | None = None, *, where: str | None = None) -> int:
        """Delete rows by their ids, or all that pass a filter; when this returns they are gone for good.

        Args:
            ids: Distinct ids of rows that exist.
            where: A filter, in place of ids; the rows that pass it when the change is made are deleted, maybe none.

        Returns:
            How many rows were deleted.

        Raises:
            InputError: An id is not in the index, the filter is refused, or not one of the two is given; nothing has
                changed.
            StorageError: Another writer is at work, or the disk refused.

        Example:
            >>> import tempfile, numpy as np
            >>> index = Index.create(Path(tempfile.mkdtemp()) / "my.index", dimension=2)
            >>> index.add(["a", "b"], np.eye(2), attributes={"year": [2024, 2026]})
            >>> index.delete(where="year < 2025"), len(index)
            (1, 1)
        """
        if (ids is None) == (where is None):
            # Both could mean either or both at once, and what is deleted by a misunderstanding is gone.
            what = "nothing says what to delete" if ids is None else "both ids and a filter are given"
            raise InputError(what, where="delete", mend="give ids, or a filter; it may name ids: id in ('a', 'b')")
        deleted = 0

        def change(snapshot: Snapshot) -> Manifest | None:
            nonlocal deleted
            if ids is None:
                rows = snapshot.passing(where).rows
            else:
                rows = snapshot.existing(checked_ids(ids), where=str(self.path))
            if len(rows) == 0:
                return None
            deleted = len(rows)
            return snapshot.manifest.next(segments=without_rows(self.path, snapshot, rows, self._store.files))

        self._store.change(change)
        self._store.maintain()
        return deleted

    def compact(self) -> None:
        """Merge all segments into one without the deleted rows, make the partition where it pays, and free the disk."""

        def change(snapshot: Snapshot) -> Manifest | None:
            names = [segment.entry.name for segment in snapshot.segments]
            deleted = any(segment.entry.deleted_rows for segment in snapshot.segments)
            return compacted(self.path, snapshot, names, self._store.files) if len(names) > 1 or deleted else None

        self._store.change(change)
        self._store.maintain()
        # A writer begins by removing what no commit names any more, and nobody may write to this index for a long time.
        self._store.change(lambda _: None)

    def verify(self) -> None:
        """Read every file whole and compare it with its SHA-256.

        Raises:
            StorageError: A file is altered; it is named.
        """
        while True:
            generation = read_manifest(self.path).generation
            try:
                self._store.verify()
            except StorageError:
                # A writer may have made a commit meanwhile and removed what the one before it named.
                if read_manifest(self.path).generation == generation:
                    raise
            else:
                return
