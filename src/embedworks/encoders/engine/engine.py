"""The engine's two doors: vectors of texts in memory, and in a file that a killed run goes on with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from embedworks.encoders.engine.batching import default_batch_tokens
from embedworks.encoders.engine.destination import ArrayDestination, FileDestination
from embedworks.encoders.engine.fingerprint import model_fingerprint
from embedworks.encoders.engine.inference import evaluating, plain_forward
from embedworks.encoders.engine.journal import JournalHeader
from embedworks.encoders.engine.report import EncodeReport, Overflow, Precision, Settled
from embedworks.encoders.engine.running import Run, Totals
from embedworks.encoders.engine.texts import digest_of_all, draw, text_count
from embedworks.encoders.engine.tokens import text_tokenizer
from embedworks.encoders.engine.windows import prepared_windows
from embedworks.encoders.engine.workers import ForwardWorkers
from embedworks.foundation import LOCAL_FILES, InputError, progress_bar
from embedworks.foundation.files import FileOperations

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

NOTHING_TO_ENCODE: Final = Settled("float32", "nothing to encode", None)
logger = logging.getLogger(__name__)

DEFAULT_WINDOW: Final = 4096
"""Texts sorted together, and kept or lost together at a kill."""


def encode_texts(
    model: SentenceTransformer,
    texts: Iterable[str],
    *,
    prompt: str | None = None,
    precision: Precision = "auto",
    overflow: Overflow = "truncate",
    dimension: int | None = None,
    batch_tokens: int | None = None,
    window: int = DEFAULT_WINDOW,
    progress: bool = False,
    output: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], EncodeReport]:
    """Encode texts into one array.

    In float32 every vector equals that of the text alone through the model to 1e-5, whatever the order of the texts,
    the batch budget and the window; in half precision its cosine to it is at least 0.999.

    Args:
        model: Any sentence-transformers model of texts; its weights, precision and training mode stay as they are.
        texts: A sequence, an Arrow column, or any iterable, which is then drawn from once.
        prompt: Put before every text; by default the model's default prompt, if it has one.
        precision: What the transformer computes in; ``"auto"`` takes half precision where the device has it, the texts
            are not few, and a sample of them agrees with float32.
        overflow: Texts longer than the model reads are cut and counted (``"truncate"``), split into overlapping chunks
            whose vectors are averaged by length (``"chunk"``), or refused (``"error"``).
        dimension: Give the first this many components only, scaled to length 1 again; by default all that the model
            gives, as it gives them.
        batch_tokens: Padded tokens a batch; by default what suits the device.
        window: Texts tokenised and sorted together.
        progress: Whether to show a progress bar; only where the number of texts is known.
        output: Where to write, shape (n, d), float32; by default a new array. After an error its content is undefined.

    Returns:
        Vectors of shape (n, d), float32, in the order of the texts, and the report of the run.

    Raises:
        InputError: An item is no text, is too long under ``overflow="error"``, or an option cannot be met.
        NonFiniteError: A vector is NaN or infinite.
    """
    count = _checked_count(texts, window=window, batch_tokens=batch_tokens)
    if count is not None:
        digest_of_all(texts)
    _check_output(output, count)
    _check_dimension(model, dimension)
    destination = ArrayDestination(count, output)
    started = time.perf_counter()
    budget = batch_tokens or default_batch_tokens(model.device)
    prompt = _resolved_prompt(model, prompt)
    tokenizer = text_tokenizer(model, prompt=prompt, overflow=overflow, batch_tokens=budget)
    with _computing(model) as workers, _bar(count, enabled=progress) as advance:
        run = Run(model, destination, workers=workers, requested=precision, dimension=dimension)
        for prepared in prepared_windows(texts, tokenizer, size=window, finished={}):
            run.compute(prepared, advance)
    vectors = destination.result(run.dimension or dimension or _dimension(model))
    return vectors, _report(run.totals, run.choice or NOTHING_TO_ENCODE, budget=budget, resumed=0, started=started)


def encode_to_file(
    model: SentenceTransformer,
    texts: Iterable[str],
    path: str | Path,
    *,
    prompt: str | None = None,
    precision: Precision = "auto",
    overflow: Overflow = "truncate",
    dimension: int | None = None,
    batch_tokens: int | None = None,
    window: int = DEFAULT_WINDOW,
    progress: bool = False,
    overwrite: bool = False,
    files: FileOperations = LOCAL_FILES,
) -> EncodeReport:
    """Encode texts into a ``.npy`` file that appears when it is whole; called again after a kill, it goes on.

    After every window the rows are flushed to the disk, then a journal beside the file says so. A run that is called
    again with the same texts, model and settings computes only what the journal does not name, and ends with the same
    bytes; with others it is refused. Memory does not grow with the number of texts (see ``windows``).

    Args:
        model: As in :func:`encode_texts`.
        texts: As in :func:`encode_texts`. Of an iterable that is drawn from once, each finished window is compared as
            it comes; of a sequence all texts are, before anything is computed.
        path: Where the file is to stand; read it with ``numpy.load(path, mmap_mode="r")``.
        prompt: As in :func:`encode_texts`.
        precision: As in :func:`encode_texts`.
        overflow: As in :func:`encode_texts`.
        dimension: As in :func:`encode_texts`.
        batch_tokens: As in :func:`encode_texts`.
        window: As in :func:`encode_texts`; a kill loses the work of one window at most.
        progress: As in :func:`encode_texts`.
        overwrite: Whether a finished file may be replaced, and another run's beginnings discarded.
        files: The file effects; tests pass one that fails.

    Returns:
        The report of the run.

    Raises:
        InputError: As in :func:`encode_texts`; or the file exists, or was begun with other texts, model or settings.
        StorageError: What an earlier run left is damaged, or another process is writing it.
        NonFiniteError: A vector is NaN or infinite; the file does not appear.
    """
    count = _checked_count(texts, window=window, batch_tokens=batch_tokens)
    _check_dimension(model, dimension)
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError("the directory does not exist", where=str(path.parent), mend="make it first")
    started = time.perf_counter()
    prompt = _resolved_prompt(model, prompt)
    identity: dict[str, Any] = {
        "texts": None if count is None else digest_of_all(texts),
        "count": count,
        "model": model_fingerprint(model),
        "prompt": prompt,
        "precision": precision,
        "overflow": overflow,
        "batch_tokens": batch_tokens,
        "window": window,
        **({} if dimension is None else {"dimension": dimension}),
    }
    destination = FileDestination(path, files=files)
    try:
        journal = destination.reopen(identity, overwrite=overwrite)
        budget = journal.header.batch_tokens if journal else batch_tokens or default_batch_tokens(model.device)
        tokenizer = text_tokenizer(model, prompt=prompt, overflow=overflow, batch_tokens=budget)

        def begin(width: int, settled: Settled) -> None:
            settled = Settled(settled.precision, settled.reason, settled.minimum_cosine)  # without the means to compute
            header = JournalHeader(identity, dimension=width, batch_tokens=budget, settled=settled)
            destination.begin(header, count=count)

        finished = {record.stop: record.inputs for record in journal.windows} if journal else {}
        resumed = journal.rows if journal else 0
        with _computing(model) as workers, _bar(count, enabled=progress) as advance:
            run = Run(
                model,
                destination,
                workers=workers,
                requested=precision,
                dimension=dimension,
                journal=journal,
                begin=begin,
            )
            advance(resumed)
            for prepared in prepared_windows(texts, tokenizer, size=window, finished=finished):
                run.compute(prepared, advance)
        if destination.journal is None:
            begin(dimension or _dimension(model), NOTHING_TO_ENCODE)
        assert destination.journal is not None
        settled = destination.journal.header.settled
        destination.finish()
    finally:
        destination.close()
    return _report(run.totals, settled, budget=budget, resumed=resumed, started=started)


def _report(totals: Totals, choice: Settled, *, budget: int, resumed: int, started: float) -> EncodeReport:
    if totals.truncated:
        logger.warning(
            "%d texts are longer than the model reads and were cut; overflow='chunk' reads them whole", totals.truncated
        )
    return EncodeReport(
        texts=totals.texts,
        tokens=totals.tokens,
        padding_ratio=totals.padded / totals.tokens if totals.tokens else 1.0,
        truncated=totals.truncated,
        duplicates=totals.duplicates,
        batches=totals.batches,
        batch_tokens=budget,
        precision=choice.precision,
        precision_reason=choice.reason,
        minimum_cosine=choice.minimum_cosine,
        resumed=resumed,
        seconds=time.perf_counter() - started,
        assembly_seconds=totals.assembly_seconds,
    )


def _checked_count(texts: Iterable[str], *, window: int, batch_tokens: int | None) -> int | None:
    if window < 1:
        raise InputError(f"{window} is below 1", where="window")
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"{batch_tokens} is below 1", where="batch_tokens")
    draw(texts)  # refuses a single string, which has a length too
    return text_count(texts)


def _check_output(output: NDArray[np.float32] | None, count: int | None) -> None:
    if output is None:
        return
    if output.ndim != 2 or output.dtype != np.float32 or not output.flags.writeable:
        raise InputError("is no writable float32 array of two dimensions", where="output")
    if count is not None and len(output) != count:
        raise InputError(f"has {len(output)} rows for {count} texts", where="output")


def _check_dimension(model: SentenceTransformer, dimension: Any) -> None:
    if dimension is None:
        return
    whole = _dimension(model)
    if isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= whole:
        raise InputError(
            f"{dimension!r} is no number of components of vectors that have {whole}",
            where="dimension",
            mend=f"give a whole number from 1 to {whole}",
        )


def _resolved_prompt(model: SentenceTransformer, prompt: str | None) -> str | None:
    if prompt is None and model.default_prompt_name is not None:
        prompt = model.prompts.get(model.default_prompt_name)
    return prompt or None


def _dimension(model: SentenceTransformer) -> int:
    known = model.get_embedding_dimension()
    if known is not None:
        return int(known)
    with evaluating(model), torch.inference_mode():
        vectors = plain_forward(model)(model.preprocess(["a"]))
    return min(int(vectors.shape[1]), model.truncate_dim or int(vectors.shape[1]))


@contextmanager
def _computing(model: SentenceTransformer) -> Iterator[ForwardWorkers]:
    with evaluating(model), torch.inference_mode(), ForwardWorkers(model.device) as workers:
        yield workers


def _bar(count: int | None, *, enabled: bool) -> AbstractContextManager[Callable[[int], None]]:
    return progress_bar("encoding", count or 0, unit="texts", enabled=enabled and count is not None)
