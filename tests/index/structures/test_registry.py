"""The list of structures."""

from __future__ import annotations

import pytest

from embedworks.foundation import InputError
from embedworks.index.structures import STRUCTURES, structure_class


@pytest.mark.parametrize("kind", STRUCTURES)
def test_every_kind_is_the_name_of_its_class(kind: str) -> None:
    assert structure_class(kind).kind == kind


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"no structure 'tree'.*ung"):
        structure_class("tree")
