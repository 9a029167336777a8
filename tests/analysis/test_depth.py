"""Depth equals the direct computation over all pairs, and none of the released code's errors is repeated."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.analysis import Distance, DuplicateRowsWarning, depths, depths_against, depths_paired
from embedworks.analysis.depth import DISTANCES, depths_from_mean, find_distance
from embedworks.analysis.unit_rows import UnitRows
from embedworks.foundation import InputError

DISTANCE_NAMES = ("cosine", "chord", "angular")


def _direct_distance(x: np.ndarray, y: np.ndarray, name: str) -> float:
    x, y = [float(a) for a in x], [float(a) for a in y]
    length_x, length_y = math.sqrt(math.fsum(a * a for a in x)), math.sqrt(math.fsum(a * a for a in y))
    if name == "chord":  # Euclidean distance of the unit vectors, from the differences themselves
        return math.sqrt(math.fsum((a / length_x - b / length_y) ** 2 for a, b in zip(x, y, strict=True)))
    cosine = math.fsum(a * b for a, b in zip(x, y, strict=True)) / (length_x * length_y)
    return 1 - cosine if name == "cosine" else math.acos(max(-1.0, min(1.0, cosine)))


def _direct(reference: np.ndarray, other: np.ndarray, name: str) -> tuple[list[float], list[float]]:
    """The definition with loops: sup - mean distance, leaving a row of the reference itself out."""
    top = math.pi if name == "angular" else 2.0
    ours = [
        top - math.fsum(_direct_distance(x, h, name) for j, h in enumerate(reference) if j != i) / (len(reference) - 1)
        for i, x in enumerate(reference)
    ]
    theirs = [top - math.fsum(_direct_distance(y, h, name) for h in reference) / len(reference) for y in other]
    return ours, theirs


def _corpus(rows: int, width: int, *, seed: int, centre: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)) + centre


@pytest.mark.parametrize("name", DISTANCE_NAMES)
@pytest.mark.parametrize(("m", "n", "width"), [(2, 1, 3), (9, 9, 4), (12, 5, 1), (5, 17, 8)])
def test_depths_equal_the_definition(name: str, m: int, n: int, width: int) -> None:
    reference, other = _corpus(m, width, seed=1), _corpus(n, width, seed=2, centre=-0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DuplicateRowsWarning)
        ours, theirs = depths_paired(reference, other, distance=name)
        assert np.array_equal(depths(reference, distance=name), ours)
        assert np.array_equal(depths_against(other, reference, distance=name), theirs)
    wanted_ours, wanted_theirs = _direct(reference, other, name)
    tolerance = 1e-7 if width == 1 and name != "cosine" else 1e-11  # equal directions: round-off under a root
    assert np.allclose(ours, wanted_ours, rtol=0, atol=tolerance)
    assert np.allclose(theirs, wanted_theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", DISTANCE_NAMES)
def test_blocks_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from embedworks.analysis import depth, unit_rows

    reference, other = _corpus(50, 6, seed=1), _corpus(33, 6, seed=2)
    whole = depths_paired(reference, other, distance=name)
    monkeypatch.setattr(depth, "_LEFT_ROWS", 7)
    monkeypatch.setattr(depth, "_RIGHT_ROWS", 11)
    monkeypatch.setattr(unit_rows, "BLOCK_ROWS", 5)
    for plain, blocked in zip(whole, depths_paired(reference, other, distance=name), strict=True):
        assert np.allclose(plain, blocked, rtol=0, atol=1e-12)


def test_equal_sizes_take_distances_to_the_reference() -> None:
    """Release 1.0.0 took the row means of a square matrix: distances of F's rows to G."""
    reference, other = _corpus(40, 5, seed=1, centre=1.0), _corpus(40, 5, seed=2, centre=-0.3)
    theirs = depths_paired(reference, other)[1]
    unit_f, unit_g = UnitRows(reference, name="f").whole(), UnitRows(other, name="g").whole()
    distances = 1 - unit_f @ unit_g.T
    assert np.allclose(theirs, 2 - distances.mean(axis=0), atol=1e-12)
    assert np.abs(theirs - (2 - distances.mean(axis=1))).max() > 0.05
    # and the same rows give the same depths when one is left out of G
    assert np.array_equal(depths_paired(reference, other[:-1])[1], theirs[:-1])


@pytest.mark.parametrize("name", DISTANCE_NAMES)
def test_vectors_of_any_length_give_the_depths_of_their_directions(name: str) -> None:
    """Release 1.0.0 fed unnormalised rows to a chord distance that needs unit rows."""
    reference = _corpus(30, 5, seed=1)
    scaled = reference * np.random.default_rng(3).uniform(0.01, 100, (30, 1))
    found = depths(scaled, distance=name)
    assert np.allclose(found, depths(reference, distance=name), atol=1e-12)
    assert (found >= 0).all()
    assert (found <= DISTANCES[name].supremum).all()


