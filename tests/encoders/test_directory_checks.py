"""What makes a directory unsafe, file by file."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from embedworks.encoders.directory_checks import check_model_directory, is_pickle, module_entries
from embedworks.foundation import StorageError, staged_directory


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["weights", "vocab.txt", "model.safetensors", "config.json"])
def test_a_pickle_is_known_by_its_content(tmp_path: Path, protocol: int, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"a": [1.0] * 10}, protocol=protocol))
    assert is_pickle(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_known_by_its_content(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "weights", _use_new_zipfile_serialization=zipped)
    assert is_pickle(tmp_path / "weights")


@pytest.mark.parametrize("name", ["a.bin", "a.pt", "a.pth", "a.pkl", "a.PICKLE", "a.ckpt", "a.joblib"])
def test_a_pickle_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"harmless")
    assert is_pickle(tmp_path / name)


@pytest.mark.parametrize("padding", [0, 200, 300, 400, 500, 600, 700, 1000, 1200])
def test_safetensors_are_no_pickle_whatever_the_length_of_their_header(tmp_path: Path, padding: int) -> None:
    """A header of 640 bytes begins with 0x80 0x02, as a pickle of protocol 2 does."""
    path = tmp_path / "model.safetensors"
    save_file({"a": np.ones(3, dtype=np.float32)}, path, metadata={"note": "x" * padding})
    assert not is_pickle(path)


@given(length=st.integers(min_value=2, max_value=100_000_000))
def test_a_safetensors_header_of_any_length_is_no_pickle(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "header.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b'{"')
    assert not is_pickle(path)


def test_an_ordinary_archive_and_a_text_are_no_pickles(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("notes.txt", "text")
    (tmp_path / "README.md").write_text("PK and other text")
    (tmp_path / "empty").write_bytes(b"")
    assert not any(is_pickle(path) for path in tmp_path.iterdir())


def test_a_link_out_of_the_directory_is_refused_and_one_within_is_not(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (model / "config.json").write_text("{}")
    (model / "same.json").symlink_to("config.json")
    check_model_directory(model)
    (model / "out.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(StorageError, match="leads out"):
        check_model_directory(model)
    check_model_directory(model, links_within=tmp_path)


def test_a_linked_folder_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="leads out"):
        check_model_directory(tmp_path / "model")


@pytest.mark.parametrize("path", ["../elsewhere", "a/../../b", "/etc", "..\\b", "C:\\b", "a\0b"])
def test_a_module_path_out_of_the_directory_is_refused(tmp_path: Path, path: str) -> None:
    import json

    entry = {"idx": 0, "name": "0", "path": path, "type": "sentence_transformers.models.Pooling"}
    (tmp_path / "modules.json").write_text(json.dumps([entry]))
    with pytest.raises(StorageError, match="outside the model's directory"):
        module_entries(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", "[1]", '[{"name": "0"}]', "not json", "null"])
def test_a_damaged_list_of_modules_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "modules.json").write_text(content)
    with pytest.raises(StorageError, match=r"modules\.json"):
        module_entries(tmp_path)


def test_a_list_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_bytes(b"\xff\xfe[")
    with pytest.raises(StorageError, match="not readable JSON"):
        module_entries(tmp_path)


def test_our_manifest_is_verified_and_a_foreign_file_of_its_name_is_not(tmp_path: Path) -> None:
    with staged_directory(tmp_path / "model", metadata={"kind": "text-encoder"}) as staging:
        (staging / "config.json").write_text("{}")
    assert check_model_directory(tmp_path / "model") == {"kind": "text-encoder"}
    (tmp_path / "model" / "config.json").write_text("[]")
    with pytest.raises(StorageError, match="SHA-256 differs"):
        check_model_directory(tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text('{"short_name": "a web page"}')
    assert check_model_directory(tmp_path / "other") == {}
    (tmp_path / "other" / "manifest.json").write_text('{"schema_version": 1, "fi')
    with pytest.raises(StorageError):
        check_model_directory(tmp_path / "other")
