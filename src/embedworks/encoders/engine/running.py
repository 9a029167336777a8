"""One run: window after window through the model and into its destination."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.modules import Normalize
from torch import Tensor
from torch.nn import functional as F

from embedworks.encoders.engine.choice import Choice, choose, chosen_before
from embedworks.encoders.engine.destination import ArrayDestination, FileDestination, rows_digest
from embedworks.encoders.engine.journal import Journal, WindowRecord
from embedworks.encoders.engine.report import Precision, Settled
from embedworks.encoders.engine.texts import TextWindow
from embedworks.encoders.engine.tokens import Batch, TokenWindow
from embedworks.encoders.engine.windows import PreparedWindow
from embedworks.encoders.engine.workers import ForwardWorkers
from embedworks.foundation import NonFiniteError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_NAMED_ROWS = 5


@dataclass
class Totals:
    """What the windows so far add up to; the fields are those of the report."""

    texts: int = 0
    tokens: int = 0
    padded: int = 0
    truncated: int | None = 0
    duplicates: int = 0
    batches: int = 0
    assembly_seconds: float = 0.0

    def add(self, record: WindowRecord) -> None:
        """Count a finished window."""
        self.texts = record.stop
        self.tokens += record.tokens
        self.padded += record.padded
        unknown = self.truncated is None or record.truncated is None
        self.truncated = None if unknown else cast("int", self.truncated) + cast("int", record.truncated)
        self.duplicates += record.duplicates
        self.batches += record.batches


class Run:
    """Computes windows; settles precision and dimension with the first of them.

    Args:
        model: The model.
        destination: Where vectors go.
        workers: What computes the batches.
        requested: The precision asked for.
        dimension: How many components to keep and scale to length 1 again; None leaves the vectors as the model has
            them.
        journal: Of the earlier run that this one goes on with.
        begin: Called with dimension and choice before the first row is written.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        destination: ArrayDestination | FileDestination,
        *,
        workers: ForwardWorkers,
        requested: Precision,
        dimension: int | None = None,
        journal: Journal | None = None,
        begin: Callable[[int, Settled], None] | None = None,
    ) -> None:
        self.totals = Totals()
        self.choice: Choice | None = None
        self.dimension: int | None = journal.header.dimension if journal else None
        self._model = model
        self._destination = destination
        self._workers = workers
        self._requested = requested
        self._kept = dimension
        self._journal = journal
        self._begin = begin
        last = list(model.children())[-1]
        self._normalises = isinstance(last, Normalize) and last.module_output_name == "sentence_embedding"
        for record in journal.windows if journal else ():
            self.totals.add(record)

    def compute(self, prepared: PreparedWindow, advance: Callable[[int], None]) -> None:
        """Encode a window and acknowledge it; one that an earlier run finished is passed over."""
        window = prepared.texts
        if window.stop <= self.totals.texts:
            return
        place: NDArray[np.float32] | None = None
        batches = 0
        if prepared.tokens is not None:
            place, batches = self._encode(window, prepared.tokens, advance)
        started = time.perf_counter()
        if place is None:
            assert self.dimension is not None  # a window without fresh texts repeats an earlier one
            place = self._destination.window(window.start, window.stop, self.dimension)
        self._copy(window, place)
        tokens = prepared.tokens
        record = WindowRecord(
            stop=window.stop,
            inputs=window.digest,
            rows=rows_digest(place) if isinstance(self._destination, FileDestination) else "",
            tokens=tokens.tokens if tokens else 0,
            padded=tokens.padded if tokens else 0,
            truncated=tokens.truncated if tokens else 0,
            duplicates=len(window.copies),
            batches=batches,
        )
        if isinstance(self._destination, FileDestination):
            self._destination.acknowledge(place, record)
        self.totals.add(record)
        self.totals.assembly_seconds += time.perf_counter() - started
        advance(len(window.copies))

    def _encode(
        self, window: TextWindow, tokens: TokenWindow, advance: Callable[[int], None]
    ) -> tuple[NDArray[np.float32], int]:
        choice = self._settle(tokens)
        chunked = len(tokens.owner) != len(window.fresh)
        rows = window.fresh_rows - window.start
        place: NDArray[np.float32] | None = None
        pieces: NDArray[np.float32] | None = None
        batches = 0
        for batch, vectors in self._workers.compute(choice.forward, tokens.batches()):
            self._check_finite(vectors, batch, window, tokens, choice)
            started = time.perf_counter()
            if place is None:
                place = self._first_place(window, vectors, choice)
                if chunked:
                    pieces = np.empty((len(tokens.owner), vectors.shape[1]), dtype=np.float32)
            if pieces is not None:
                pieces[batch.pieces] = vectors.cpu().numpy()
            else:
                place[rows[batch.pieces]] = self._cut(vectors, place.shape[1]).cpu().numpy()
            batches += 1
            self.totals.assembly_seconds += time.perf_counter() - started
            advance(0 if chunked else len(batch.pieces))
        assert place is not None
        if pieces is not None:
            joined = torch.from_numpy(_joined(pieces, tokens, normalise=self._normalises))
            place[rows] = self._cut(joined, place.shape[1]).numpy()
            advance(len(rows))
        return place, batches

    def _settle(self, tokens: TokenWindow) -> Choice:
        if self.choice is None:
            if self._journal is None:
                self.choice = choose(self._model, tokens, self._requested)
            else:
                self.choice = chosen_before(self._model, tokens, self._journal.header.settled)
        return self.choice

    def _first_place(self, window: TextWindow, vectors: Tensor, choice: Choice) -> NDArray[np.float32]:
        if self.dimension is None:
            whole = int(vectors.shape[1])
            self.dimension = self._kept or min(whole, self._model.truncate_dim or whole)
            if self._begin is not None:
                self._begin(self.dimension, choice)
        return self._destination.window(window.start, window.stop, self.dimension)

    def _cut(self, vectors: Tensor, width: int) -> Tensor:
        first = vectors[:, :width]
        return first if self._kept is None else F.normalize(first, dim=-1)

    def _copy(self, window: TextWindow, place: NDArray[np.float32]) -> None:
        targets, sources = window.copies[:, 0] - window.start, window.copies[:, 1]
        within = sources >= window.start
        place[targets[within]] = place[sources[within] - window.start]
        if not within.all():
            place[targets[~within]] = self._destination.earlier(sources[~within])

    def _check_finite(
        self, vectors: Tensor, batch: Batch, window: TextWindow, tokens: TokenWindow, choice: Choice
    ) -> None:
        finite = torch.isfinite(vectors).all(dim=1)
        if bool(finite.all()):
            return
        bad = sorted({int(window.fresh_rows[tokens.owner[piece]]) for piece in batch.pieces[~finite.cpu().numpy()]})
        more = f" and {len(bad) - _NAMED_ROWS} more" if len(bad) > _NAMED_ROWS else ""
        raise NonFiniteError(
            f"the model gives NaN or infinity in {choice.precision}",
            where=f"rows {', '.join(map(str, bad[:_NAMED_ROWS]))}{more}",
            mend="check the model's weights" if choice.precision == "float32" else "use precision='float32'",
        )


def _joined(pieces: NDArray[np.float32], tokens: TokenWindow, *, normalise: bool) -> NDArray[np.float32]:
    """Average the chunks of each text, weighted by their tokens; a text of one chunk keeps its vector."""
    starts = np.flatnonzero(np.diff(tokens.owner, prepend=-1))
    weights = tokens.weights[:, None].astype(np.float64)
    sums = np.add.reduceat(pieces * weights, starts, axis=0)
    means = sums / np.maximum(np.add.reduceat(weights, starts, axis=0), 1.0)
    if normalise:
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    single = np.diff(np.append(starts, len(pieces))) == 1
    means[single] = pieces[starts[single]]
    return means.astype(np.float32)
