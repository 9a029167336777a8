"""Statistical depth of embeddings: how central each vector is with respect to a corpus.

After Seegmiller and Preum 2023 (arXiv 2310.15010) and the distance-based depths for directional data of Pandolfo,
Paindaveine and Porzio 2018: ``D(x, F) = sup - E[delta(x, H)]`` for ``H`` drawn from ``F`` and a bounded distance
``delta`` with supremum ``sup``. Larger is more central.

With cosine distance the mean over the corpus needs only the corpus' mean: for unit vectors, with ``mu`` the mean of the
m unit rows of F,

    D(y, F)   = 1 + <y, mu>                              for y outside F
    D(x_i, F) = 2 - m (1 - <x_i, mu>) / (m - 1)          for a row of F, itself left out

so m + n dot products do the work of m (m + n), and the order is that of the similarity to the mean vector. Chord and
angular distance have no such form and are computed in blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.analysis.unit_rows import UnitRows
from embedworks.foundation import InputError, progress_bar

DistanceName = Literal["cosine", "chord", "angular"]

DUPLICATES_WORTH_A_WARNING = 0.05
"""Share of repeated rows above which the leave-one-out distances are said to be too small."""

DECIMALS = 12
"""Depths are rounded to so many, so that equal rows tie although sums over another block differ in the last bits."""

_LEFT_ROWS, _RIGHT_ROWS = 1024, 4096  # distances held at once: 32 MB
# round-off of 1 - <x, y> between equal or opposite rows, of which a square root or an arc sine would make 1e-8
_ROUND_OFF = 1e-14


class DuplicateRowsWarning(UserWarning):
    """More than 5 % of a corpus' rows repeat another row."""


