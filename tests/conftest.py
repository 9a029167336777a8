"""Fixtures for every test: no sockets beyond this machine, fixed seeds, quiet libraries, the small data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

settings.register_profile(
    "ci", derandomize=True, max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    """Refuse every socket that leaves this machine, for the whole run."""
    from pytest_socket import socket_allow_hosts

    socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the library caches out of the home directory."""
    before = os.environ.get("EMBEDWORKS_CACHE")
    os.environ["EMBEDWORKS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["EMBEDWORKS_CACHE"]
    else:
        os.environ["EMBEDWORKS_CACHE"] = before


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets; tests that need it are skipped where it does not exist."""
    folder = os.environ.get("EMBEDWORKS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("EMBEDWORKS_DATA names no folder: run through make, which sets it")
    return Path(folder)
