"""``embedworks compact``: what was deleted gives its disk space back, and answers stay as they were."""

from __future__ import annotations

import json
from pathlib import Path

from embedworks.index import Index


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_disk_space_comes_back(run, index_copy: Path) -> None:
    Index.open(index_copy).delete([f"files-{number}" for number in range(10)])
    search = ("search", index_copy, "rotate a picture", "-k", "50", "--json", "-")
    before, size = json.loads(run(*search).out)["hits"], _size(index_copy)
    outcome = run("compact", index_copy, "--json", "-")
    assert outcome.code == 0, outcome
    said = json.loads(outcome.out)
    assert said == {"index": str(index_copy), "items": 50, "bytes_before": size, "bytes": _size(index_copy)}
    assert said["bytes"] < 0.9 * size
    assert json.loads(run(*search).out)["hits"] == before
    assert len(list((index_copy / "segments").iterdir())) == 1

    again = run("compact", index_copy)
    assert again.code == 0, again
    assert f"50 items on {_size(index_copy):,} bytes of disk" in again.out
