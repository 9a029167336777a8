"""Free embeddings: vectors trained straight on the relevance judgements, the best any encoder of a dimension could do.

Protocol of LIMIT (arXiv 2508.21038, section 4): Adam on InfoNCE over all documents, rows brought back to length 1 after
every step. What it finds is limited by the margin such an optimiser can hold, so it proves that a dimension suffices
and never that one does not; ``circle_embedding`` has exact solutions it cannot find.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis.ranking_margin import RankingCheck, ranking_check
from embedworks.foundation import InputError

if TYPE_CHECKING:
    import torch

LossForm = Literal["positives", "queries"]
_ACCURACY_EVERY = 50  # steps between looks at the accuracy of runs not solved; solved is looked for at every step


@dataclass(frozen=True)
class FreeEmbeddingSettings:
    """How free embeddings are trained; the defaults are the published ones.

    Args:
        temperature: What inner products are divided by.
        learning_rate: Of Adam, with 0.9, 0.999 and 1e-8.
        max_steps: Largest number of steps.
        patience: Steps without a better loss after which a run is given up.
        least_improvement: What counts as a better loss.
        loss: ``positives`` is the mean of ``-log softmax`` over relevant pairs (the published code), ``queries`` the
            mean over queries of ``-log`` of the relevant documents' summed softmax (the paper's footnote).
        margin: Every query's relevant scores must stand this far above its others. The default is what float32 scores
            of unit vectors tell apart.

    Raises:
        InputError: A value is out of range.
    """

    temperature: float = 0.1
    learning_rate: float = 0.01
    max_steps: int = 100_000
    patience: int = 1000
    least_improvement: float = 1e-5
    loss: LossForm = "positives"
    margin: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("temperature", "learning_rate", "max_steps", "patience"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} is {getattr(self, name)}", where="free embedding", mend="give more than 0")
        if self.loss not in ("positives", "queries"):
            raise InputError(f"no loss {self.loss!r}", where="free embedding", mend="choose positives or queries")
        if not 0 <= self.margin < 2:
            raise InputError(f"margin is {self.margin}", where="free embedding", mend="give 0 to 2")


@dataclass(frozen=True)
class FreeEmbedding:
    """What one run found.

    Args:
        seed: Seed of its start.
        queries: Unit vectors, shape (m, d), float32: those of the solution, else those of the best accuracy seen.
        documents: Unit vectors, shape (n, d), float32.
        check: Accuracy, share of right queries and margin of these vectors.
        solved: Whether every query's relevant documents stood above all others by the wanted margin.
        steps: Steps taken.
        loss: Loss at the last step.
    """

    seed: int
    queries: NDArray[np.float32] = field(repr=False)
    documents: NDArray[np.float32] = field(repr=False)
    check: RankingCheck
    solved: bool
    steps: int
    loss: float


def loss_and_gradient(
    scores: torch.Tensor, relevance: torch.Tensor, *, temperature: float, form: LossForm = "positives"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute InfoNCE over all documents and its derivative by the scores.

    Args:
        scores: Inner products, shape (r, m, n): r runs, m queries, n documents.
        relevance: 1 where relevant, 0 elsewhere, shape (m, n), in the type of the scores; every row has a 1.
        temperature: What the scores are divided by.
        form: As :class:`FreeEmbeddingSettings`.

    Returns:
        The loss of each run, shape (r,), and the derivative, shape (r, m, n).
    """
    highest = scores.amax(dim=2, keepdim=True)
    exponentials = ((scores - highest) / temperature).exp_()
    total = exponentials.sum(dim=2, keepdim=True)
    if form == "positives":
        sizes = relevance.sum(dim=1)  # (m,)
        pairs = sizes.sum()
        log_total = (total.log() + highest / temperature).squeeze(2)  # (r, m)
        positive = _relevant_sum(scores, relevance) / temperature  # (r, m)
        loss = (log_total @ sizes - positive.sum(dim=1)) / pairs
        gradient = exponentials.div_(total).mul_(sizes[None, :, None]).sub_(relevance).div_(pairs * temperature)
        return loss, gradient
    relevant = exponentials * relevance
    relevant_total = relevant.sum(dim=2, keepdim=True)
    loss = (total.log() - relevant_total.log()).mean(dim=(1, 2))
    gradient = exponentials.div_(total).sub_(relevant.div_(relevant_total)).div_(scores.shape[1] * temperature)
    return loss, gradient


