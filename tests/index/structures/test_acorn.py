"""ACORN: the neighbourhoods are the paper's, and failing rows cost nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, Counters
from embedworks.index.structures.acorn import Acorn1, AcornGamma, _gather
from embedworks.index.structures.prefilter import PreFilter


def generic(rows: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Directions in general position."""
    vectors = random_generator(seed, "acorn rows").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("direct", "limit"), [(0, 5), (0, 1000), (3, 5), (3, 1000), (100, 4)])
def test_the_neighbourhood_is_the_papers(direct: int, limit: int) -> None:
    generator = random_generator(direct, "neighbourhood")
    for _ in range(50):
        links = np.full((40, 8), -1, dtype=np.int32)
        for row in range(40):
            size = generator.integers(0, 9)
            links[row, :size] = generator.choice(40, size, replace=False)
        mask = generator.random(40) < 0.5
        expected: list[int] = []
        for place, middle in enumerate(other for other in links[0] if other >= 0):
            further = [other for other in links[middle] if other >= 0] if place >= direct else []
            expected += [int(other) for other in (middle, *further) if mask[other]]
        distinct = list(dict.fromkeys(expected))[:limit]
        known = generator.random(40) < 0.3
        seen, gathered, fresh = known.astype(np.int32), np.zeros(40, dtype=np.int32), np.empty(limit, dtype=np.int32)
        count, _ = _gather(links, 0, mask, limit, direct, gathered, 1, seen, 1, fresh)
        assert fresh[:count].tolist() == [row for row in distinct if not known[row]]


@pytest.fixture(scope="module")
def pair() -> tuple[AcornGamma, Acorn1, Attributes]:
    """Both structures over the same rows, whose number is their place."""
    vectors = generic(1500, 12, 3)
    attributes = Attributes(pa.table({"place": np.arange(1500)}))
    return AcornGamma.build(vectors, degree=12, compression=24), Acorn1.build(vectors), attributes


def test_only_rows_that_pass_are_compared(pair: tuple[AcornGamma, Acorn1, Attributes]) -> None:
    gamma, one, attributes = pair
    for structure in (gamma, one):
        for low in (700, 1200, 1350):
            where = attributes.range("place", low=low)
            found = structure.search(structure.vectors[0], 10, where, beam=1500)
            # With a beam that holds all, every row that is compared passes; the walk down may compare some twice.
            assert len(found.rows) == 10
            assert found.counters.distances <= where.count + 200
            assert found.counters.rejected > 0


def test_a_failing_entry_is_never_answered(pair: tuple[AcornGamma, Acorn1, Attributes]) -> None:
    gamma, one, attributes = pair
    for structure in (gamma, one):
        entry = structure.graph.entry
        mask = np.ones(1500, dtype=np.bool_)
        mask[entry] = False
        found = structure.search(structure.vectors[entry], 10, attributes.arbitrary(mask), beam=50)
        assert entry not in found.rows
        assert len(found.rows) == 10


def test_gamma_compares_all_that_pass_below_its_least_selectivity(pair: tuple[AcornGamma, Acorn1, Attributes]) -> None:
    gamma, _, attributes = pair
    exact = PreFilter.build(gamma.vectors)
    for low, below in ((1376, True), (1375, False)):  # 124 and 125 of 1500: one in twelve is 125
        where = attributes.range("place", low=low)
        found = gamma.search(gamma.vectors[5], 7, where, beam=50)
        assert found.exact == below
        if below:
            assert found.rows.tolist() == exact.search(gamma.vectors[5], 7, where, beam=1).rows.tolist()
            assert found.counters == Counters(distances=where.count)


def test_seeds_find_an_island_the_entry_does_not_reach() -> None:
    generator = random_generator(0, "islands")
    side = generator.permutation(np.repeat([1.0, -1.0], 600))
    vectors = np.concatenate([side[:, None], 0.2 * generator.standard_normal((1200, 8))], axis=1)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    exact = PreFilter.build(vectors)
    shares = {}
    for seeded in (True, False):
        structure = Acorn1.build(vectors, degree=12, seeded=seeded, seed=1)
        # The rows of the island the entry is not on, but those that the upper layers know.
        mask = (side != side[structure.graph.entry]) & (structure.graph.levels == 0)
        where = Attributes(pa.table({"place": np.arange(1200)})).arbitrary(mask)
        answers = [
            (exact.search(query, 10, where, beam=1).rows, structure.search(query, 10, where, beam=50).rows)
            for query in vectors[where.passing[:50]]
        ]
        shares[seeded] = np.mean([np.isin(best, found).mean() for best, found in answers])
    assert shares[True] > 0.85
    assert shares[False] == 0


def test_settings_are_kept_and_checked() -> None:
    vectors = generic(60, 5, 0)
    structure = AcornGamma.build(vectors, degree=4, expansion=3, compression=5, seeded=False, seed=7)
    assert AcornGamma.restore(vectors, structure.arrays(), structure.facts()).settings == structure.settings
    for wrong in ({"degree": 1}, {"expansion": 0}, {"degree": 8, "compression": 4}, {"compression": 10_000}):
        with pytest.raises(InputError, match="compression between"):
            AcornGamma.build(vectors, **wrong)
    for query, k in ((vectors[0, :4], 1), (vectors[0] * 2, 1), (vectors[0], 0)):
        with pytest.raises(InputError, match="query"):
            structure.search(query, k, Attributes(pa.table({"x": np.arange(60)})).everything(), beam=5)
