"""Joining two rankings, by hand-made numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedworks.foundation import InputError
from embedworks.index import Fusion, Index
from embedworks.index.fusion import fused_scores


def test_score_fusion_scales_each_side_to_the_unit_interval() -> None:
    fused = fused_scores(
        np.array([0.2, 0.6, 1.0]), np.array([8.0, 0.0, 2.0]), ["a", "b", "c"], Fusion(vector_weight=0.8)
    )
    assert fused == pytest.approx([0.2 * 1.0, 0.8 * 0.5, 0.8 * 1.0 + 0.2 * 0.25])


def test_a_side_that_tells_nothing_apart_adds_nothing() -> None:
    fused = fused_scores(np.array([0.5, 0.5]), np.array([1.0, 2.0]), ["a", "b"], Fusion(vector_weight=0.5))
    assert fused == pytest.approx([0.0, 0.5])
    assert fused_scores(np.zeros(0), np.zeros(0), [], Fusion()).size == 0


def test_reciprocal_rank_fusion_is_the_formula_of_the_paper() -> None:
    fusion = Fusion("reciprocal-rank", vector_weight=0.5)
    fused = fused_scores(np.array([0.9, 0.8, 0.7]), np.array([0.0, 3.0, 5.0]), ["a", "b", "c"], fusion)
    assert fused == pytest.approx([0.5 / 61, 0.5 / 62 + 0.5 / 62, 0.5 / 63 + 0.5 / 61])


def test_weights_of_one_and_zero_are_the_sides_themselves(searched: tuple[Index, dict[str, Any]]) -> None:
    index, _ = searched
    query = np.arange(8.0) + 1
    for method in ("score", "reciprocal-rank"):
        by_vector = index.search(query, text="dune", mode="hybrid", fusion=Fusion(method, vector_weight=1.0))  # type: ignore[arg-type]
        assert [hit.id for hit in by_vector.hits] == [hit.id for hit in index.search(query).hits]
        by_terms = index.search(query, text="dune kelp", mode="hybrid", fusion=Fusion(method, vector_weight=0.0))  # type: ignore[arg-type]
        lexical = index.search(text="dune kelp", mode="lexical")
        assert [hit.id for hit in by_terms.hits] == [hit.id for hit in lexical.hits]


def test_the_index_remembers_its_fusion(index_path: Path, make_rows: Callable[..., dict[str, Any]]) -> None:
    index = Index.create(index_path, dimension=8)
    index.add(**make_rows(5))
    assert index.fusion == Fusion()
    index.set_fusion(Fusion("reciprocal-rank", vector_weight=0.25))
    again = Index.open(index_path)
    assert again.fusion == Fusion("reciprocal-rank", vector_weight=0.25)
    assert "reciprocal rank (0.25 vector" in again.search(np.ones(8), text="dune", mode="hybrid").how


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "magic"},
        {"vector_weight": 1.1},
        {"vector_weight": float("nan")},
        {"constant": 0},
        {"candidates": 0},
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Fusion(**arguments)
