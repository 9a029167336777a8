"""Counts of values, by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from embedworks.foundation import InputError
from embedworks.index import Index


def test_counts_are_those_of_the_rows_that_pass(searched: tuple[Index, dict[str, Any]]) -> None:
    index, rows = searched
    columns = rows["attributes"]
    assert index.facets("words") == Counter(columns["words"])
    few = [place for place, words in enumerate(columns["words"]) if words < 10]
    kinds = Counter(columns["kind"][place] for place in few if columns["kind"][place] is not None)
    assert index.facets("kind", where="words < 10") == kinds
    tags = Counter(tag for place in few for tag in columns["tags"][place])
    counted = index.facets("tags", where="words < 10")
    assert counted == tags
    assert list(counted.items()) == sorted(tags.items(), key=lambda pair: (-pair[1], pair[0]))
    assert index.facets("kind", where="words > 1000") == {}


def test_a_set_counts_once_a_row_and_nulls_count_nothing(index_path: Path) -> None:
    index = Index.create(index_path, dimension=1)
    assert index.attributes == {}
    index.add(["a", "b", "c"], [[1], [2], [3]], attributes={"tags": [["x", "x"], ["y"], None], "none": [None] * 3})
    assert index.facets("tags") == {"x": 1, "y": 1}
    assert index.facets("none") == {}


def test_an_unknown_attribute_names_the_nearest(searched: tuple[Index, dict[str, Any]]) -> None:
    index, _ = searched
    with pytest.raises(InputError, match="did you mean 'kind'"):
        index.facets("kinds")
    with pytest.raises(InputError, match="no attribute 'text'"):
        index.facets("text")
