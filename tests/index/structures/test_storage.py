"""Structures in directories, and the list of structures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embedworks.foundation import InputError, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import load_structure, save_structure
from embedworks.index.structures.infilter import InFilter

ROWS = 200


@pytest.fixture(scope="module")
def structure() -> InFilter:
    vectors = random_generator(0, "stored").standard_normal((ROWS, 6))
    return InFilter.build((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), degree=4)


def test_arrays_are_mapped_and_facts_plain(structure: InFilter, tmp_path: Path) -> None:
    save_structure(structure, tmp_path / "kept")
    opened = load_structure(tmp_path / "kept", structure.vectors)
    assert isinstance(opened, InFilter)
    assert isinstance(opened.graph.links.base, np.memmap)
    for name, array in structure.arrays().items():
        assert (opened.arrays()[name] == array).all()
        assert opened.arrays()[name].dtype == array.dtype
    document = json.loads((tmp_path / "kept" / "structure.json").read_text())
    assert document["kind"] == "in-filter"
    assert (document["rows"], document["dimension"]) == (ROWS, 6)
    assert document["facts"] == structure.facts()


def test_nothing_is_written_over(structure: InFilter, tmp_path: Path) -> None:
    save_structure(structure, tmp_path / "kept")
    with pytest.raises(InputError, match="exists already"):
        save_structure(structure, tmp_path / "kept")


@pytest.mark.parametrize("damage", ["altered", "cut", "missing"])
def test_damage_is_refused(structure: InFilter, tmp_path: Path, damage: str) -> None:
    save_structure(structure, tmp_path / "kept")
    links = tmp_path / "kept" / "links.npy"
    content = bytearray(links.read_bytes())
    if damage == "missing":
        links.unlink()
    else:
        content[-3] ^= 1
        links.write_bytes(bytes(content if damage == "altered" else content[:-8]))
    with pytest.raises(StorageError, match=r"links\.npy"):
        load_structure(tmp_path / "kept", structure.vectors)


def test_a_directory_that_is_none_of_ours_is_refused(structure: InFilter, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"no manifest\.json"):
        load_structure(tmp_path, structure.vectors)


def test_other_vectors_are_refused(structure: InFilter, tmp_path: Path) -> None:
    save_structure(structure, tmp_path / "kept")
    for others in (structure.vectors[:-1], structure.vectors[:, :-1]):
        with pytest.raises(StorageError, match="give it the vectors it was built on"):
            load_structure(tmp_path / "kept", others)