def _relevant_sum(scores: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
    """Sum each query's scores of its relevant documents, shape (r, m)."""
    import torch

    return torch.einsum("rmn,mn->rm", scores, relevance)


def train_free_embeddings(
    relevance: NDArray[np.bool_],
    *,
    dimension: int,
    seeds: Sequence[int] = (0,),
    settings: FreeEmbeddingSettings | None = None,
) -> list[FreeEmbedding]:
    """Train free embeddings from several starts at once, each until it is solved or given up.

    Args:
        relevance: A, shape (m, n), true where relevant; every row has a relevant document.
        dimension: Number of components d.
        seeds: One run each; a run does not depend on the others.
        settings: How to train.

    Returns:
        One result a seed, in their order.

    Raises:
        InputError: The matrix is empty or has a row without a relevant document, or the dimension is below 1.

    Example:
        >>> every_pair = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]], bool)
        >>> train_free_embeddings(every_pair, dimension=2)[0].solved
        True
    """
    import torch

    settings = settings or FreeEmbeddingSettings()
    if relevance.ndim != 2 or not relevance.size or not relevance.any(axis=1).all() or dimension < 1 or not seeds:
        raise InputError(
            f"relevance of shape {relevance.shape}, dimension {dimension}, {len(seeds)} seeds",
            where="free embedding",
            mend="give at least one seed, one dimension and one relevant document to every query",
        )
    wanted = torch.from_numpy(np.ascontiguousarray(relevance, dtype=np.float32))
    places = _padded_places(relevance)
    queries, documents = _starts(relevance.shape, dimension, seeds)
    adam = [_Adam(queries, settings.learning_rate), _Adam(documents, settings.learning_rate)]
    live = list(range(len(seeds)))
    least, since = [math.inf] * len(seeds), [0] * len(seeds)
    best: list[tuple[RankingCheck, NDArray[np.float32], NDArray[np.float32]] | None] = [None] * len(seeds)
    results: dict[int, FreeEmbedding] = {}
    for step in range(settings.max_steps + 1):
        scores = queries @ documents.transpose(1, 2)  # (r, m, n)
        lowest = scores.gather(2, places.expand(len(live), *places.shape)).amin(dim=2)
        gaps = (lowest - (scores - 4 * wanted).amax(dim=2)).amin(dim=1).tolist()  # others lie in [-1, 1]
        losses, by_score = loss_and_gradient(scores, wanted, temperature=settings.temperature, form=settings.loss)
        kept = []
        for place, (run, gap, loss) in enumerate(zip(live, gaps, losses.tolist(), strict=True)):
            if loss < least[run] - settings.least_improvement:
                least[run], since[run] = loss, step
            solved = gap > settings.margin
            over = solved or step == settings.max_steps or step - since[run] >= settings.patience
            if over or step % _ACCURACY_EVERY == 0:
                found = queries[place].numpy().copy(), documents[place].numpy().copy()
                check = ranking_check(*found, relevance)
                known = best[run]
                if solved or known is None or (check.accuracy, check.margin) > (known[0].accuracy, known[0].margin):
                    best[run] = known = (check, *found)
                if over:
                    results[run] = FreeEmbedding(seeds[run], known[1], known[2], known[0], solved, step, loss)
                    continue
            kept.append(place)
        if not kept:
            break
        if len(kept) < len(live):
            chosen = torch.tensor(kept)
            live = [live[place] for place in kept]
            queries, documents, by_score = queries[chosen], documents[chosen], by_score[chosen]
            for state in adam:
                state.keep(chosen)
        by_query, by_document = by_score @ documents, by_score.transpose(1, 2) @ queries
        adam[0].step(queries, by_query)
        adam[1].step(documents, by_document)
    return [results[run] for run in range(len(seeds))]


class _Adam:
    """Adam (Kingma and Ba 2015) over a batch of runs, some of which may be dropped, with rows kept at length 1."""

    def __init__(self, parameters: torch.Tensor, learning_rate: float) -> None:
        self._rate = learning_rate
        self._mean, self._square = parameters.new_zeros(parameters.shape), parameters.new_zeros(parameters.shape)
        self._steps = 0

    def keep(self, chosen: torch.Tensor) -> None:
        self._mean, self._square = self._mean[chosen], self._square[chosen]

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> None:
        self._steps += 1
        self._mean.mul_(0.9).add_(gradient, alpha=0.1)
        self._square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        scale = (self._square / (1 - 0.999**self._steps)).sqrt_().add_(1e-8)
        parameters.addcdiv_(self._mean, scale, value=-self._rate / (1 - 0.9**self._steps))
        parameters.div_(parameters.norm(dim=2, keepdim=True))


def _starts(shape: tuple[int, ...], dimension: int, seeds: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch
    from torch.nn.functional import normalize

    queries, documents = [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        queries.append(normalize(torch.randn(shape[0], dimension, generator=generator), dim=1))
        documents.append(normalize(torch.randn(shape[1], dimension, generator=generator), dim=1))
    return torch.stack(queries), torch.stack(documents)


def _padded_places(relevance: NDArray[np.bool_]) -> torch.Tensor:
    """Return the columns of each row's relevant documents, the first repeated where a row has fewer, shape (m, k)."""
    import torch

    widest = int(relevance.sum(axis=1).max())
    rows = [np.flatnonzero(row) for row in relevance]
    return torch.from_numpy(np.stack([np.pad(row, (0, widest - len(row)), constant_values=row[0]) for row in rows]))
