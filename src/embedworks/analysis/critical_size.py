"""The critical number of documents of a dimension: the most for which free embeddings rank every k-subset on top.

It measures what InfoNCE at its temperature finds, or what it finds with a demanded margin; it is no least dimension
(``circle_embedding`` ranks all k-subsets of any number of documents in 2k dimensions).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis.free_embedding import FreeEmbeddingSettings, train_free_embeddings
from embedworks.foundation import InputError

_BEYOND = 2  # sizes in a row that no run solves, after which larger ones are not tried


def every_subset(documents: int, relevant: int) -> NDArray[np.bool_]:
    """Return the relevance matrix with one query for each set of ``relevant`` documents, in lexicographic order.

    Example:
        >>> every_subset(3, 2).astype(int).tolist()
        [[1, 1, 0], [1, 0, 1], [0, 1, 1]]
    """
    if not 1 <= relevant <= documents:
        raise InputError(f"{relevant} of {documents} documents", where="every_subset", mend="choose 1 to all of them")
    sets = np.asarray(list(itertools.combinations(range(documents), relevant)))
    matrix = np.zeros((len(sets), documents), bool)
    matrix[np.arange(len(sets))[:, None], sets] = True
    return matrix


@dataclass(frozen=True)
class CriticalSize:
    """What was found for one dimension.

    Args:
        dimension: Number of components d.
        relevant: Documents in a set, k.
        by_seed: Seed to the largest size n that its run solved.
        tried: Size to the number of runs that solved it.
        margins: Size to the largest margin of a run that solved it.
    """

    dimension: int
    relevant: int
    by_seed: dict[int, int]
    tried: dict[int, int]
    margins: dict[int, float]

    @property
    def best(self) -> int:
        """The largest size that any run solved."""
        return max(self.by_seed.values())

    @property
    def median(self) -> float:
        """Median over the seeds."""
        return float(np.median(list(self.by_seed.values())))


def critical_size(
    dimension: int,
    *,
    seeds: Sequence[int],
    relevant: int = 2,
    start: int | None = None,
    at_most: int = 1000,
    settings: FreeEmbeddingSettings | None = None,
) -> CriticalSize:
    """Find the largest number of documents that runs from each seed solve.

    Sizes are tried upwards from the start until two in a row are solved by none, and downwards until every seed has
    solved one; a seed's size is the largest it solved, though it may have failed at a smaller one.

    Args:
        dimension: Number of components d.
        seeds: One run a seed and size.
        relevant: Documents in a set, k.
        start: Size to begin with; by default d + 2 or k + 1, whichever is larger.
        at_most: Largest size to try; with k = 1 no size is too large for two dimensions.
        settings: How to train.

    Returns:
        The sizes.

    Raises:
        InputError: The dimension is below 2, below which not even small sizes need be solved, or there is no seed.

    Example:
        >>> critical_size(2, seeds=[0], relevant=1, at_most=6).best
        6
    """
    if dimension < 2 or not seeds:
        raise InputError(
            f"dimension {dimension}, {len(seeds)} seeds", where="critical_size", mend="give 2 or more, and a seed"
        )
    first = max(relevant + 1, dimension + 2 if start is None else start)
    tried: dict[int, int] = {}
    margins: dict[int, float] = {}
    by_seed: dict[int, int] = {}

    def solve(size: int) -> bool:
        runs = train_free_embeddings(every_subset(size, relevant), dimension=dimension, seeds=seeds, settings=settings)
        solved = [run for run in runs if run.solved]
        tried[size] = len(solved)
        if solved:
            margins[size] = max(run.check.margin for run in solved)
        for run in solved:
            by_seed[run.seed] = max(size, by_seed.get(run.seed, 0))
        return bool(solved)

    size, failures = first, 0
    while failures < _BEYOND and size <= at_most:
        failures = 0 if solve(size) else failures + 1
        size += 1
    size = first - 1
    while len(by_seed) < len(seeds) and size > relevant:
        solve(size)
        size -= 1
    for seed in seeds:
        by_seed.setdefault(seed, relevant)  # k documents have one set, which any vectors rank on top
    return CriticalSize(
        dimension=dimension,
        relevant=relevant,
        by_seed={seed: by_seed[seed] for seed in seeds},
        tried=dict(sorted(tried.items())),
        margins=dict(sorted(margins.items())),
    )


def critical_curve(
    dimensions: Sequence[int],
    *,
    seeds: Sequence[int],
    relevant: int = 2,
    settings: FreeEmbeddingSettings | None = None,
    finished: Callable[[int], None] = lambda _number: None,
) -> list[CriticalSize]:
    """Find the critical size of several dimensions, each search beginning where the one before ended.

    Args:
        dimensions: Ascending numbers of components.
        seeds: As :func:`critical_size`.
        relevant: As :func:`critical_size`.
        settings: How to train.
        finished: Called with 1 after each dimension.

    Returns:
        One result a dimension.

    Raises:
        InputError: The dimensions do not ascend, or as :func:`critical_size`.
    """
    if list(dimensions) != sorted(set(dimensions)):
        raise InputError(f"dimensions {list(dimensions)}", where="critical_curve", mend="give them in ascending order")
    curve: list[CriticalSize] = []
    for dimension in dimensions:
        start = curve[-1].best + 1 if curve else None
        curve.append(critical_size(dimension, seeds=seeds, relevant=relevant, start=start, settings=settings))
        finished(1)
    return curve


@dataclass(frozen=True)
class CurveFit:
    """A polynomial through critical sizes, by ordinary least squares.

    Args:
        coefficients: a, b, c, ... of ``a + b d + c d**2 + ...``.
        r_squared: Share of the variance it explains.
    """

    coefficients: list[float]
    r_squared: float

    def at(self, dimension: float) -> float:
        """Return the fitted size at a dimension.

        Example:
            >>> round(CurveFit([-10.5322, 4.0309, 0.0520, 0.0037], 0.999).at(512))
            512290
        """
        return float(np.polynomial.polynomial.polyval(dimension, self.coefficients))


def fit_critical_curve(dimensions: Sequence[int], sizes: Sequence[float], *, degree: int = 3) -> CurveFit:
    """Fit a polynomial to critical sizes.

    Args:
        dimensions: Shape (p,), different.
        sizes: Critical sizes, shape (p,).
        degree: Degree; 3 in the paper.

    Returns:
        Coefficients and share of explained variance.

    Raises:
        InputError: There are no more points than the degree, or the lengths differ.

    Example:
        >>> [abs(round(value, 6)) for value in fit_critical_curve([1, 2, 3, 4], [1, 8, 27, 64]).coefficients]
        [0.0, 0.0, 0.0, 1.0]
    """
    if len(dimensions) != len(sizes) or len(set(dimensions)) <= degree:
        raise InputError(
            f"{len(dimensions)} dimensions and {len(sizes)} sizes for degree {degree}",
            where="fit_critical_curve",
            mend="give more different dimensions than the degree",
        )
    values = np.asarray(sizes, np.float64)
    fitted = np.polynomial.Polynomial.fit(dimensions, values, degree).convert()
    coefficients = np.zeros(degree + 1)
    coefficients[: len(fitted.coef)] = fitted.coef
    residual = values - np.polynomial.polynomial.polyval(np.asarray(dimensions, np.float64), coefficients)
    spread = float(((values - values.mean()) ** 2).sum())
    return CurveFit(coefficients.tolist(), 1.0 - float((residual**2).sum()) / spread if spread else 1.0)
