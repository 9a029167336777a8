"""Results: round trips, and figures that contradict their units are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.evaluation.result import Result, hash_of, read_results, write_results
from embedworks.foundation import InputError


def make(values: list[float], **changes: object) -> Result:
    fields: dict[str, object] = {
        "system": "s",
        "data_set": "d",
        "task": "retrieval",
        "metrics": {"ndcg@10": sum(values) / len(values)},
        "primary": "ndcg@10",
        "unit_ids": [f"q{row}" for row in range(len(values))],
        "per_unit": {"ndcg@10": values},
        "data_hash": "h",
        "details": {"queries_without_relevant": 1},
    }
    return Result(**(fields | changes))  # type: ignore[arg-type]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_json_round_trip(values: list[float]) -> None:
    result = make(values)
    again = Result.from_json(json.loads(json.dumps(result.to_json())))
    assert again == result


def test_file_round_trip(tmp_path: Path) -> None:
    first, second = make([0.5, 1.0]), make([0.25], data_set="e")
    write_results(tmp_path / "run.json", [first, second])
    assert read_results(tmp_path / "run.json") == [first, second]
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["results"][0]["points"] == 75.0
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"], "no temporary file is left"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"ndcg@10": 0.9}}, "the value is 0.9, but the units give 0.5"),
        ({"metrics": {"spearman": 0.9}, "primary": "spearman"}, "cannot be computed from the per-unit values"),
        ({"primary": "mrr@10"}, "not among the metrics"),
        ({"unit_ids": ["a", "a"]}, "unit ids repeat"),
        ({"unit_ids": ["a"]}, "1 units but 2 values"),
        ({"unit_ids": [], "per_unit": {"ndcg@10": []}}, "there is no unit"),
        ({"per_unit": {"ndcg@10": [0.5, float("nan")]}}, "not finite"),
        ({"task": "guessing"}, "is no task"),
    ],
)
def test_unsound_results_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make([0.0, 1.0], **changes)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("kind",), "other", "no results file"),
        (("schema",), 2, "schema 2 is not known"),
        (("results",), {}, "results: is dict, not an array"),
        (("results", 0, "system"), 3, "result 0, system: is int, not a text"),
        (("results", 0, "metrics"), [], "metrics: is list, not an object"),
        (("results", 0, "metrics", "ndcg@10"), True, "is bool, not a number"),
        (("results", 0, "per_unit", "ndcg@10", 1), "x", r"entry 1: is str, not a number"),
        (("results", 0, "per_unit", "ndcg@10"), 1, "is int, not an array"),
        (("results", 0, "unit_ids", 0), None, "entry 0: is NoneType, not a text"),
        (("results", 0), 1, "is no JSON object"),
        (("results", 0, "details"), None, "details: is NoneType, not an object"),
    ],
)
def test_altered_files_are_refused_with_their_place(tmp_path: Path, path: tuple, value: object, message: str) -> None:
    file = tmp_path / "run.json"
    write_results(file, [make([0.5, 1.0])])
    document = json.loads(file.read_text())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=message) as caught:
        read_results(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"null"])
def test_files_that_are_no_results_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json"):
        read_results(tmp_path / "run.json")


def test_a_missing_field_and_a_missing_file_are_named(tmp_path: Path) -> None:
    document = make([1.0]).to_json()
    del document["data_hash"]
    with pytest.raises(InputError, match="'data_hash' is missing"):
        Result.from_json(document)
    with pytest.raises(InputError, match="no such file"):
        read_results(tmp_path / "none.json")


def test_hash_depends_on_columns_order_and_borders() -> None:
    assert hash_of(["a", "b"]) == hash_of(iter(["a", "b"]))
    hashes = {hash_of(["a", "b"]), hash_of(["b", "a"]), hash_of(["ab"]), hash_of(["a"], ["b"]), hash_of(["a", "b"], [])}
    assert len(hashes) == 5
