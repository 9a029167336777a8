"""The inverted file: the lists, what is scanned, and how it goes on until k are found."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes
from embedworks.index.structures.ivf import InvertedFile

ROWS = 800


def unit(rows: int, seed: int) -> np.ndarray:
    generator = random_generator(seed, "lists")
    vectors = generator.standard_normal((9, 10))[generator.integers(0, 9, rows)]
    vectors = vectors + 0.5 * generator.standard_normal((rows, 10))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def lists() -> InvertedFile:
    return InvertedFile.build(unit(ROWS, 0), lists=40)


def test_every_row_stands_in_the_list_of_its_nearest_centre(lists: InvertedFile) -> None:
    assert sorted(lists.members.tolist()) == list(range(ROWS))
    np.testing.assert_allclose(np.linalg.norm(lists.centres, axis=1), 1, atol=1e-5)
    nearness = lists.vectors.astype(np.float64) @ lists.centres.astype(np.float64).T
    for which in range(40):
        members = lists.members[lists.starts[which] : lists.starts[which + 1]]
        assert (np.diff(members) > 0).all()
        assert (nearness[members, which] >= nearness[members].max(axis=1) - 1e-6).all()


@given(seed=st.integers(0, 50), probes=st.integers(1, 45), share=st.sampled_from([0.005, 0.1, 1.0]))
def test_it_answers_as_a_slow_scan_of_the_nearest_lists_does(
    lists: InvertedFile, seed: int, probes: int, share: float
) -> None:
    query, k = unit(1, seed)[0], 8
    mask = random_generator(seed, "mask").random(ROWS) < share
    where = Attributes(pa.table({"place": np.arange(ROWS)})).arbitrary(mask)
    found = lists.search(query, k, where, beam=probes)
    wanted = min(k, where.count)
    opened = compared = rejected = 0
    passing: list[int] = []
    for which in np.argsort(-(lists.centres @ query), kind="stable") if wanted else []:
        if opened >= probes and len(passing) >= wanted:
            break
        opened += 1
        for row in lists.members[lists.starts[which] : lists.starts[which + 1]]:
            if mask[row]:
                passing.append(int(row))
                compared += 1
            else:
                rejected += 1
    exact = 2 - 2 * (lists.vectors.astype(np.float64) @ query)
    assert found.rows.tolist() == sorted(passing, key=lambda row: exact[row])[:wanted]
    if wanted:
        assert found.counters.distances == 40 + compared
        assert (found.counters.hops, found.counters.rejected) == (opened, rejected)
        assert found.exact == (opened == 40)


def test_one_seed_one_set_of_lists(lists: InvertedFile) -> None:
    again = InvertedFile.build(unit(ROWS, 0), lists=40)
    assert all((lists.arrays()[name] == again.arrays()[name]).all() for name in lists.arrays())
    other = InvertedFile.build(unit(ROWS, 0), lists=40, seed=1)
    assert not np.array_equal(lists.centres, other.centres)


def test_without_a_number_there_are_four_times_the_root_of_the_rows() -> None:
    assert len(InvertedFile.build(unit(400, 1)).centres) == 80
    assert len(InvertedFile.build(unit(1, 1)).centres) == 1


def test_bad_numbers_of_lists_and_arrays_that_do_not_fit_are_refused(lists: InvertedFile) -> None:
    for number in (0, 6):
        with pytest.raises(InputError, match="lists of 5 rows"):
            InvertedFile.build(unit(5, 0), lists=number)
    with pytest.raises(StorageError, match="do not fit"):
        InvertedFile.restore(lists.vectors[:-1], lists.arrays(), {})
