"""What every structure promises, whatever the rows, the filter, k and the beam."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedworks.foundation import InputError, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import (
    STRUCTURES,
    Attributes,
    RowFilter,
    Structure,
    load_structure,
    save_structure,
    structure_class,
)
from embedworks.index.structures.structure import Vectors

Builder = Callable[[Any, Vectors, Attributes], Structure]
# How each is built here: a structure that is added adds its line. Attributes are "number" and "tags".
BUILDERS: dict[str, Builder] = {
    "pre-filter": lambda cls, vectors, attributes: cls.build(vectors),
    "ivf": lambda cls, vectors, attributes: cls.build(vectors),
    "in-filter": lambda cls, vectors, attributes: cls.build(vectors, degree=8, construction_beam=60),
    "post-filter": lambda cls, vectors, attributes: cls.build(vectors, degree=8, construction_beam=60),
    "acorn-1": lambda cls, vectors, attributes: cls.build(vectors),
    "acorn-gamma": lambda cls, vectors, attributes: cls.build(vectors),
    "serf-1d": lambda cls, vectors, attributes: cls.build(vectors, attributes.column("number"), attribute="number"),
    "serf-2d": lambda cls, vectors, attributes: cls.build(vectors, attributes.column("number"), attribute="number"),
    "filtered-vamana": lambda cls, vectors, attributes: cls.build(
        vectors, attributes.column("tags"), attribute="tags", degree=16, beam=60
    ),
    "stitched-vamana": lambda cls, vectors, attributes: cls.build(
        vectors, attributes.column("tags"), attribute="tags", small_degree=12, small_beam=60, degree=24
    ),
    "ung": lambda cls, vectors, attributes: cls.build(
        vectors, attributes.column("tags"), attribute="tags", degree=12, beam=60
    ),
    "nhq": lambda cls, vectors, attributes: cls.build(vectors, attributes.column("tags"), attribute="tags"),
}
FILLS = ("pre-filter", "post-filter", "in-filter", "ivf", "filtered-vamana", "stitched-vamana", "ung")
"""Those that find k rows wherever k pass; a walk among passing rows alone can end before."""

KINDS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(
            find_spec(f"embedworks.index.structures.{place.split('.')[0]}") is None, reason="not part of this checkout"
        ),
    )
    for kind, place in STRUCTURES.items()
]
TAGS = ("amber", "basalt", "cobalt", "dune", "ember")


def clustered(rows: int, dimension: int, seed: int, *, spread: float = 0.6) -> Vectors:
    """Rows around twelve centres, some nearer to each other than others."""
    generator = random_generator(seed, "clustered")
    centres = generator.standard_normal((12, dimension))
    vectors = centres[generator.integers(0, 12, rows)] + spread * generator.standard_normal((rows, dimension))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def described(rows: int, seed: int) -> Attributes:
    """Numbers with ties and nulls, sets of tags (some empty), and one value that all rows share."""
    generator = random_generator(seed, "described")
    numbers = [None if generator.random() < 0.1 else int(generator.integers(0, 60)) for _ in range(rows)]
    tags = [sorted(set(generator.choice(TAGS, generator.integers(0, 4)).tolist())) for _ in range(rows)]
    return Attributes(
        pa.table({"number": pa.array(numbers, pa.int64()), "tags": pa.array(tags, pa.list_(pa.string()))})
    )


def alike(rows: int) -> Attributes:
    """All rows with the same number and the same tag."""
    return Attributes(pa.table({"number": [7] * rows, "tags": [["amber"]] * rows}))


@lru_cache(maxsize=1)
def data_sets() -> dict[str, tuple[Vectors, Attributes]]:
    """Rows and attributes by name; small, so that every structure is quickly built on each."""
    few = clustered(30, 6, 1)
    return {
        "clustered": (clustered(500, 8, 0), described(500, 0)),
        "repeated": (np.tile(few, (6, 1)), described(180, 1)),
        "alike": (clustered(120, 5, 2), alike(120)),
        "all one row": (np.repeat(few[:1], 40, axis=0), described(40, 3)),
        "one": (few[:1], alike(1)),
        "two": (few[:2], described(2, 4)),
    }


def build(kind: str, vectors: Vectors, attributes: Attributes) -> Structure:
    """Build a structure with settings for small sets."""
    return BUILDERS[kind](structure_class(kind), vectors, attributes)


@lru_cache(maxsize=100)
def built(kind: str, name: str) -> Structure:
    """A structure over a data set, built once."""
    return build(kind, *data_sets()[name])


@st.composite
def filters(draw: st.DrawFn, attributes: Attributes) -> RowFilter:
    """Any filter: none, a range, labels (known or not), or rows at will, down to none."""
    form = draw(st.sampled_from(["everything", "range", "labels", "arbitrary"]))
    if form == "everything":
        return attributes.everything()
    if form == "range":
        low, high = (draw(st.integers(-5, 65) | st.sampled_from([-np.inf, np.inf])) for _ in range(2))
        return attributes.range("number", low=low, high=high)
    if form == "labels":
        wanted = draw(st.lists(st.sampled_from([*TAGS, "nobody's"]), min_size=1, max_size=3, unique=True))
        return attributes.labels("tags", wanted, every=draw(st.booleans()))
    share = draw(st.sampled_from([0.0, 0.02, 0.2, 0.7]))
    return attributes.arbitrary(random_generator(draw(st.integers(0, 50)), "mask").random(attributes.rows) < share)


def true_distances(vectors: Vectors, query: Vectors) -> np.ndarray:
    """Squared Euclidean distances in float64."""
    exact: np.ndarray = 2 - 2 * (vectors.astype(np.float64) @ query.astype(np.float64))
    return np.maximum(exact, 0)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(data=st.data())
def test_the_promises_hold(kind: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(data_sets())))
    vectors, attributes = data_sets()[name]
    structure = built(kind, name)
    where = data.draw(filters(attributes))
    k, beam = data.draw(st.sampled_from([1, 3, 10, 700])), data.draw(st.sampled_from([1, 5, 40, 1000]))
    if data.draw(st.booleans()):
        query = vectors[data.draw(st.integers(0, len(vectors) - 1))]
    else:
        query = clustered(3, vectors.shape[1], data.draw(st.integers(0, 20)))[0]
    if not structure.supports(where):
        with pytest.raises(InputError, match="answers no filter of the form"):
            structure.search(query, k, where, beam=beam)
        return
    found = structure.search(query, k, where, beam=beam)
    assert found.rows.dtype == np.int64
    assert found.distances.dtype == np.float32
    assert len(found.rows) == len(found.distances)
    assert len(set(found.rows.tolist())) == len(found.rows)
    if not structure.may_violate:
        assert where.mask[found.rows].all()
        assert len(found.rows) <= min(k, where.count)
    if kind in FILLS or found.exact:
        assert len(found.rows) == min(k, where.count)
    exact = true_distances(vectors, query)
    np.testing.assert_allclose(found.distances, exact[found.rows], atol=2e-6)
    pairs = list(zip(found.distances.tolist(), found.rows.tolist(), strict=True))
    assert pairs == sorted(pairs)
    if found.exact:
        best = np.sort(exact[where.passing])[: len(found.rows)]
        np.testing.assert_allclose(found.distances, best, atol=2e-6)
    # equal rows may be compared once for all
    assert found.counters.distances >= len(np.unique(vectors[found.rows], axis=0))
    assert min(found.counters.hops, found.counters.rejected) >= 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["clustered", "repeated", "one"])
def test_what_was_saved_answers_alike(kind: str, name: str, tmp_path: Path) -> None:
    vectors, attributes = data_sets()[name]
    structure = built(kind, name)
    save_structure(structure, tmp_path / "kept")
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    opened = load_structure(tmp_path / "kept", mapped)
    assert type(opened) is structure_class(kind)
    assert opened.nbytes == structure.nbytes
    wheres = (
        attributes.everything(),
        attributes.range("number", high=30),
        attributes.range("number", low=20, high=30),
        attributes.labels("tags", ["amber"]),
        attributes.labels("tags", ["amber", "basalt"], every=False),
        attributes.arbitrary(np.arange(len(vectors)) % 3 == 0),
    )
    asked = [where for where in wheres if structure.supports(where)]
    assert asked
    for where in asked:
        for query in vectors[:5]:
            before, after = (each.search(query, 10, where, beam=20) for each in (structure, opened))
            assert before.rows.tolist() == after.rows.tolist()
            assert before.distances.tolist() == after.distances.tolist()
            assert before.counters == after.counters


@pytest.mark.parametrize("kind", KINDS)
def test_other_vectors_are_refused(kind: str, tmp_path: Path) -> None:
    save_structure(built(kind, "repeated"), tmp_path / "kept")
    with pytest.raises(StorageError, match="was built on 180 rows of 6 components"):
        load_structure(tmp_path / "kept", clustered(181, 6, 0))


@lru_cache(maxsize=1)
def large() -> tuple[Vectors, Attributes, Vectors]:
    """Rows enough for a graph to lose its way in, and queries from the same clusters.

    The clusters touch: between islands no walk along nearest neighbours, such as ACORN's, finds its way.
    """
    vectors = clustered(2040, 16, 5, spread=0.9)
    return vectors[:2000], described(2000, 5), vectors[2000:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_beam_finds_nearly_all(kind: str) -> None:
    vectors, attributes, queries = large()
    structure = build(kind, vectors, attributes)
    if structure.may_violate:
        pytest.skip("a structure that answers rows that fail has its own test of recall")
    exact = build("pre-filter", vectors, attributes)
    wheres = {
        "everything": attributes.everything(),
        "below": attributes.range("number", high=30),
        "above": attributes.range("number", low=45),
        "between": attributes.range("number", low=20, high=40),
        "tag": attributes.labels("tags", ["cobalt"]),
        "tags": attributes.labels("tags", ["cobalt", "dune"]),
        "any tag": attributes.labels("tags", ["amber", "dune"], every=False),
        "a third": attributes.arbitrary(random_generator(0, "third").random(len(vectors)) < 1 / 3),
        "few": attributes.arbitrary(random_generator(0, "few").random(len(vectors)) < 0.02),
    }
    for name, where in wheres.items():
        if not structure.supports(where):
            continue
        shares = []
        for query in queries:
            best = exact.search(query, 10, where, beam=1)
            found = structure.search(query, 10, where, beam=300)
            shares.append(len(set(found.rows) & set(best.rows)) / len(best.rows))
        assert np.mean(shares) >= 0.95, name


@pytest.mark.parametrize("kind", KINDS)
def test_bad_vectors_are_refused(kind: str) -> None:
    vectors, attributes = data_sets()["two"]
    for bad in (vectors * 2, np.full_like(vectors, np.nan), vectors[:0], vectors[0]):
        with pytest.raises(InputError, match="vectors"):
            build(kind, bad, attributes)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_queries_are_refused(kind: str) -> None:
    structure = built(kind, "clustered")
    where, query = data_sets()["clustered"][1].everything(), structure.vectors[0]
    for bad in (query * 2, np.full_like(query, np.nan), query[:-1], query[None]):
        with pytest.raises(InputError, match="query"):
            structure.search(bad, 3, where, beam=10)
    with pytest.raises(InputError, match="k is 0"):
        structure.search(query, 0, where, beam=10)
    assert structure.search(query.astype(np.float64), 3, where, beam=10).rows[0] == 0
