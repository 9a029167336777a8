"""The examples of the room's page run as they stand, each as a program of its own."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "rooms" / "objectives.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_page_has_examples():
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(number, tmp_path):
    program = tmp_path / "example.py"
    program.write_text(EXAMPLES[number], encoding="utf-8")
    runpy.run_path(str(program), run_name="__main__")
