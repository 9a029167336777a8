"""A file that is missing, truncated or altered is refused at opening, in one line that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedworks.foundation import StorageError
from embedworks.index import Index, calibration, manifest, segments, writer
from embedworks.index.manifest import manifest_document, read_manifest

FILES = [
    "manifest.json",
    "vectors.npy",
    "rows.arrow",
    "terms.arrow",
    "segments/*/starts.npy",
    "entries.npy",
    "lengths.npy",
    "deleted-*.npy",
    "codes.npy",
    "codebooks.npy",
    "bounds.npy",
    "means.npy",
    "partitions/*/starts.npy",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, make_rows: Callable[..., dict[str, Any]]) -> Path:
    """An index with a file of every kind."""
    path = tmp_path_factory.mktemp("damage") / "whole.index"
    index = Index.create(path, dimension=8, storage="pq")
    rows = make_rows(260)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "CODED_ROWS", 260)
        patch.setattr(writer, "PARTITIONED_ROWS", 260)
        patch.setattr(calibration, "_QUERIES", 5)
        index.add(**rows)
    index.delete(rows["ids"][:5])
    index.set_fusion(index.fusion)  # what the commit before the partition left behind is cleaned away
    return path


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copied.index"))


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.rglob(pattern)
    return found


def refused(folder: Path, name: str) -> str:
    with pytest.raises(StorageError) as caught:
        Index.open(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("pattern", FILES)
def test_a_file_truncated_at_any_length_is_refused(copied: Path, pattern: str) -> None:
    path = only(copied, pattern)
    content = path.read_bytes()
    # Two bytes, because the last one of the manifest is the end of its line.
    for length in {0, 1, 7, 64, 128, len(content) // 2, len(content) - 2}:
        path.write_bytes(content[:length])
        refused(copied, path.name)
    path.write_bytes(content + b"\0")
    refused(copied, path.name)
    path.unlink()
    refused(copied, path.name)
    path.write_bytes(content)
    assert len(Index.open(copied)) == 255


@pytest.mark.parametrize("pattern", FILES)
def test_an_altered_byte_is_found(copied: Path, pattern: str) -> None:
    path = only(copied, pattern)
    content = bytearray(path.read_bytes())
    for place in {10, len(content) // 2, len(content) - 3}:
        altered = bytearray(content)
        altered[place] ^= 0x01
        path.write_bytes(altered)
        refused(copied, path.name)


@pytest.mark.parametrize("pattern", FILES[1:])
def test_a_large_file_is_checked_by_structure_at_opening_and_whole_by_verify(
    copied: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "HASHED_AT_OPENING", 0)
    path = only(copied, pattern)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-1])
    refused(copied, path.name)
    content[-20] ^= 0x10
    path.write_bytes(content)
    try:
        index = Index.open(copied)
    except StorageError as error:
        # Either is right: the structure may show it.
        assert path.name in str(error)  # noqa: PT017
        return
    with pytest.raises(StorageError, match=r"SHA-256 differs"):
        index.verify()


@pytest.mark.parametrize("pattern", ["vectors.npy", "rows.arrow", "segments/*/starts.npy", *FILES[-2:]])
def test_a_header_of_another_shape_is_refused_though_nothing_is_hashed(
    copied: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "HASHED_AT_OPENING", 0)
    path = only(copied, pattern)
    content = bytearray(path.read_bytes())
    # An array says what it holds at its beginning, an Arrow file at its end.
    part = slice(-200, None) if path.suffix == ".arrow" else slice(0, 100)
    content[part] = bytes(reversed(content[part]))
    path.write_bytes(content)
    refused(copied, path.name)
    if path.suffix == ".npy":
        wrong = np.zeros((130, 16) if pattern == "vectors.npy" else 3, dtype=np.float32)
        np.save(path, wrong)
        path.write_bytes(path.read_bytes().ljust(len(content), b"\0")[: len(content)])
        refused(copied, path.name)


@pytest.mark.parametrize(
    "damage",
    [{0: 1}, {0: -1}, {-1: 261}, {-1: 259}, {3: 10**12}, {3: -5}, {2: 40, 3: 40}, {2: 200, 3: 100}],
    ids=str,
)
def test_lists_of_rows_that_do_not_exist_are_refused_though_nothing_is_hashed(
    copied: Path, monkeypatch: pytest.MonkeyPatch, damage: dict[int, int]
) -> None:
    """Beginning elsewhere, ending elsewhere, empty, or out of order: compiled code would read what is not there."""
    monkeypatch.setattr(manifest, "HASHED_AT_OPENING", 0)
    path = only(copied, "partitions/*/starts.npy")
    starts = np.load(path)
    assert starts[0] == 0
    assert starts[-1] == 260
    for place, row in damage.items():
        starts[place] = row
    np.save(path, starts)
    assert "rows that do not exist" in refused(copied, "starts.npy")


def test_means_of_other_lists_are_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "HASHED_AT_OPENING", 0)
    path = only(copied, "means.npy")
    means = np.load(path)
    for other in (means[:-1], np.concatenate([means, means[:1]]), means.astype(np.float64), means[:, :4], means.T):
        np.save(path, np.ascontiguousarray(other))
        refused(copied, "means.npy")


def test_an_altered_fact_in_the_manifest_is_found_though_it_is_still_json(copied: Path) -> None:
    path = copied / "manifest.json"
    text = path.read_text()
    assert text.count('"vector_weight": 0.5') == 1
    path.write_text(text.replace('"vector_weight": 0.5', '"vector_weight": 0.7'))
    assert "is damaged" in refused(copied, "manifest.json")


def test_what_is_no_index_is_said_to_be_none(tmp_path: Path) -> None:
    assert "check the path" in refused(tmp_path / "nothing", "nothing")
    (tmp_path / "empty").mkdir()
    assert "embedworks index" in refused(tmp_path / "empty", "empty")
    file = tmp_path / "file"
    file.write_text("text")
    refused(file, "file")
    for number, text in enumerate(("[]", "{}", "null", '{"format": "other", "sha256": ""}', "\xff")):
        foreign = tmp_path / f"foreign{number}"
        foreign.mkdir()
        (foreign / "manifest.json").write_text(text, encoding="latin-1")
        refused(foreign, "manifest.json")


def test_an_index_of_a_later_format_asks_for_an_update(copied: Path) -> None:
    document = manifest_document(read_manifest(copied))
    document["version"] = 99
    (copied / "manifest.json").write_text(json.dumps(document))
    assert "update embedworks" in refused(copied, "manifest.json")


def test_an_index_of_an_earlier_format_asks_to_be_built_again(copied: Path) -> None:
    document = manifest_document(read_manifest(copied))
    document["version"] = 2
    (copied / "manifest.json").write_text(json.dumps(document))
    assert "build the index again" in refused(copied, "manifest.json")


def test_a_manifest_that_names_a_file_outside_is_refused(copied: Path) -> None:
    document = manifest_document(read_manifest(copied))
    document["segments"][0]["files"]["vectors"]["name"] = "../elsewhere.npy"
    document["sha256"] = manifest._seal(
        {name: document[name] for name in document if name not in {"format", "version", "sha256"}}
    )
    (copied / "manifest.json").write_text(json.dumps(document))
    assert "outside" in refused(copied, "elsewhere.npy")
