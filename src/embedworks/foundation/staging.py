"""Directories that appear whole or not at all: staged beside their place, sealed by a manifest, renamed into it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embedworks.foundation.environment import library_versions
from embedworks.foundation.errors import InputError, StorageError
from embedworks.foundation.files import LOCAL_FILES, FileOperations, sha256_of

MANIFEST_NAME = "manifest.json"
_SCHEMA_VERSION = 1


@contextmanager
def staged_directory(
    target: Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    files: FileOperations = LOCAL_FILES,
) -> Iterator[Path]:
    """Fill a hidden directory beside ``target``; when the block ends well, seal it and rename it to ``target``.

    A kill at any moment leaves the old state or the new one. An exception in the block leaves the old state and
    removes the staging directory.

    Args:
        target: Where the finished directory is to stand.
        metadata: Facts kept in the manifest beside names, sizes and SHA-256 of every file.
        overwrite: Whether a directory that stands at ``target`` may be replaced.
        files: The file effects; tests pass one that fails.

    Yields:
        The staging directory to write into.

    Raises:
        InputError: ``target`` exists and ``overwrite`` is false.
    """
    recover_interrupted_replace(target, files=files)
    if target.exists() and not overwrite:
        raise InputError("exists already", where=str(target), mend="choose another place, or pass overwrite")
    staging = target.with_name(f".tmp-{target.name}-{uuid.uuid4().hex[:12]}")
    files.make_directory(staging)
    try:
        yield staging
        _seal(staging, metadata or {}, files)
        if target.exists():
            retired = target.with_name(f".trash-{target.name}-{uuid.uuid4().hex[:12]}")
            files.rename(target, retired)
            files.rename(staging, target)
            files.sync_directory(target.parent)
            files.remove_tree(retired)
        else:
            files.rename(staging, target)
            files.sync_directory(target.parent)
    except BaseException:
        recover_interrupted_replace(target, files=LOCAL_FILES)
        if staging.exists():
            LOCAL_FILES.remove_tree(staging)
        raise


def recover_interrupted_replace(target: Path, *, files: FileOperations = LOCAL_FILES) -> None:
    """Put the retired directory back if a kill fell between the two renames of an overwrite."""
    if target.exists() or not target.parent.is_dir():
        return
    retired = sorted(target.parent.glob(f".trash-{target.name}-*"), key=lambda path: path.stat().st_mtime)
    if retired:
        files.rename(retired[-1], target)
        files.sync_directory(target.parent)


def verify_directory(directory: Path, *, files: FileOperations = LOCAL_FILES) -> dict[str, Any]:
    """Check every file of a sealed directory against its manifest.

    Args:
        directory: A directory made by :func:`staged_directory`.
        files: The file effects used if an interrupted overwrite has to be put right first.

    Returns:
        The manifest's metadata.

    Raises:
        StorageError: The directory or manifest is missing, or a file is missing, resized, altered or outside.
    """
    recover_interrupted_replace(directory, files=files)
    manifest_path = directory / MANIFEST_NAME
    if not manifest_path.is_file():
        raise StorageError("no manifest.json", where=str(directory), mend="this was not finished, or is not ours")
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        version, entries, metadata = manifest["schema_version"], manifest["files"], manifest["metadata"]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError("unreadable manifest", where=str(manifest_path), mend="restore it from a copy") from error
    if version != _SCHEMA_VERSION:
        raise StorageError(
            f"schema version {version} is not known to this version",
            where=str(manifest_path),
            mend="update embedworks",
        )
    root = directory.resolve()
    for name, entry in entries.items():
        path = (directory / name).resolve()
        if root not in path.parents:
            raise StorageError(f"the manifest names {name!r}, outside the directory", where=str(manifest_path))
        if not path.is_file():
            raise StorageError("file is missing", where=str(path), mend="restore it from a copy")
        if path.stat().st_size != entry["bytes"]:
            raise StorageError(
                f"has {path.stat().st_size} bytes, the manifest says {entry['bytes']}",
                where=str(path),
                mend="it is truncated or altered; restore it from a copy",
            )
        if sha256_of(path) != entry["sha256"]:
            raise StorageError("SHA-256 differs from the manifest", where=str(path), mend="restore it from a copy")
    return dict(metadata)


def _seal(staging: Path, metadata: Mapping[str, Any], files: FileOperations) -> None:
    entries: dict[str, dict[str, Any]] = {}
    for path in sorted(staging.rglob("*")):
        if path.is_file():
            files.sync(path)
            entries[path.relative_to(staging).as_posix()] = {
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
    for path in sorted(staging.rglob("*")):
        if path.is_dir():
            files.sync_directory(path)
    document = {
        "schema_version": _SCHEMA_VERSION,
        "versions": library_versions(),
        "files": entries,
        "metadata": dict(metadata),
    }
    files.write(staging / MANIFEST_NAME, json.dumps(document, indent=2, allow_nan=False).encode())
    files.sync_directory(staging)
