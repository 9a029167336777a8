"""Settings refuse what would refuse everything, and keys are read where no other user can."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedworks.foundation import InputError
from embedworks.serving import ServerSettings, read_api_key


@pytest.mark.parametrize("name", ["body_bytes", "items", "queue_tokens", "deadline_s", "results"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_are_greater_than_nothing(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        ServerSettings(**{name: value})


def test_a_batch_fits_the_queue() -> None:
    with pytest.raises(InputError, match="batch_tokens"):
        ServerSettings(batch_tokens=11, queue_tokens=10)


def test_the_key_comes_from_the_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    monkeypatch.delenv("EMBEDWORKS_API_KEY", raising=False)
    assert read_api_key() is None
    assert read_api_key(file) == "from-file"
    monkeypatch.setenv("EMBEDWORKS_API_KEY", "from-environment")
    assert read_api_key() == "from-environment"
    assert read_api_key(file) == "from-file"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"\xff\xfe", "ключ".encode(), b"a\nb"])
def test_an_unusable_key_is_refused_without_being_shown(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_api_key(file)
    assert "two words" not in str(caught.value)
    with pytest.raises(InputError):
        read_api_key(tmp_path / "missing")


def test_an_empty_key_in_the_environment_is_no_open_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDWORKS_API_KEY", "")
    with pytest.raises(InputError):
        read_api_key()
    with pytest.raises(InputError):
        ServerSettings(api_key="")
