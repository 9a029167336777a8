"""What every text encoder offers: encode, dimension, save, over a sentence-transformers model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from embedworks.encoders.directory_checks import check_model_directory
from embedworks.encoders.library_bars import without_library_bars
from embedworks.encoders.lora import with_merged_lora
from embedworks.encoders.model_card import model_card
from embedworks.foundation import InputError, staged_directory

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embedworks.encoders.engine import EncodeReport, Overflow, Precision


class EncodeOptions(TypedDict, total=False):
    """Options of :meth:`TextEncoder.encode` that its forms for queries and documents pass on."""

    precision: Precision
    overflow: Overflow
    dimension: int | None
    batch_tokens: int | None


class TextEncoder:
    """A model that turns texts into vectors; satisfies :class:`embedworks.foundation.protocols.Encoder`.

    Args:
        model: The sentence-transformers model to wrap; training trains it in place.
        name: What results and cards call it.
        base_model: The Hugging Face id it was made from, for the card.
        training_settings: What it was trained with, for the card and the manifest; JSON values.

    Attributes:
        last_report: Counts and times of the latest ``encode``; None before the first.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        name: str,
        base_model: str | None = None,
        training_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model.eval()
        self.name = name
        self.base_model = base_model
        self.training_settings = dict(training_settings or {})
        self.last_report: EncodeReport | None = None
        self._dimension = _dimension(model)

    def __repr__(self) -> str:
        modules = " > ".join(type(module).__name__ for module in self.model)
        return f"TextEncoder({self.name!r}, dimension={self.dimension}, {modules})"

    @property
    def dimension(self) -> int:
        """Number of components of every vector."""
        return self._dimension

    def encode(
        self,
        items: Iterable[str],
        *,
        prompt: str | None = None,
        precision: Precision = "auto",
        overflow: Overflow = "truncate",
        dimension: int | None = None,
        batch_tokens: int | None = None,
        progress: bool = False,
    ) -> NDArray[np.float32]:
        """Encode texts.

        Args:
            items: Texts: a sequence, an Arrow column, or any iterable, which is drawn from once.
            prompt: Put before every text; by default the model's own default prompt, if it has one.
            precision: ``"auto"`` computes in bfloat16 where the processor has it and a sample agrees with float32.
            overflow: What happens to texts longer than the model takes: cut and counted, split and averaged, refused.
            dimension: Give the first this many components only, scaled to length 1 again (for models trained so that
                those say most, as by Matryoshka losses); by default whole vectors.
            batch_tokens: Padded tokens a batch; by default the engine's choice.
            progress: Whether to show a progress bar.

        Returns:
            Shape (len(items), dimension), float32, in the order of the items.

        Raises:
            InputError: An item is no text, or is too long under ``overflow="error"``, or the vectors have fewer
                components than ``dimension``.
            NonFiniteError: A vector is NaN or infinite.
        """
        from embedworks.encoders.engine import encode_texts

        vectors, self.last_report = encode_texts(
            self.model,
            items,
            prompt=prompt,
            precision=precision,
            overflow=overflow,
            dimension=dimension,
            batch_tokens=batch_tokens,
            progress=progress,
        )
        return vectors

    def encode_query(
        self, items: Iterable[str], *, progress: bool = False, **options: Unpack[EncodeOptions]
    ) -> NDArray[np.float32]:
        """Encode queries: :meth:`encode` with the model's prompt ``"query"`` before each, if it has one."""
        return self.encode(items, prompt=_prompt_of(self.model, "query"), progress=progress, **options)

    def encode_document(
        self, items: Iterable[str], *, progress: bool = False, **options: Unpack[EncodeOptions]
    ) -> NDArray[np.float32]:
        """Encode documents: :meth:`encode` with the model's prompt ``"document"`` before each, if it has one.

        Models of others may call it ``"passage"`` or ``"corpus"``.
        """
        return self.encode(
            items, prompt=_prompt_of(self.model, "document", "passage", "corpus"), progress=progress, **options
        )

    def encode_to(
        self,
        path: str | Path,
        items: Iterable[str],
        *,
        prompt: str | None = None,
        precision: Precision = "auto",
        overflow: Overflow = "truncate",
        dimension: int | None = None,
        batch_tokens: int | None = None,
        progress: bool = False,
        overwrite: bool = False,
    ) -> EncodeReport:
        """Encode texts into a memory-mapped ``.npy`` file; a killed run goes on where it stopped.

        Args:
            path: The file, float32, shape (len(items), dimension).
            items: Texts: a sequence, an Arrow column, or any iterable, which is drawn from once.
            prompt: As in :meth:`encode`.
            precision: As in :meth:`encode`.
            overflow: As in :meth:`encode`.
            dimension: As in :meth:`encode`.
            batch_tokens: As in :meth:`encode`.
            progress: As in :meth:`encode`.
            overwrite: Whether a finished file, or a begun one of another run, may be replaced.

        Returns:
            Counts and times of the run.

        Raises:
            InputError: An item is no text, or the file is finished or begun by a different run.
        """
        from embedworks.encoders.engine import encode_to_file

        self.last_report = encode_to_file(
            self.model,
            items,
            Path(path),
            prompt=prompt,
            precision=precision,
            overflow=overflow,
            dimension=dimension,
            batch_tokens=batch_tokens,
            progress=progress,
            overwrite=overwrite,
        )
        return self.last_report

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save as a sentence-transformers directory with a model card and a manifest; whole or not at all.

        Adapters are merged into the weights, so that the directory needs no other file. Everything is safetensors and
        JSON; :func:`embedworks.load` loads it, and so does sentence-transformers where every module is its own.

        Args:
            path: Where the directory is to stand.
            overwrite: Whether a directory there may be replaced.

        Raises:
            InputError: Something stands at ``path`` already, or a module can only write a pickle.
        """
        target = Path(path).expanduser()
        metadata = {
            "kind": "text-encoder",
            "base_model": self.base_model,
            "dimension": self.dimension,
            "training_settings": self.training_settings,
        }
        with staged_directory(target, metadata=metadata, overwrite=overwrite) as staging:
            self.write_files(staging, name=target.name)

    def write_files(self, directory: Path, *, name: str) -> None:
        """Write the model's files and its card into a directory that exists; :meth:`save` stages and seals it.

        Args:
            directory: Where to write.
            name: What the card calls the model.

        Raises:
            StorageError: A module wrote a pickle.
        """
        whole = with_merged_lora(self.model)
        with without_library_bars():
            whole.save(str(directory), create_model_card=False, safe_serialization=True)
        _declare_requirements(whole, directory)
        card = model_card(
            whole,
            name=name,
            dimension=self.dimension,
            base_model=self.base_model,
            training_settings=self.training_settings,
        )
        (directory / "README.md").write_text(card, encoding="utf-8")
        check_model_directory(directory)


def _prompt_of(model: SentenceTransformer, *names: str) -> str:
    """Return the first prompt there is under these names; an empty one keeps the default prompt away, as elsewhere."""
    return next((prompt for name in names if (prompt := model.prompts.get(name))), "")


def _declare_requirements(model: SentenceTransformer, directory: Path) -> None:
    """Have loaders refuse a transformers that would silently ignore ``is_causal`` and stay causal."""
    backbone = model.transformers_model
    if backbone is None or getattr(backbone.config, "is_causal", None) is not False:
        return
    path = directory / "config_sentence_transformers.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    reason = "older versions ignore is_causal=False and attend causally"
    settings["requirements"] = {"transformers": {"specifier": ">=5.2", "reason": reason}}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")


def _dimension(model: SentenceTransformer) -> int:
    known = model.get_embedding_dimension()
    if known is not None:
        return int(known)
    with torch.no_grad():
        vectors = model(model.preprocess(["a text"]))["sentence_embedding"]
    if vectors.ndim != 2:
        raise InputError("the model gives no single vector a text", mend="add a pooling module to it")
    return int(vectors.shape[1])
