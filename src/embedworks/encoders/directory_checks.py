"""What a model directory must not contain before anything in it is loaded: pickles, ways out, foreign code."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from embedworks.foundation import StorageError, verify_directory
from embedworks.foundation.staging import MANIFEST_NAME

PICKLE_SUFFIXES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
_ROUTER_CONFIGS: Final = ("router_config.json",)


@dataclass(frozen=True)
class ModuleEntry:
    """One line of ``modules.json``: a module's name, its folder within the model, its class, its forward arguments."""

    name: str
    path: str
    class_name: str
    forward_arguments: tuple[str, ...] = ()


def check_model_directory(directory: Path, *, links_within: Path | None = None) -> dict[str, Any]:
    """Refuse a model directory that is unsafe to load or differs from its manifest.

    Args:
        directory: The directory of a model.
        links_within: Where symbolic links may lead; by default nowhere but within ``directory``.

    Returns:
        The metadata of our manifest; empty if there is none.

    Raises:
        StorageError: A file is a pickle by name or content, a link leads out, a JSON file or the manifest is damaged.
    """
    allowed = (links_within or directory).resolve()
    for path in sorted(directory.rglob("*")):
        resolved = path.resolve()
        if resolved != allowed and allowed not in resolved.parents:
            raise StorageError(
                "is a link that leads out of the model's directory",
                where=str(path),
                mend="copy the model with its links resolved (cp -rL)",
            )
        if path.is_file() and is_pickle(path):
            raise StorageError(
                "is a pickle, which can run code when it is read", where=str(path), mend="convert it to safetensors"
            )
    return _verified_metadata(directory)


def is_pickle(path: Path) -> bool:
    """Tell whether a file is a pickle or an archive of torch, by its name or by how its content begins.

    The first bytes of a safetensors file are a length and may look like a pickle's, so its own form is tried first.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES:
        return True
    with path.open("rb") as stream:
        start = stream.read(10)
    if path.suffix == ".safetensors" and start[8:9] == b"{" and start[5:8] == b"\0\0\0":
        return False
    if len(start) > 1 and start[0] == 0x80 and start[1] <= 5:
        return True
    if start.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).suffix in {".pkl", ".pickle"} for name in archive.namelist())
    return False


def module_entries(directory: Path) -> list[ModuleEntry] | None:
    """Read ``modules.json``, refusing paths that lead out of the directory; None if there is no such file.

    Raises:
        StorageError: The file is damaged, empty, or names a path outside.
    """
    path = directory / "modules.json"
    if not path.is_file():
        return None
    document = read_json(path)
    try:
        entries = [
            ModuleEntry(str(line["name"]), str(line["path"]), str(line["type"]), tuple(line.get("kwargs") or ()))
            for line in document
        ]
    except (TypeError, KeyError, AttributeError) as error:
        raise StorageError("does not list modules with name, path and type", where=str(path)) from error
    if not entries:
        raise StorageError("lists no module", where=str(path), mend="restore it from a copy")
    for entry in entries:
        _check_relative(entry.path, path)
    return entries


def nested_class_names(directory: Path, entry: ModuleEntry) -> list[str]:
    """Return the classes a router names in its own configuration, refusing paths that lead out.

    Raises:
        StorageError: The router's configuration is damaged or names a path outside.
    """
    found: list[str] = []
    for name in _ROUTER_CONFIGS:
        path = directory / entry.path / name
        if path.is_file():
            types = read_json(path).get("types")
            if not isinstance(types, dict):
                raise StorageError("names no module types", where=str(path), mend="restore it from a copy")
            for inner, class_name in types.items():
                _check_relative(inner, path)
                found.append(str(class_name))
    return found


def read_json(path: Path) -> Any:
    """Read a JSON file of a model.

    Raises:
        StorageError: It is not valid UTF-8 or not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StorageError("is not readable JSON", where=str(path), mend="restore it from a copy") from error


def _check_relative(name: str, where: Path) -> None:
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    if ".." in parts or "\0" in name or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise StorageError(f"names the path {name!r}, outside the model's directory", where=str(where))


def _verified_metadata(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST_NAME
    if not path.is_file():
        return {}
    document = read_json(path)
    if isinstance(document, dict) and "schema_version" not in document and "files" not in document:
        return {}  # a file of the same name that is not our manifest
    return verify_directory(directory)
