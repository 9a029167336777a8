"""Behaviour: critical sizes of small dimensions lie where published; the fit is ordinary least squares."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from embedworks.analysis.critical_size import critical_curve, critical_size, every_subset, fit_critical_curve
from embedworks.analysis.free_embedding import FreeEmbeddingSettings
from embedworks.foundation import InputError

QUICK = FreeEmbeddingSettings(patience=200)
PUBLISHED = {4: 10, 5: 14, 6: 19, 7: 24, 8: 28, 9: 32, 10: 36, 11: 42, 12: 47, 13: 54, 14: 62, 15: 70, 16: 79}


@pytest.mark.parametrize(("documents", "relevant"), [(2, 2), (5, 1), (6, 3)])
def test_every_subset_once(documents: int, relevant: int) -> None:
    matrix = every_subset(documents, relevant)
    assert matrix.shape == (math.comb(documents, relevant), documents)
    assert (matrix.sum(axis=1) == relevant).all()
    assert len(np.unique(matrix, axis=0)) == len(matrix)


def test_four_dimensions_hold_about_ten_documents() -> None:
    found = critical_size(4, seeds=(0, 1, 2), start=9, settings=QUICK)
    assert abs(found.best - 10) <= 1
    assert abs(found.median - 10) <= 1
    assert all(found.tried[size] >= 1 for size in found.by_seed.values())
    assert found.tried[found.best + 1] == found.tried[found.best + 2] == 0
    assert all(margin > 0 for margin in found.margins.values())


def test_a_search_that_starts_too_high_goes_down() -> None:
    found = critical_size(2, seeds=(0,), start=6, settings=QUICK)
    # A query in the plane has the documents of a half circle on top, so that each pair would have to be neighbours.
    assert found.best == 3
    assert list(found.tried) == [3, 4, 5, 6, 7]


def test_a_demanded_margin_takes_more_dimensions() -> None:
    plain = critical_size(4, seeds=(0, 1), start=8, at_most=8, settings=QUICK)
    wide = critical_size(4, seeds=(0, 1), start=5, settings=replace(QUICK, margin=0.2))
    assert wide.best < plain.best


def test_the_fit_is_least_squares() -> None:
    dimensions, sizes = list(PUBLISHED), list(PUBLISHED.values())
    fit = fit_critical_curve(dimensions, sizes)
    powers = np.vander(np.asarray(dimensions, float), 4, increasing=True)
    expected = np.linalg.lstsq(powers, np.asarray(sizes, float), rcond=None)[0]
    assert np.allclose(fit.coefficients, expected, rtol=1e-6)
    residual = np.asarray(sizes) - powers @ expected
    assert fit.r_squared == pytest.approx(1 - residual @ residual / np.sum((sizes - np.mean(sizes)) ** 2))
    assert fit.at(10) == pytest.approx(powers[6] @ expected)
    assert fit_critical_curve([1, 2, 3, 4, 5], [7, 7, 7, 7, 7]).r_squared == 1.0


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(InputError, match="2 or more"):
        critical_size(1, seeds=(0,))
    with pytest.raises(InputError, match="ascending"):
        critical_curve([4, 4], seeds=(0,))
    with pytest.raises(InputError, match="more different dimensions"):
        fit_critical_curve([1, 2, 3], [1, 2, 3])
    with pytest.raises(InputError, match="1 to all"):
        every_subset(2, 3)
