"""Small files for the tests of the room data."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from embedworks.data import PackageFiles


@pytest.fixture
def write_file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file under the test's folder and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
        return path

    return write


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """Lay out an installed package as pip does: modules and a RECORD; return the site-packages folder."""
    site = tmp_path / "site-packages"

    def lay_out(name: str, version: str, modules: dict[str, str | bytes], *, extra_record: str = "") -> Path:
        information = site / f"{name}-{version}.dist-info"
        information.mkdir(parents=True)
        for path, source in modules.items():
            file = site / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).encode())
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        record = "".join(f"{path},sha256=x,1\n" for path in modules) + extra_record
        (information / "RECORD").write_text(record)
        return site

    return lay_out


@pytest.fixture
def package_of(tmp_path: Path) -> Callable[..., PackageFiles]:
    """Make the file list of one package from sources, without installing it."""
    from pathlib import PurePosixPath

    def make(name: str, modules: dict[str, str]) -> PackageFiles:
        root = tmp_path / f"root-{name}"
        for path, source in modules.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(source), encoding="utf-8")
        return PackageFiles(name, "1.0", root, tuple(PurePosixPath(path) for path in modules))

    return make
