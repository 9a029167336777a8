"""Loading a model by name or path: our own modules from an allow-list, foreign code never by accident."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from embedworks.encoders.backbone import MINILM_HUB_NAME, PACKAGED_MINILM, packaged_minilm, set_max_length
from embedworks.encoders.directory_checks import (
    ModuleEntry,
    check_model_directory,
    module_entries,
    nested_class_names,
    read_json,
)
from embedworks.encoders.hub import locate_model
from embedworks.encoders.library_bars import without_library_bars
from embedworks.encoders.text_encoder import TextEncoder
from embedworks.foundation import EmbedworksError, InputError, StorageError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

OWN_MODULES: Final = {
    "embedworks.encoders.instructed_transformer.InstructedTransformer": "InstructedTransformer",
    "embedworks.encoders.multi_layer.MultiLayerTrainablePooling": "MultiLayerTrainablePooling",
    "embedworks.encoders.token_query_pooling.LatentAttentionPooling": "LatentAttentionPooling",
    "embedworks.encoders.token_query_pooling.SelfAttentionPooling": "SelfAttentionPooling",
    "embedworks.encoders.trainable_pooler.LastLayerTrainablePooling": "LastLayerTrainablePooling",
}
"""Class names in ``modules.json`` that load without a flag, beside sentence-transformers' own, and their export."""

_STOCK = "sentence_transformers."
_MODEL_KWARGS: Final = {"dtype": torch.float32, "use_safetensors": True}


def load(name_or_path: str | Path, *, trust_remote_code: bool = False, max_length: int | None = None) -> TextEncoder:
    """Load an encoder, in float32.

    Args:
        name_or_path: ``"minilm"`` (installed with embedworks), a local directory, or a Hugging Face id.
        trust_remote_code: Whether classes that are neither ours nor sentence-transformers' may be imported, which
            runs code the model's author chose.
        max_length: Longest text in tokens; by default what the model was saved with.

    Raises:
        InputError: There is no such model, it cannot be reached, it does not encode texts, or a length does not fit.
        StorageError: The directory is damaged, was altered, holds a pickle or NaN weights, leads out of itself, or
            names a foreign class.

    Example:
        >>> load("no-such-directory/")
        Traceback (most recent call last):
        ...
        embedworks.foundation.errors.InputError: no-such-directory/: no such directory; check the path, or use ...
    """
    if name_or_path == PACKAGED_MINILM:
        directory, is_snapshot = packaged_minilm(), False
    else:
        directory, is_snapshot = locate_model(name_or_path)
    metadata = check_model_directory(directory, links_within=directory.parent.parent if is_snapshot else None)
    entries = module_entries(directory)
    if entries is None and not (directory / "config.json").is_file():
        raise StorageError(
            "holds neither modules.json nor config.json", where=str(directory), mend="name the directory of a model"
        )
    own = _check_classes(directory, entries or [], trust_remote_code)
    try:
        with without_library_bars():
            if own and entries is not None:
                model = _assemble(directory, entries, trust_remote_code)
            else:
                model = _stock_model(directory, trust_remote_code)
    except EmbedworksError:
        raise
    except Exception as error:  # whatever a damaged file makes a library raise, a person is told in one line
        reason = (str(error).strip().splitlines() or [""])[0]
        raise StorageError(
            f"the model cannot be loaded ({type(error).__name__}: {reason})",
            where=str(directory),
            mend="check that settings, weights and tokenizer are complete and belong together",
        ) from error
    _refuse_non_finite(model, directory)
    _limit_length(model, max_length)
    base_model: str | None
    if name_or_path == PACKAGED_MINILM:
        name, base_model = PACKAGED_MINILM, MINILM_HUB_NAME
    elif is_snapshot:
        name = base_model = str(name_or_path)
    else:
        name, base_model = directory.resolve().name, metadata.get("base_model")
    return TextEncoder(
        model,
        name=name,
        base_model=base_model,
        training_settings=metadata.get("training_settings"),
    )


def _check_classes(directory: Path, entries: list[ModuleEntry], trust_remote_code: bool) -> bool:
    """Refuse foreign classes; tell whether any class is ours."""
    names = [name for entry in entries for name in (entry.class_name, *nested_class_names(directory, entry))]
    foreign = [name for name in names if not name.startswith(_STOCK) and name not in OWN_MODULES]
    if foreign and not trust_remote_code:
        raise StorageError(
            f"names the class {foreign[0]}, which is neither embedworks' nor sentence-transformers'",
            where=str(directory / "modules.json"),
            mend="read the code that comes with the model; pass trust_remote_code=True only if you trust it",
        )
    return any(name in OWN_MODULES for name in names)


def _stock_model(directory: Path, trust_remote_code: bool) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(directory),
        trust_remote_code=trust_remote_code,
        # An adapter names its base model by a Hugging Face id, which may have to be fetched.
        local_files_only=not any(directory.rglob("adapter_config.json")),
        model_kwargs=dict(_MODEL_KWARGS),
    )


def _assemble(directory: Path, entries: list[ModuleEntry], trust_remote_code: bool) -> SentenceTransformer:
    """Build the modules one by one, our own from the allow-list, and hand them to sentence-transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Module
    from sentence_transformers.util import check_version_requirements, import_module_class

    settings_path = directory / "config_sentence_transformers.json"
    settings = read_json(settings_path) if settings_path.is_file() else {}
    check_version_requirements(settings.get("requirements"), source=str(directory))
    own: dict[str, type[Module]] = {name: own_module_class(name) for name in OWN_MODULES}
    modules: list[Any] = []
    for entry in entries:
        module_class: Any = own.get(entry.class_name) or import_module_class(
            entry.class_name, str(directory), trust_remote_code=trust_remote_code, local_files_only=True
        )
        modules.append(
            module_class.load(
                str(directory),
                subfolder=entry.path,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                model_kwargs=dict(_MODEL_KWARGS),
                module_classes=own,  # a router resolves the classes in its routes with it
            )
        )
    model = SentenceTransformer(
        modules=modules,
        prompts=settings.get("prompts"),
        default_prompt_name=settings.get("default_prompt_name"),
        similarity_fn_name=settings.get("similarity_fn_name"),
        truncate_dim=settings.get("truncate_dim"),
    )
    model.module_kwargs = {
        str(place): list(entry.forward_arguments) for place, entry in enumerate(entries) if entry.forward_arguments
    }
    return model


def own_module_class(class_name: str) -> Any:
    """Return one of our module classes by its full name in ``modules.json``.

    Raises:
        KeyError: The name is not in :data:`OWN_MODULES`.
    """
    module_name, _, _ = class_name.rpartition(".")
    return getattr(import_module(module_name), OWN_MODULES[class_name])


def _refuse_non_finite(model: SentenceTransformer, directory: Path) -> None:
    for name, weights in model.named_parameters():
        if weights.is_floating_point() and not bool(torch.isfinite(weights).all()):
            raise StorageError(
                f"the weights {name} hold NaN or infinity", where=str(directory), mend="restore the model from a copy"
            )


def _limit_length(model: SentenceTransformer, max_length: int | None) -> None:
    from sentence_transformers.base.modules import Transformer

    if max_length is None:
        return
    first = model[0]
    if isinstance(first, Transformer):
        set_max_length(first, max_length)
        return
    if model.get_max_seq_length() is None or max_length < 1:
        raise InputError(f"{type(first).__name__} takes no max_length of {max_length}", mend="leave max_length out")
    model.max_seq_length = max_length
