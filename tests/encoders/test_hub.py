"""Names on the Hub: resolved without a network to one clear line; snapshots without pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from embedworks.encoders import load
from embedworks.encoders.hub import locate_model
from embedworks.foundation import InputError, StorageError


@pytest.mark.parametrize("name", ["no-organisation/no-model", "no-such-model"])
def test_an_id_that_cannot_be_reached_gives_one_line(name: str) -> None:
    with pytest.raises(InputError, match="not a local directory, and the Hugging Face Hub gave no") as caught:
        load(name)
    assert "\n" not in str(caught.value)
    assert "minilm" in str(caught.value)


@pytest.mark.parametrize("name", ["a/b/c", "./model", "/no/such", "../model", "owner/", "sp ace", "", "owner/../x"])
def test_what_is_no_id_is_a_missing_directory(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, StorageError)):
        load(name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bert_directory: Path) -> Path:
    """A stand-in for the Hub's cache: blobs beside a snapshot of links, as huggingface_hub lays it out."""
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / "0123456789abcdef"
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(bert_directory.iterdir())):
        (repository / "blobs" / str(number)).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    asked: list[Any] = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr(locate_model, "asked", asked, raising=False)
    return snapshot


def test_a_snapshot_of_links_into_its_own_repository_loads(hub: Path) -> None:
    encoder = load("owner/name")
    assert (encoder.name, encoder.base_model, encoder.dimension) == ("owner/name", "owner/name", 32)
    name, patterns = locate_model.asked[0]  # type: ignore[attr-defined]
    assert name == "owner/name"
    assert not any(pattern.endswith((".bin", ".pt", ".pkl", "*")) for pattern in patterns)


def test_a_bare_name_means_sentence_transformers(hub: Path) -> None:
    locate_model("some-model")
    assert locate_model.asked[0][0] == "sentence-transformers/some-model"  # type: ignore[attr-defined]


def test_a_snapshot_with_a_link_out_of_its_repository_is_refused(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.json").write_text("{}")
    (hub / "extra.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(StorageError, match="leads out"):
        load("owner/name")


def test_a_repository_without_safetensors_is_refused(hub: Path) -> None:
    (hub / "model.safetensors").unlink()
    with pytest.raises(StorageError, match=r"no safetensors weights.*convert it"):
        load("owner/name")


def test_offline_mode_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *, allow_patterns: list[str]) -> str:
        raise OfflineModeIsEnabled("offline\nmode")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(InputError, match="OfflineModeIsEnabled"):
        locate_model("owner/name")
