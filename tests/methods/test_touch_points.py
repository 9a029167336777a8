"""Every method has the touch points CONTRIBUTING names: settings, test, page, measured result, changelog line."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from embedworks.methods import Report, find_method, method_names

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", method_names())
def test_a_method_has_its_touch_points(name: str) -> None:
    module_name = name.replace("-", "_")
    method = find_method(name)
    assert method.SUMMARY.strip()
    assert "\n" not in method.SUMMARY
    assert isinstance(method.PAPER, str)
    assert dataclasses.is_dataclass(method.Config)
    assert method.Config.__dataclass_params__.frozen
    assert isinstance(method.Config.small(), method.Config)
    assert list(inspect.signature(method.reproduce).parameters) == ["scale", "progress"]
    assert (ROOT / "tests" / "methods" / f"test_{module_name}.py").is_file()
    page = (ROOT / "docs" / "methods" / f"{name}.md").read_text()
    assert "<!-- results:" in page
    assert f"methods/{name}.md" in (ROOT / "mkdocs.yml").read_text()
    assert f"`{name}`" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", method_names())
def test_the_committed_result_is_a_full_run_of_the_method(name: str) -> None:
    report = Report.read(ROOT / "results" / f"{name}.json")
    assert report.method == name
    assert report.scale == "default"
    assert len(set(report.seeds)) >= 3
    assert report.findings


@pytest.mark.parametrize("name", method_names())
def test_every_setting_is_documented(name: str) -> None:
    config = find_method(name).Config
    source = inspect.getsource(config)
    for field in dataclasses.fields(config):
        after = source.split(f"{field.name}:", 1)[1]
        assert '"""' in after.split("\n", 2)[1], f"{name}: setting {field.name} has no docstring under it"