@dataclass(frozen=True)
class Distance:
    """A bounded distance between directions.

    Args:
        name: What reports call it.
        supremum: The largest value it can take.
        between: Takes unit rows of shape (p, d) and (q, d), float64, and returns their distances, shape (p, q). The
            distance of a row to itself is never used, so it need not be 0.

    Example:
        >>> from scipy.spatial.distance import cdist
        >>> manhattan = Distance("manhattan", 2 * 2**0.5, lambda a, b: cdist(a, b, "cityblock"))
        >>> depths(np.eye(2), distance=manhattan).round(3).tolist()
        [0.828, 0.828]
    """

    name: str
    supremum: float
    between: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]

    def checked(self, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the distances, refusing what is no distance bounded by the supremum.

        Raises:
            InputError: A value is not finite, negative or above the supremum, or the shape is not (p, q).
        """
        values = np.asarray(self.between(left, right), np.float64)
        wanted = (len(left), len(right))
        if values.shape != wanted:
            raise InputError(f"returned shape {values.shape} instead of {wanted}", where=f"distance {self.name!r}")
        if not np.isfinite(values).all():
            raise InputError("returned NaN or infinity", where=f"distance {self.name!r}")
        low, high = float(values.min()), float(values.max())
        if low < -1e-9 or high > self.supremum * (1 + 1e-9):
            raise InputError(
                f"returned {low if low < -1e-9 else high:.6g}, outside 0 to its supremum {self.supremum:.6g}",
                where=f"distance {self.name!r}",
                mend="give the distance's true supremum",
            )
        return values


def _one_minus_cosine(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps = 1.0 - left @ right.T
    np.clip(gaps, 0.0, 2.0, out=gaps)
    return gaps


def _chord(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps = _one_minus_cosine(left, right)
    gaps[gaps < _ROUND_OFF] = 0.0
    gaps[gaps > 2.0 - _ROUND_OFF] = 2.0
    gaps *= 2.0
    return np.sqrt(gaps, out=gaps)


def _angle(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    # 2 arcsin(chord / 2) keeps the digits of small angles that arccos of a number near 1 loses
    halves = _chord(left, right)
    halves *= 0.5
    np.arcsin(np.minimum(halves, 1.0, out=halves), out=halves)
    halves *= 2.0
    return halves


DISTANCES: Mapping[str, Distance] = MappingProxyType(
    {
        "cosine": Distance("cosine", 2.0, _one_minus_cosine),
        "chord": Distance("chord", 2.0, _chord),
        "angular": Distance("angular", float(np.pi), _angle),
    }
)
"""Name to distance: ``1 - <x, y>`` (at most 2), ``sqrt(2 (1 - <x, y>))`` (2), ``arccos <x, y>`` (pi)."""


def find_distance(distance: DistanceName | Distance) -> Distance:
    """Return a distance by its name, or the one given after checking its supremum.

    Raises:
        InputError: There is no such distance, or the supremum is not a positive number.
    """
    if isinstance(distance, Distance):
        if not (np.isfinite(distance.supremum) and distance.supremum > 0):
            raise InputError(f"the supremum is {distance.supremum}", where=f"distance {distance.name!r}")
        return distance
    if distance not in DISTANCES:
        raise InputError(f"no distance is named {distance!r}", mend=f"choose from: {', '.join(DISTANCES)}")
    return DISTANCES[distance]


def depths(
    vectors: ArrayLike, *, distance: DistanceName | Distance = "cosine", progress: bool = False
) -> NDArray[np.float64]:
    """Return how central every vector of a corpus is within it, itself left out (arXiv 2310.15010, Definition 1).

    Args:
        vectors: The corpus F, shape (m, d), m at least 2; rows of any length but zero.
        distance: ``cosine`` (one pass over the rows), ``chord`` or ``angular`` (all pairs, in blocks), or your own.
        progress: Whether to show progress on standard error, where all pairs are needed.

    Returns:
        Depths, shape (m,), float64, 0 to the distance's supremum, larger is more central.

    Raises:
        InputError: The matrix or the distance cannot be used.

    Warns:
        DuplicateRowsWarning: More than 5 % of the rows repeat another row.

    Example:
        >>> depths([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]).round(3).tolist()
        [1.498, 1.547, 1.05]
    """
    corpus = _reference(vectors, leave_one_out=True)
    return _depths(corpus, corpus, find_distance(distance), leave_one_out=True, progress=progress)


def depths_against(
    vectors: ArrayLike,
    reference: ArrayLike,
    *,
    distance: DistanceName | Distance = "cosine",
    progress: bool = False,
) -> NDArray[np.float64]:
    """Return how central vectors are with respect to a corpus they are no part of.

    Args:
        vectors: Shape (n, d).
        reference: The corpus F, shape (m, d), of the same encoder.
        distance: As in :func:`depths`.
        progress: As in :func:`depths`.

    Returns:
        Depths, shape (n,).

    Raises:
        InputError: A matrix or the distance cannot be used.
    """
    corpus, others = _pair(reference, vectors, leave_one_out=False)
    return _depths(others, corpus, find_distance(distance), leave_one_out=False, progress=progress)


def depths_paired(
    reference: ArrayLike,
    other: ArrayLike,
    *,
    distance: DistanceName | Distance = "cosine",
    progress: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the depths of two corpora, both with respect to the first.

    Args:
        reference: The corpus F, shape (m, d), m at least 2.
        other: The corpus G, shape (n, d), of the same encoder.
        distance: As in :func:`depths`.
        progress: As in :func:`depths`.

    Returns:
        Depths of F's rows, each itself left out, shape (m,); depths of G's rows, shape (n,).

    Raises:
        InputError: A matrix or the distance cannot be used.

    Warns:
        DuplicateRowsWarning: More than 5 % of the rows of F repeat another row.
    """
    chosen = find_distance(distance)
    corpus, others = _pair(reference, other, leave_one_out=True)
    return (
        _depths(corpus, corpus, chosen, leave_one_out=True, progress=progress),
        _depths(others, corpus, chosen, leave_one_out=False, progress=progress),
    )


def depths_from_mean(vectors: ArrayLike, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cosine depths with respect to a corpus of which only the mean of the unit rows was kept.

    Args:
        vectors: Shape (n, d).
        mean: Mean of the corpus' unit rows, shape (d,).

    Returns:
        ``1 + <y, mean>``, shape (n,).

    Raises:
        InputError: The matrix cannot be used, or its width is not that of the mean.
    """
    rows = UnitRows(vectors, name="vectors")
    if mean.shape != (rows.dimension,):
        raise InputError(f"have {rows.dimension} columns, the corpus has {len(mean)}", where="vectors")
    return np.round(1.0 + rows.dots(mean), DECIMALS)


def _reference(vectors: ArrayLike, *, leave_one_out: bool) -> UnitRows:
    corpus = UnitRows(vectors, name="reference corpus")
    if leave_one_out and corpus.rows < 2:
        raise InputError(
            "has one row, and leaving it out leaves none", where=corpus.name, mend="give at least two vectors"
        )
    if corpus.duplicate_share > DUPLICATES_WORTH_A_WARNING:
        warnings.warn(
            f"{corpus.duplicate_share:.1%} of the reference corpus repeat another row exactly; "
            "leaving a row out then still leaves its copy, and distances come out too small",
            DuplicateRowsWarning,
            stacklevel=3,
        )
    return corpus


def _pair(reference: ArrayLike, other: ArrayLike, *, leave_one_out: bool) -> tuple[UnitRows, UnitRows]:
    corpus = _reference(reference, leave_one_out=leave_one_out)
    others = UnitRows(other, name="other corpus")
    if corpus.dimension != others.dimension:
        raise InputError(
            f"one has {corpus.dimension} columns and the other {others.dimension}",
            where="two corpora",
            mend="encode both with the same model",
        )
    return corpus, others


def _depths(
    rows: UnitRows, corpus: UnitRows, distance: Distance, *, leave_one_out: bool, progress: bool
) -> NDArray[np.float64]:
    """Depths of rows with respect to a corpus; with ``leave_one_out`` both are the same rows."""
    counted = corpus.rows - leave_one_out
    if distance is DISTANCES["cosine"]:
        # a row's distance to itself is 0, so leaving it out only changes what the sum is divided by
        mean_distances: NDArray[np.float64] = (corpus.rows / counted) * (1.0 - rows.dots(corpus.mean))
    else:
        sums = _distance_sums(rows, corpus, distance, leave_one_out=leave_one_out, progress=progress)
        mean_distances = sums / counted
    return np.round(distance.supremum - mean_distances, DECIMALS)


def _distance_sums(
    rows: UnitRows, corpus: UnitRows, distance: Distance, *, leave_one_out: bool, progress: bool
) -> NDArray[np.float64]:
    sums = np.zeros(rows.rows)
    with progress_bar(f"Distances ({distance.name})", rows.rows, unit="rows", enabled=progress) as advance:
        for first, left in rows.blocks(_LEFT_ROWS):
            for begin, right in corpus.blocks(_RIGHT_ROWS):
                values = distance.checked(left, right)
                if leave_one_out:
                    own = np.arange(max(first, begin), min(first + len(left), begin + len(right)))
                    values[own - first, own - begin] = 0.0  # the summed distances leave the row itself out
                sums[first : first + len(left)] += values.sum(axis=1)
            advance(len(left))
    return sums
