"""What every room stands on: errors, durable files, progress, seeds, and the protocol of an encoder.

Comes in: nothing of ours. Goes out: small parts with no knowledge of embeddings.
Start reading at ``errors`` and ``staging``.
"""

from embedworks.foundation.environment import environment, library_versions
from embedworks.foundation.errors import (
    EmbedworksError,
    InputError,
    MissingExtraError,
    NonFiniteError,
    StorageError,
)
from embedworks.foundation.files import LOCAL_FILES, FileOperations, sha256_of
from embedworks.foundation.progress import progress_bar
from embedworks.foundation.staging import recover_interrupted_replace, staged_directory, verify_directory

__all__ = [
    "LOCAL_FILES",
    "EmbedworksError",
    "FileOperations",
    "InputError",
    "MissingExtraError",
    "NonFiniteError",
    "StorageError",
    "environment",
    "library_versions",
    "progress_bar",
    "recover_interrupted_replace",
    "sha256_of",
    "staged_directory",
    "verify_directory",
]
