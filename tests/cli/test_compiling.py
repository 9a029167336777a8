"""Code that has to be compiled is announced once, on standard error, and never where nobody looks."""

from __future__ import annotations

import logging
import sys

import pytest
from numba import njit

from embedworks.cli.compiling import compilation_announced


@pytest.mark.parametrize("terminal", [False, True])
def test_one_line_however_much_is_compiled(
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    caplog.set_level(logging.INFO, logger="embedworks.cli")
    with compilation_announced():
        added = njit(lambda number: number + 1)
        assert (added(1), added(1.5)) == (2, 2.5)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [record.message for record in caplog.records] * terminal
    assert [record.message.split(";")[0] for record in caplog.records] == ["Compiling the search for this processor"]


def test_nothing_is_said_of_code_that_is_there(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    caplog.set_level(logging.INFO, logger="embedworks.cli")
    doubled = njit(lambda number: number * 2)
    doubled(1)
    with compilation_announced():
        assert doubled(2) == 4
    njit(lambda number: number * 3)(1)
    assert capsys.readouterr().err == ""
    assert caplog.records == []
