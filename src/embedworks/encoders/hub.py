"""Where a model's files are: a local directory, or a snapshot of a Hugging Face repository without its pickles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from embedworks.foundation import InputError, StorageError, recover_interrupted_replace

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_DEFAULT_ORGANISATION: Final = "sentence-transformers"
WANTED: Final = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.py")
"""What is fetched of a repository: weights, settings, vocabularies; never a pickle."""


def locate_model(name_or_path: str | Path) -> tuple[Path, bool]:
    """Find a model's files.

    Args:
        name_or_path: A local directory, or the name of a repository on the Hugging Face Hub (``organisation/name``;
            a bare name means the organisation sentence-transformers).

    Returns:
        The directory, and whether it is a snapshot of the Hub's cache, whose files are links into the cache.

    Raises:
        InputError: There is no such directory, no such repository, or no way to reach it.
        StorageError: The repository holds no safetensors weights.
    """
    path = Path(name_or_path).expanduser()
    recover_interrupted_replace(path)
    if path.is_dir():
        return path, False
    if path.is_file():
        raise InputError("is a file, a model is a directory", where=str(path), mend="name the directory it is in")
    name = str(name_or_path)
    if not isinstance(name_or_path, str) or not _HUB_NAME.fullmatch(name):
        raise InputError(
            "no such directory", where=name, mend="check the path, or use 'minilm' or a Hugging Face id (owner/name)"
        )
    return _snapshot(name if "/" in name else f"{_DEFAULT_ORGANISATION}/{name}", asked=name), True


def _snapshot(repository: str, *, asked: str) -> Path:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

    try:
        folder = Path(snapshot_download(repository, allow_patterns=list(WANTED)))
    except RepositoryNotFoundError as error:
        raise InputError(
            f"neither a local directory nor a repository {repository} on the Hugging Face Hub",
            where=asked,
            mend="check the name; private and gated models need a login",
        ) from error
    except (HfHubHTTPError, EntryNotFoundError, httpx.HTTPError, OSError, RuntimeError) as error:
        raise InputError(
            f"not a local directory, and the Hugging Face Hub gave no {repository} ({type(error).__name__})",
            where=asked,
            mend="check the path and the network connection, or use 'minilm', which is installed with embedworks",
        ) from error
    if not any(folder.rglob("*.safetensors")):
        raise StorageError(
            "the repository holds no safetensors weights",
            where=asked,
            mend="its pickles are not read; convert it to safetensors",
        )
    return folder
