"""The one file that says what an index is: its facts, its segments, and the size and SHA-256 of every file of theirs.

A commit is one atomic replacement of this file. Data files are written once and never changed; those that no manifest
names do not exist for a reader.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from embedworks.foundation import FileOperations, StorageError, sha256_of
from embedworks.index.answers import Fusion
from embedworks.index.stored_vectors import Storage

MANIFEST_NAME = "manifest.json"
FORMAT = "embedworks-index"
FORMAT_VERSION = 4
# Hashing 32 MiB costs about 20 ms; larger files are checked by size and structure at opening, and whole by verify().
HASHED_AT_OPENING = 32 * 2**20

_TYPES: dict[str, pa.DataType] = {
    "null": pa.null(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamp-utc": pa.timestamp("us", tz="UTC"),
    "list<string>": pa.list_(pa.string()),
}


@dataclass(frozen=True)
class StoredFile:
    """One immutable file: its path relative to the index, its bytes and its SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SegmentEntry:
    """One segment: rows that came in together; ``deleted`` is a bitmap of those that have gone since."""

    name: str
    rows: int
    files: dict[str, StoredFile]
    deleted: StoredFile | None = None
    deleted_rows: int = 0

    @property
    def live_rows(self) -> int:
        """Rows that have not been deleted."""
        return self.rows - self.deleted_rows


@dataclass(frozen=True)
class PartitionEntry:
    """The lists that the rows of one segment stand in, and what searching them costs."""

    files: dict[str, StoredFile]
    segment: str
    rows: int
    lists: int
    calibration: dict[str, Any]


@dataclass(frozen=True)
class LexicalSettings:
    """How texts become terms, and the constants of BM25."""

    token_pattern: str
    stopwords: tuple[str, ...]
    k1: float = 1.5
    b: float = 0.75


@dataclass(frozen=True)
class Manifest:
    """Everything an index is made of at one commit."""

    dimension: int
    generation: int = 0
    metric: str = "cosine"
    storage: Storage = "float32"
    model: str | None = None
    lexical: LexicalSettings | None = None
    fusion: Fusion = field(default_factory=Fusion)
    attributes: dict[str, str] = field(default_factory=dict)
    segments: tuple[SegmentEntry, ...] = ()
    partition: PartitionEntry | None = None

    @property
    def schema(self) -> pa.Schema:
        """The attributes as an Arrow schema."""
        return pa.schema([(name, _TYPES[kind]) for name, kind in self.attributes.items()])

    def next(self, **changes: Any) -> Manifest:
        """Return the manifest of the following commit."""
        return replace(self, generation=self.generation + 1, **changes)

    def stored_files(self) -> list[StoredFile]:
        """All data files this commit is made of."""
        stored = [file for segment in self.segments for file in segment.files.values()]
        stored += [segment.deleted for segment in self.segments if segment.deleted is not None]
        stored += self.partition.files.values() if self.partition is not None else []
        return stored


def type_name(kind: pa.DataType) -> str:
    """Return the name under which the manifest keeps a stored type."""
    return next(name for name, known in _TYPES.items() if known == kind)


def read_manifest(directory: Path) -> Manifest:
    """Read and check the manifest of an index.

    Args:
        directory: The index.

    Returns:
        The manifest of its last commit.

    Raises:
        StorageError: There is none, it is damaged, or another version wrote it.
    """
    path = directory / MANIFEST_NAME
    if not path.is_file():
        mend = "give the folder that `embedworks index` wrote" if directory.is_dir() else "check the path"
        raise StorageError("is no index: it holds no manifest.json", where=str(directory), mend=mend)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        seal = document.pop("sha256")
        if document.pop("format") != FORMAT:
            raise StorageError("belongs to something else than an index", where=str(path))
        version = document.pop("version")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path) from error
    if version != FORMAT_VERSION:
        older = isinstance(version, int) and version < FORMAT_VERSION
        mend = "build the index again from its items" if older else "update embedworks"
        what = f"has format version {version!r}, this embedworks reads {FORMAT_VERSION}"
        raise StorageError(what, where=str(path), mend=mend)
    if seal != _seal(document):
        raise _damaged(path)
    return _from_document(document)


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest as what is written to the disk, sealed with its own SHA-256."""
    document = json.loads(json.dumps(asdict(manifest)))
    return {"format": FORMAT, "version": FORMAT_VERSION, **document, "sha256": _seal(document)}


def commit(directory: Path, manifest: Manifest, files: FileOperations) -> None:
    """Make a manifest the index's state, atomically; when this returns, the commit is durable."""
    files.replace_json(directory / MANIFEST_NAME, manifest_document(manifest))


def stored_file(directory: Path, path: Path) -> StoredFile:
    """Describe a file that has just been written."""
    return StoredFile(path.relative_to(directory).as_posix(), path.stat().st_size, sha256_of(path))


def check_file(directory: Path, file: StoredFile, *, verified: set[StoredFile], whole: bool = False) -> Path:
    """Check one data file against the manifest.

    Args:
        directory: The index.
        file: What the manifest says of the file.
        verified: Files that need no second check in this process; this one is added.
        whole: Whether to hash it whatever its size, and though it was checked before.

    Returns:
        Its path.

    Raises:
        StorageError: It is missing, resized or altered; the file is named.
        FileNotFoundError: It is missing; the reader first looks whether a newer commit has replaced it.
    """
    path = directory / file.name
    if file in verified and not whole:
        return path
    inside = PurePosixPath(file.name)
    if inside.is_absolute() or ".." in inside.parts:
        raise StorageError(f"the manifest names {file.name!r}, outside the index", where=str(directory))
    size = path.stat().st_size
    if size != file.bytes:
        raise StorageError(
            f"has {size:,} bytes, the manifest says {file.bytes:,}",
            where=str(path),
            mend="it is truncated or altered; restore it from a copy, or build the index again",
        )
    if (whole or size <= HASHED_AT_OPENING) and sha256_of(path) != file.sha256:
        raise StorageError(
            "its SHA-256 differs from the manifest's",
            where=str(path),
            mend="it was altered; restore it from a copy, or build the index again",
        )
    verified.add(file)
    return path


def _seal(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path) -> StorageError:
    return StorageError("is damaged", where=str(path), mend="restore it from a copy, or build the index again")


def _from_document(document: dict[str, Any]) -> Manifest:
    # The seal has been checked, so the document is what this version's manifest_document wrote.
    lexical, partition = document["lexical"], document["partition"]
    return Manifest(
        dimension=document["dimension"],
        generation=document["generation"],
        metric=document["metric"],
        storage=document["storage"],
        model=document["model"],
        lexical=None
        if lexical is None
        else LexicalSettings(lexical["token_pattern"], tuple(lexical["stopwords"]), lexical["k1"], lexical["b"]),
        fusion=Fusion(**document["fusion"]),
        attributes=document["attributes"],
        segments=tuple(
            SegmentEntry(
                name=entry["name"],
                rows=entry["rows"],
                files={part: StoredFile(**file) for part, file in entry["files"].items()},
                deleted=None if entry["deleted"] is None else StoredFile(**entry["deleted"]),
                deleted_rows=entry["deleted_rows"],
            )
            for entry in document["segments"]
        ),
        partition=None
        if partition is None
        else PartitionEntry(
            **{**partition, "files": {part: StoredFile(**file) for part, file in partition["files"].items()}}
        ),
    )
