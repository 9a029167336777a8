"""The folder is the registry; a wrong name gets the nearest one."""

from __future__ import annotations

from pathlib import Path

import pytest

import embedworks.methods
from embedworks.foundation import InputError
from embedworks.methods import find_method, method_cards, method_names


def test_the_registry_is_the_folder() -> None:
    folder = Path(embedworks.methods.__file__).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.name.startswith("_")}
    assert set(method_names()) == files
    assert [card.name for card in method_cards()] == method_names()


@pytest.mark.parametrize(("name", "hint"), [("contrastiv", "did you mean 'contrastive'?"), ("zzz", "choose from: ")])
def test_an_unknown_method_is_one_line_with_a_hint(name: str, hint: str) -> None:
    with pytest.raises(InputError, match="there is no method") as caught:
        find_method(name)
    assert hint in str(caught.value)
