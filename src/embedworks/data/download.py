"""Files of named data sets: found in a folder, in the cache, or downloaded; always checked by size and SHA-256."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO

from embedworks.foundation import LOCAL_FILES, FileOperations, InputError, StorageError, progress_bar

_LOGGER = logging.getLogger(__name__)
_PIECE_BYTES = 1 << 16
_TIMEOUT_S = 30.0
_STALE_AFTER_S = 3600.0


@dataclass(frozen=True)
class File:
    """One file of a data set.

    Args:
        name: Its name in our folders; a copy with ``.gz`` behind serves as well.
        url: The official address; None where nobody publishes it in this form.
        bytes: Size of the uncompressed content.
        sha256: SHA-256 of the uncompressed content, hexadecimal.
    """

    name: str
    url: str | None
    bytes: int
    sha256: str


def cache_folder() -> Path:
    """Return the folder for downloads: ``EMBEDWORKS_CACHE``, or ``embedworks`` in the user's cache folder."""
    chosen = os.environ.get("EMBEDWORKS_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "embedworks" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "embedworks"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embedworks"


def local_file(data_set: str, file: File, *, progress: bool = False, files: FileOperations = LOCAL_FILES) -> Path:
    """Return a checked copy of a file on this machine, downloading it where there is none.

    Looked for in the folder ``$EMBEDWORKS_DATA/<data set>``, then in the cache, plain or gzipped.

    Args:
        data_set: Name of the data set.
        file: The file.
        progress: Whether to show a progress bar while downloading.
        files: The file effects; tests pass one that fails.

    Returns:
        The path of the copy, plain or ending in ``.gz``.

    Raises:
        StorageError: A copy in ``EMBEDWORKS_DATA`` differs from what was published, or the download failed or differs.
    """
    given = os.environ.get("EMBEDWORKS_DATA")
    if given:
        for path in _copies(Path(given) / data_set, file):
            fault = _fault_of(path, file)
            if fault:
                source = f"get it from {file.url}" if file.url else "replace it"
                raise StorageError(fault, where=str(path), mend=f"it is not the published file; {source} or remove it")
            return path
    folder = cache_folder() / "data" / data_set
    for path in _copies(folder, file):
        fault = _fault_of(path, file)
        if not fault:
            return path
        _LOGGER.warning("%s: %s; it is removed and fetched again", path, fault)
        files.remove(path)
    download(file, folder / file.name, progress=progress, files=files)
    return folder / file.name


def download(file: File, target: Path, *, progress: bool = False, files: FileOperations = LOCAL_FILES) -> None:
    """Download a file beside its place, check it, and rename it into place; what fails leaves nothing behind.

    Args:
        file: The file.
        target: Where it is to stand.
        progress: Whether to show a progress bar.
        files: The file effects; tests pass one that fails.

    Raises:
        StorageError: It has no address, the server does not answer, or what it sends has another size or SHA-256.
    """
    if file.url is None:
        raise StorageError(
            "is published nowhere in this form",
            where=file.name,
            mend=f"put a copy at {target}, or name the folder that has it in EMBEDWORKS_DATA",
        )
    files.make_directory(target.parent)
    _remove_stale(target, files)
    staging = target.with_name(f".tmp-{target.name}-{uuid.uuid4().hex[:12]}")
    try:
        with staging.open("xb") as stream:
            digest = _receive(file, file.url, stream, target, progress=progress)
        if digest != file.sha256:
            raise StorageError(
                f"SHA-256 {digest[:16]}... differs from the published {file.sha256[:16]}...",
                where=file.url,
                mend="the file was refused and removed; try again, or report that the address has changed",
            )
        files.sync(staging)
        files.rename(staging, target)
        files.sync_directory(target.parent)
    finally:
        staging.unlink(missing_ok=True)


def _receive(file: File, url: str, stream: IO[bytes], target: Path, *, progress: bool) -> str:
    """Copy a file from an address into a stream; return its SHA-256."""
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise InputError("is no https address", where=url, mend="use https")
    request = urllib.request.Request(url, headers={"User-Agent": "embedworks"})  # noqa: S310 - checked above
    digest, received = hashlib.sha256(), 0
    bar = progress_bar(f"Downloading {file.name}", file.bytes, unit="bytes", enabled=progress)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response, bar as advance:  # noqa: S310
            while piece := response.read(_PIECE_BYTES):
                received += len(piece)
                if received > file.bytes:
                    break
                digest.update(piece)
                stream.write(piece)
                advance(len(piece))
    except (urllib.error.URLError, HTTPException, OSError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise StorageError(
            f"cannot be downloaded ({error})",
            where=url,
            mend=f"check the connection, or put the file at {target} yourself",
        ) from None
    if received != file.bytes:
        sent = f"more than {file.bytes}" if received > file.bytes else str(received)
        raise StorageError(
            f"the server sent {sent} bytes, {file.bytes} were published",
            where=url,
            mend="the file was refused and removed; try again",
        )
    return digest.hexdigest()


def _remove_stale(target: Path, files: FileOperations) -> None:
    """Remove what a killed download left, unless it is so young that another process may be writing it."""
    for path in target.parent.glob(f".tmp-{target.name}-*"):
        if time.time() - path.stat().st_mtime > _STALE_AFTER_S:
            files.remove(path)


def _copies(folder: Path, file: File) -> list[Path]:
    return [path for path in (folder / file.name, folder / f"{file.name}.gz") if path.is_file()]


def _fault_of(path: Path, file: File) -> str:
    """Say what is wrong with a copy, or return an empty string."""
    digest, size = hashlib.sha256(), 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            while piece := stream.read(_PIECE_BYTES):
                size += len(piece)
                digest.update(piece)
                if size > file.bytes:
                    break
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        return f"damaged gzip file ({error})"
    if size != file.bytes:
        return f"has {'more than ' if size > file.bytes else ''}{min(size, file.bytes)} bytes, not {file.bytes}"
    return "" if digest.hexdigest() == file.sha256 else "SHA-256 differs from that of the published file"
