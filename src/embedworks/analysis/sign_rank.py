"""Bounds on the dimension that a relevance matrix needs, and on its sign rank; the exact values are not known.

Of A in {0, 1} (m, n), ``rank_rop`` is the least rank of scores whose rows rank the relevant above the others, which is
the least dimension of embeddings that do; with M = 2 A - 1, ``rank_pm(M) - 1 <= rank_rop(A) <= rank_pm(M)``
(arXiv 2508.21038, propositions 1 and 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis.circle_embedding import circle_order
from embedworks.foundation import InputError


@dataclass(frozen=True)
class DimensionBounds:
    """Between which dimensions the least one lies that ranks every relevant set on top, in exact arithmetic.

    Args:
        lower: No smaller dimension suffices.
        lower_by: What shows it.
        upper: This dimension suffices, though perhaps with a margin too small for floating point.
        upper_by: What shows it.
        sign_rank_lower: Lower bound of the sign rank of 2 A - 1.
        sign_rank_upper: Upper bound of it.
    """

    lower: int
    lower_by: str
    upper: int
    upper_by: str
    sign_rank_lower: int
    sign_rank_upper: int


def dimension_bounds(relevance: NDArray[np.bool_]) -> DimensionBounds:
    """Bound the least dimension of embeddings for a relevance matrix, from below and from above.

    Below: by Forster's theorem (2002) the sign rank is at least ``sqrt(m n) / ||M||``, with the largest singular value
    of M; and by Cover's count (1965) halfspaces in d dimensions pick at most ``2 sum_(i <= d) C(n - 1, i)`` different
    sets out of n points. Above: the circle with as many arcs as a row forms needs 2 dimensions an arc, centred scores
    of n documents have rank n - 1, and m queries have rank m.

    Args:
        relevance: A, shape (m, n), true where relevant; repeated rows and columns change nothing.

    Returns:
        The bounds, and what gives them.

    Raises:
        InputError: The matrix is empty.

    Example:
        >>> from embedworks.analysis.critical_size import every_subset
        >>> bounds = dimension_bounds(every_subset(46, 2))
        >>> bounds.lower, bounds.upper, bounds.upper_by
        (2, 4, 'documents on a circle, relevant sets in up to 2 arcs')
    """
    if relevance.ndim != 2 or not relevance.size:
        raise InputError(f"relevance of shape {relevance.shape}", where="dimension_bounds", mend="give (m, n)")
    distinct = np.unique(np.unique(relevance, axis=0), axis=1)
    rows, columns = distinct.shape
    if columns == 1 or not (distinct.any(axis=1) & ~distinct.all(axis=1)).any():
        return DimensionBounds(0, "nothing to rank", 0, "nothing to rank", 1, 1)
    signs = np.where(distinct, 1.0, -1.0)
    # A hair below, as the singular value is rounded.
    forster = max(1, math.ceil(math.sqrt(rows * columns) / np.linalg.norm(signs, 2) - 1e-9))
    by_rows = _fewest_dimensions(rows, columns - 1)  # affine halfspaces pick the rows among the columns
    by_columns = _fewest_dimensions(columns, rows - 1)
    sign_lower = max(forster, by_rows + 1, by_columns + 1)  # one more: no threshold
    lowers = {
        "some query must be ranked": 1,
        "the number of different sets (Cover)": by_rows,
        "the number of documents of different queries (Cover)": by_columns,  # of the transpose, less 1
        "Forster's bound on the sign rank, less 1": forster - 1,
    }
    _, arcs = circle_order(distinct)
    uppers = {
        "as many dimensions as different documents, less 1": columns - 1,
        "as many dimensions as different queries": rows,
        f"documents on a circle, relevant sets in up to {arcs} arcs": 2 * arcs,
    }
    lower_by = max(lowers, key=lowers.__getitem__)
    upper_by = min(uppers, key=uppers.__getitem__)
    lower, upper = lowers[lower_by], uppers[upper_by]
    return DimensionBounds(
        lower=lower,
        lower_by=lower_by,
        upper=upper,
        upper_by=upper_by,
        sign_rank_lower=max(sign_lower, lower),
        sign_rank_upper=min(upper + 1, rows, columns),
    )


def _fewest_dimensions(sets: int, points: int) -> int:
    """Return the least d with ``2 sum_(i <= d) C(points, i) >= sets``, with ``points`` one less than the points."""
    total, dimension = 2, 0
    while total < sets:
        dimension += 1
        total += 2 * math.comb(points, dimension)
    return dimension
