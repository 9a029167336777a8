"""The bar writes to standard error only, and nothing at all when it is off."""

from __future__ import annotations

import pytest

from embedworks.foundation import progress_bar


def test_a_disabled_bar_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Encode", 3, unit="texts", enabled=False) as advance:
        advance(3)
    assert capfd.readouterr() == ("", "")


def test_a_finished_bar_says_count_and_rate_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Encode", 3, unit="texts", enabled=True) as advance:
        advance(1)
        advance(2)
    out, err = capfd.readouterr()
    assert out == ""
    assert "3/3" in err
    assert "texts/s" in err