def test_the_distance_of_a_row_to_itself_is_left_out() -> None:
    """Release 1.0.0 summed it and divided by m - 1, wrong where it is not 0."""

    def offset(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return 0.5 + (1 - left @ right.T) / 2

    reference = _corpus(20, 4, seed=1)
    unit = UnitRows(reference, name="f").whole()
    distances = offset(unit, unit)
    assert distances[0, 0] == pytest.approx(0.5)
    wanted = 1.5 - (distances.sum(axis=1) - np.diag(distances)) / 19
    assert np.allclose(depths(reference, distance=Distance("offset", 1.5, offset)), wanted, atol=1e-12)


def test_own_distance_equals_the_named_one() -> None:
    reference, other = _corpus(25, 4, seed=1), _corpus(14, 4, seed=2)
    own = Distance("mine", 2.0, lambda left, right: np.clip(1 - left @ right.T, 0, 2))
    for mine, named in zip(depths_paired(reference, other, distance=own), depths_paired(reference, other), strict=True):
        assert np.allclose(mine, named, atol=1e-12)


def test_an_asymmetric_distance_is_taken_from_the_text_to_the_corpus() -> None:
    lopsided = Distance("lopsided", 3.0, lambda left, right: np.abs(left[:, :1]) + 0 * right[:, 0])
    reference, other = _corpus(6, 3, seed=1), _corpus(4, 3, seed=2)
    unit = UnitRows(other, name="g").whole()
    assert np.allclose(depths_against(other, reference, distance=lopsided), 3 - np.abs(unit[:, 0]), atol=1e-12)


@pytest.mark.parametrize(
    ("between", "supremum", "message"),
    [
        (lambda left, right: 1 - left @ right.T, 0.5, "outside 0 to its supremum 0.5"),
        (lambda left, right: left @ right.T - 1, 2.0, "returned -"),
        (lambda left, right: np.full((len(left), len(right)), np.nan), 2.0, "NaN"),
        (lambda left, right: np.zeros(len(left)), 2.0, "shape"),
        (lambda left, right: np.zeros((len(left), len(right))), 0.0, "supremum is 0"),
        (lambda left, right: np.zeros((len(left), len(right))), math.inf, "supremum is inf"),
    ],
)
def test_what_is_no_bounded_distance_is_refused(between, supremum: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        depths(_corpus(8, 3, seed=1), distance=Distance("wrong", supremum, between))


def test_names_and_widths_are_checked() -> None:
    with pytest.raises(InputError, match="choose from: cosine, chord, angular"):
        find_distance("euclidean")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="4 columns and the other 5"):
        depths_paired(np.ones((3, 4)) + np.eye(3, 4), np.ones((2, 5)))
    with pytest.raises(InputError, match="2 columns, the corpus has 3"):
        depths_from_mean(np.ones((1, 2)), np.ones(3))


def test_one_row_is_refused_where_it_would_be_left_out() -> None:
    """Release 1.0.0 divided by zero."""
    for call in (lambda: depths([[1.0, 2.0]]), lambda: depths_paired([[1.0, 2.0]], [[2.0, 1.0]])):
        with pytest.raises(InputError, match="one row"):
            call()
    assert depths_against([[2.0, 0.0]], [[0.0, 1.0]]).tolist() == [1.0], "one row to stand outside of is enough"


def test_repeated_rows_warn_above_five_per_cent_and_are_kept() -> None:
    rows = _corpus(100, 4, seed=1)
    rows[95:] = rows[:5]
    depths(rows)  # exactly 5 %: no warning, which the suite would treat as an error
    rows[94] = rows[5]
    with pytest.warns(DuplicateRowsWarning, match=r"6.0%"):
        assert len(depths(rows)) == 100


@pytest.mark.parametrize("name", DISTANCE_NAMES)
def test_equal_rows_have_equal_depths(name: str) -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 24)).astype(np.float32)
    rows[3999] = rows[0]
    rows[2100] = rows[0]
    found = depths(rows, distance=name)
    assert found[0] == found[2100] == found[3999]


def test_cosine_order_is_that_of_the_similarity_to_the_mean() -> None:
    rows = _corpus(300, 8, seed=1)
    unit = UnitRows(rows, name="f")
    similarity = unit.dots(unit.mean / np.linalg.norm(unit.mean))
    assert np.array_equal(np.argsort(depths(rows)), np.argsort(similarity))
    assert np.allclose(depths_from_mean(rows, unit.mean), depths_against(rows, rows), atol=1e-12)


def test_opposite_and_equal_directions_reach_the_ends_of_the_range() -> None:
    for name in DISTANCE_NAMES:
        top = DISTANCES[name].supremum
        assert depths_against([[-2.0, 0.0], [3.0, 0.0]], [[1.0, 0.0]], distance=name) == pytest.approx([0.0, top])
        for row in np.random.default_rng(3).standard_normal((200, 1, 7)):
            ends = depths_against(np.concatenate([-row, row]), row, distance=name)
            assert ends == pytest.approx([0.0, top], abs=1e-12), "round-off near an end is not multiplied"


@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 2**32 - 1), st.sampled_from(DISTANCE_NAMES))
def test_order_of_rows_and_rotation_do_not_matter(m: int, width: int, seed: int, name: str) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((m, width)) + 0.1
    order = generator.permutation(m)
    rotation = np.linalg.qr(generator.standard_normal((width, width)))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DuplicateRowsWarning)
        plain = depths(rows, distance=name)
        assert np.allclose(depths(rows[order], distance=name), plain[order], atol=1e-7)
        assert np.allclose(depths(rows @ rotation, distance=name), plain, atol=1e-7)
