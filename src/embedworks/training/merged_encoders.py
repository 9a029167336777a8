"""Merging saved encoders: directories in, a directory out, which loads as its ingredients do.

An encoder is read as files: weights from safetensors, everything else compared and copied. So nothing of it is run, and
an encoder of any modules can be merged.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from embedworks.foundation import InputError, StorageError, staged_directory, verify_directory
from embedworks.foundation.staging import MANIFEST_NAME
from embedworks.training.merging import Granularity, State, delta_guided_fusion, greedy_soup, uniform_soup

_CARD = "README.md"
# Facts of the machine that saved a model, not of the model.
_PASSING = frozenset(
    {"__version__", "_name_or_path", "is_local", "local_files_only", "name_or_path", "transformers_version"}
)
_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})


@dataclass(frozen=True)
class MergeReport:
    """How a merged encoder came about."""

    rule: str
    """The rule, with its settings."""
    models: tuple[str, ...]
    """Names of the directories that were given."""
    merged: tuple[str, ...]
    """Names of those that are in the result, in the order they were taken."""
    scores: tuple[float, ...] | None = None
    """Validation score of each model alone; None where there was no validation."""
    score: float | None = None
    """Validation score of the result; None where there was no validation."""


def merge_uniformly(
    directories: Sequence[Path], out: Path, *, weights: Sequence[float] | None = None, overwrite: bool = False
) -> MergeReport:
    """Average saved encoders (uniform soup), or take their weighted mean.

    Args:
        directories: Saved encoders of one architecture and tokenizer.
        out: Where the result is to stand.
        weights: The share of each, in any unit; equal shares where None.
        overwrite: Whether a directory at ``out`` may be replaced.

    Returns:
        What was merged.

    Raises:
        InputError: The encoders are unlike, or ``out`` stands already.
        StorageError: A directory is damaged, or holds no safetensors or a pickle.
    """
    encoders = _read(directories)
    state = uniform_soup([encoder.state for encoder in encoders], weights=weights)
    names = tuple(encoder.name for encoder in encoders)
    rule = "uniform soup" if weights is None else f"soup with weights {', '.join(f'{w:g}' for w in weights)}"
    report = MergeReport(rule=rule, models=names, merged=names)
    _write(encoders, state, out, report, overwrite=overwrite)
    return report


def merge_greedily(
    directories: Sequence[Path], out: Path, validate: Callable[[Path], float], *, overwrite: bool = False
) -> MergeReport:
    """Merge those of several saved encoders that together validate best (greedy soup).

    Args:
        directories: Saved encoders of one architecture and tokenizer.
        out: Where the result is to stand.
        validate: Judges a saved encoder on validation data; higher is better. Candidates lie beside ``out`` while they
            are judged, one at a time.
        overwrite: Whether a directory at ``out`` may be replaced.

    Returns:
        What was merged, with the scores.

    Raises:
        InputError: As :func:`merge_uniformly`, or a score is not finite.
        StorageError: As :func:`merge_uniformly`.
    """
    encoders = _read(directories)
    _refuse_taken(out, overwrite)
    names = tuple(encoder.name for encoder in encoders)

    def score(state: State) -> float:
        with TemporaryDirectory(prefix=f".tmp-{out.name}-", dir=out.parent) as folder:
            candidate = Path(folder) / "candidate"
            _write(encoders, state, candidate, MergeReport("greedy soup", names, names), overwrite=False)
            return validate(candidate)

    soup = greedy_soup([encoder.state for encoder in encoders], score)
    merged = tuple(names[place] for place in soup.chosen)
    report = MergeReport("greedy soup", names, merged, scores=soup.scores, score=soup.score)
    _write(encoders, soup.state, out, report, overwrite=overwrite)
    return report


def merge_delta_guided(
    base: Path,
    directories: Sequence[Path],
    out: Path,
    *,
    granularity: Granularity = "tensor",
    power: float = 1.0,
    overwrite: bool = False,
) -> MergeReport:
    """Merge saved encoders, each part of each weighted by how far it has moved from the encoder all were trained from.

    Args:
        base: The saved encoder that all were trained from.
        directories: The trained ones.
        out: Where the result is to stand.
        granularity: As in :func:`~embedworks.training.delta_guided_fusion`.
        power: As there.
        overwrite: Whether a directory at ``out`` may be replaced.

    Returns:
        What was merged.

    Raises:
        InputError: As :func:`merge_uniformly`.
        StorageError: As :func:`merge_uniformly`.
    """
    start, *encoders = _read([base, *directories])
    state = delta_guided_fusion(
        start.state, [encoder.state for encoder in encoders], granularity=granularity, power=power
    )
    names = tuple(encoder.name for encoder in encoders)
    rule = f"delta-guided fusion from {start.name}, a weight a {granularity}, power {power:g}"
    report = MergeReport(rule=rule, models=names, merged=names)
    _write(encoders, state, out, report, overwrite=overwrite)
    return report


@dataclass(frozen=True)
class _SavedEncoder:
    """A saved encoder: its tensors under the name of their file and their own, and all its other files."""

    directory: Path
    name: str
    state: dict[str, Tensor]
    weight_files: tuple[str, ...]
    others: tuple[str, ...]
    metadata: Mapping[str, Any]


def _read(directories: Sequence[Path]) -> list[_SavedEncoder]:
    if not directories:
        raise InputError("no models", where="merging", mend="give at least one")
    encoders = [_read_one(Path(directory)) for directory in directories]
    for encoder in encoders[1:]:
        _refuse_unlike(encoders[0], encoder)
    return encoders


def _read_one(directory: Path) -> _SavedEncoder:
    if not directory.is_dir():
        raise InputError("no such directory", where=str(directory), mend="name the directory of a saved encoder")
    manifest = directory / MANIFEST_NAME
    metadata = verify_directory(directory) if manifest.is_file() else {}
    files = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    weights = tuple(name for name in files if name.endswith(".safetensors"))
    for name in files:
        if Path(name).suffix.lower() in _PICKLES:
            raise StorageError("is a pickle", where=str(directory / name), mend="convert it to safetensors")
    if not weights:
        raise StorageError("holds no safetensors", where=str(directory), mend="name the directory of a saved encoder")
    state: dict[str, Tensor] = {}
    for name in weights:
        try:
            tensors = load_file(directory / name)
        except SafetensorError as error:
            raise StorageError("unreadable weights", where=str(directory / name), mend="restore a copy") from error
        state |= {f"{name}: {tensor}": value for tensor, value in tensors.items()}
    return _SavedEncoder(
        directory=directory,
        name=directory.resolve().name,
        state=state,
        weight_files=weights,
        others=tuple(name for name in files if name not in {*weights, _CARD, MANIFEST_NAME}),
        metadata=metadata,
    )


def _refuse_unlike(first: _SavedEncoder, other: _SavedEncoder) -> None:
    """Refuse encoders that differ in anything but their weights: equal weights would mean different things."""
    for name in sorted({*first.weight_files, *first.others} ^ {*other.weight_files, *other.others}):
        has, lacks = (first, other) if (first.directory / name).is_file() else (other, first)
        raise InputError(f"has no {name}, and {has.directory} has", where=str(lacks.directory), mend=_ALIKE)
    for name in first.others:
        if _content(first.directory / name) != _content(other.directory / name):
            raise InputError(f"differs from that of {first.directory}", where=str(other.directory / name), mend=_ALIKE)


_ALIKE = "merge encoders of one architecture and tokenizer"


def _content(path: Path) -> object:
    content = path.read_bytes()
    if path.suffix != ".json":
        return content
    try:
        document = json.loads(content)
    except ValueError as error:
        raise StorageError("is not readable JSON", where=str(path), mend="restore it from a copy") from error
    if isinstance(document, dict):
        return {key: value for key, value in document.items() if key not in _PASSING}
    return document


def _refuse_taken(out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise InputError("exists already", where=str(out), mend="choose another place, or pass overwrite")


def _write(encoders: Sequence[_SavedEncoder], state: State, out: Path, report: MergeReport, *, overwrite: bool) -> None:
    source = encoders[0]
    bases = {encoder.metadata.get("base_model") for encoder in encoders}
    facts = {"merge": json.loads(json.dumps(asdict(report), allow_nan=False))}
    metadata = {
        **source.metadata,
        "base_model": bases.pop() if len(bases) == 1 else None,
        "training_settings": facts,
    }
    with staged_directory(out, metadata=metadata, overwrite=overwrite) as staging:
        for name in source.others:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.directory / name, staging / name)
        for name in source.weight_files:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            prefix = f"{name}: "
            tensors = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
            # Tied tensors were one in memory and one in the file; merged ones are apart, and their names unique.
            save_file({key: value.contiguous() for key, value in tensors.items()}, staging / name, {"format": "pt"})
        (staging / _CARD).write_text(_card(source, out.name, facts), encoding="utf-8")


def _card(source: _SavedEncoder, name: str, facts: Mapping[str, Any]) -> str:
    path = source.directory / _CARD
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    parts = text.split("---\n", 2)
    front = f"---\n{parts[1]}---\n\n" if text.startswith("---\n") and len(parts) == 3 else ""
    settings = json.dumps(dict(facts), indent=2, ensure_ascii=False)
    return (
        f"{front}# {name}\n\nA text encoder merged from {len(facts['merge']['merged'])} others, with their modules and "
        f'tokenizer.\n\n## Loading\n\n```python\nimport embedworks\n\nencoder = embedworks.load("{name}")\n'
        f'vectors = encoder.encode(["a text"])\n```\n\n## Training\n\n```json\n{settings}\n```\n'
    )
