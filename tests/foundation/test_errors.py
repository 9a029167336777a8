"""An error is one line, whatever it is made of."""

from __future__ import annotations

from embedworks.foundation import EmbedworksError, InputError, MissingExtraError


def test_an_error_is_one_line() -> None:
    error = InputError("a\nmultiline\nreason", where="file.csv,\nrow 3", mend="do\nthis")
    assert str(error) == "file.csv, row 3: a multiline reason; do this"


def test_a_missing_extra_names_the_command() -> None:
    error = MissingExtraError("peft", extra="lora", needed_for="training adapters")
    assert str(error).endswith("install it with: pip install 'embedworks[lora]'")
    assert isinstance(error, ImportError)
    assert isinstance(error, EmbedworksError)
