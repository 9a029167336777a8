"""``embedworks delete``: by ids or by a filter, all that is meant and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from embedworks.index import Index


def test_by_ids(run, index_copy: Path) -> None:
    outcome = run("delete", index_copy, "files-0", "text-9", "--json", "-")
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out) == {"index": str(index_copy), "deleted": 2, "items": 58}
    left = Index.open(index_copy)
    assert "files-0" not in left
    assert "files-1" in left


def test_by_a_filter(run, index_copy: Path) -> None:
    outcome = run("delete", index_copy, "--where", "year < 2022 or kind = 'function'")
    assert outcome.code == 0, outcome
    assert "Deleted 36 items" in outcome.out
    assert "holds 24 now" in " ".join(outcome.out.split())
    assert Index.open(index_copy).facets("year") == {2022: 6, 2024: 6, 2026: 6, 2028: 6}
    again = run("delete", index_copy, "--where", "year < 2022 or kind = 'function'", "--json", "-")
    assert json.loads(again.out)["deleted"] == 0


def test_what_is_refused_changes_nothing(run, index_copy: Path, tmp_path: Path) -> None:
    manifest = (index_copy / "manifest.json").read_bytes()
    for arguments, part in (
        ((index_copy, "files-0", "files-99"), "'files-99'"),
        ((index_copy, "files-0", "files-0"), "occurs twice"),
        ((index_copy,), "nothing says what to delete"),
        ((index_copy, "files-0", "--where", "year < 2022"), "both ids and a filter"),
        ((index_copy, "--where", "years < 2022"), "did you mean 'year'"),
        ((index_copy, "--where", "1 = 1; drop table items"), "where"),
        ((tmp_path / "nowhere.index", "files-0"), "is no index"),
    ):
        outcome = run("delete", *arguments)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1), outcome
        assert part in outcome.err
    assert (index_copy / "manifest.json").read_bytes() == manifest
