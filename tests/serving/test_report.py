"""The comparison folder: what is read, and what is refused with its row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embedworks.foundation import InputError
from embedworks.serving import read_report


def test_table_and_pictures_are_read(report_folder: Path) -> None:
    report = read_report(report_folder)
    assert report.columns == ("system", "nDCG@10")
    assert report.rows == (("words", 67.5), ("both", 73.84))
    assert report.pictures["light"].name == "comparison-light.svg"


def test_pictures_alone_are_enough(report_folder: Path) -> None:
    (report_folder / "comparison.json").unlink()
    (report_folder / "comparison-dark.svg").unlink()
    report = read_report(report_folder)
    assert (report.title, report.rows, set(report.pictures)) == ("Comparison", (), {"light"})


def test_a_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds neither"):
        read_report(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_report(tmp_path / "missing")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "object"),
        ({"title": 5}, "title"),
        ({"columns": "ab"}, "columns"),
        ({"columns": ["a"], "rows": [["x"], ["y", 1]]}, "row 2"),
        ({"columns": ["a"], "rows": [[{"nested": 1}]]}, "row 1"),
        ({"columns": ["a"], "rows": [["x"]] * 1001}, "at most 1000"),
        ({"columns": ["a"], "rows": [[float("nan")]]}, "row 1"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, document: Any, said: str) -> None:
    (tmp_path / "comparison.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=said):
        read_report(tmp_path)


def test_broken_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        read_report(tmp_path)
