"""embedworks learns, compresses, searches, judges and explains embeddings.

``import embedworks.api as ew`` gives the verbs of the command line as functions; ``embedworks.load`` opens a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedworks.encoders import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from embedworks.encoders import load

        return load
    raise AttributeError(f"module 'embedworks' has no attribute {name!r}")
