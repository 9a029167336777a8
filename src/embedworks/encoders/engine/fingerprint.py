"""One digest for everything about a model that decides its vectors: weights, modules, settings, tokenizer."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_WITHOUT_EFFECT: Final = ("_name_or_path", "transformers_version")


def model_fingerprint(model: SentenceTransformer) -> str:
    """Return the digest; equal for equal models, wherever they were loaded from."""
    digest = hashlib.blake2b(digest_size=16)

    def add(document: Any) -> None:
        digest.update(json.dumps(document, sort_keys=True, default=str).encode())
        digest.update(b"\0")

    add([model.truncate_dim, model.max_seq_length])
    for module in model.children():
        settings = getattr(module, "get_config_dict", None)
        add([type(module).__name__, settings() if callable(settings) else None])
    config = model.config
    if config is not None:
        add({name: value for name, value in config.to_dict().items() if name not in _WITHOUT_EFFECT})
    add(_tokenizer_settings(getattr(model[0], "tokenizer", None)))
    for name, tensor in sorted(model.state_dict().items()):
        add([name, str(tensor.dtype), list(tensor.shape)])
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _tokenizer_settings(tokenizer: Any) -> Any:
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    settings: dict[str, Any] = {"padding_side": getattr(tokenizer, "padding_side", None)}
    if hasattr(backend, "to_str"):
        # Truncation and padding are state of the last call, not of the tokenizer.
        content = json.loads(backend.to_str())
        settings["backend"] = {name: value for name, value in content.items() if name not in ("truncation", "padding")}
    elif hasattr(tokenizer, "get_vocab"):
        settings["vocabulary"] = tokenizer.get_vocab()
    return settings
