"""``inspect depth`` on one file and on two: the numbers of the library, one document, and one line for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embedworks.analysis import centre_outward_order, compare_corpora, depths


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    generator = np.random.default_rng(0)
    paths = tmp_path / "a.npy", tmp_path / "b.npy"
    np.save(paths[0], (generator.standard_normal((120, 8)) * 0.5 + 1).astype(np.float32))
    np.save(paths[1], (generator.standard_normal((80, 8)) + 1).astype(np.float16))
    return paths


def _document(outcome) -> dict:
    assert outcome.code == 0, outcome
    return json.loads(outcome.out)


@pytest.mark.parametrize("distance", ["cosine", "chord", "angular"])
def test_two_files_are_compared_in_both_directions(run, files: tuple[Path, Path], distance: str) -> None:
    found = _document(run("inspect", "depth", *files, "--distance", distance, "--json", "-"))
    compared = compare_corpora(*(np.load(path) for path in files), distance=distance)
    for name, test in (("second_in_first", compared.second_in_first), ("first_in_second", compared.first_in_second)):
        assert found[name]["q"] == pytest.approx(test.q)
        assert found[name]["q_pooled"] == pytest.approx(test.q_pooled)
        assert found[name]["w"] == pytest.approx(test.rank_sum.w)
        assert found[name]["p_one_sided"] == pytest.approx(test.rank_sum.p_one_sided)
        assert found[name]["p_two_sided"] == pytest.approx(test.rank_sum.p_two_sided)
        assert found[name]["exact_p_two_sided"] is None
        assert found[name]["permutation"]["q"] == pytest.approx(test.q)
    assert found["second_in_first"]["p_one_sided"] < 1e-6
    assert (found["first"]["rows"], found["second"]["rows"]) == (120, 80)
    assert set(found["companions"]) == {"classifier", "energy", "mmd", "rows"}


def test_one_file_is_ranked(run, files: tuple[Path, Path]) -> None:
    found = _document(run("inspect", "depth", files[0], "--json", "-"))["corpus"]
    wanted = depths(np.load(files[0]))
    order = centre_outward_order(wanted)
    assert found["median_row"] == order[0]
    assert [entry["row"] for entry in found["deepest"]] == order[:10].tolist()
    assert [entry["row"] for entry in found["most_outlying"]] == order[::-1][:10].tolist()
    assert [entry["depth"] for entry in found["deepest"]] == pytest.approx(wanted[order[:10]])


def test_small_files_get_exact_p_and_no_companions(run, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((12, 4)) + 1
    np.save(tmp_path / "a.npy", rows[:9])
    np.save(tmp_path / "b.npy", rows[9:])
    found = _document(run("inspect", "depth", tmp_path / "a.npy", tmp_path / "b.npy", "--json", "-"))
    assert 0 < found["second_in_first"]["exact_p_one_sided"] <= 1
    assert found["companions"] is None
    assert len(found["second"]["deepest"]) == 3


def test_large_files_are_sampled_where_pairs_are_needed(run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, rows in (("a", 3000), ("b", 1200)):
        np.save(tmp_path / f"{name}.npy", (generator.standard_normal((rows, 4)) + 1).astype(np.float32))
    found = _document(run("inspect", "depth", tmp_path / "a.npy", tmp_path / "b.npy", "--json", "-"))
    assert found["first"]["rows"] == 3000
    assert found["companions"]["rows"] == found["second_in_first"]["permutation"]["rows"] == [1000, 1000]
    assert abs(found["second_in_first"]["q"] - 0.5) < 0.05


def test_a_person_sees_both_directions_and_both_p(run, files: tuple[Path, Path]) -> None:
    outcome = run("inspect", "depth", *files)
    assert outcome.code == 0
    for words in ("a.npy", "median row", "most outlying", "second in first", "p two-sided", "classifier AUC"):
        assert words in outcome.out
    assert "most outlying" in run("inspect", "depth", files[0]).out


def test_repeated_rows_are_mentioned_once_beside_the_answer(run, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((20, 4)) + 1
    np.save(tmp_path / "a.npy", np.concatenate([rows, rows]))
    outcome = run("inspect", "depth", tmp_path / "a.npy", "--json", "-")
    assert _document(outcome)["corpus"]["rows"] == 40
    assert outcome.err.count("repeat another row") == 1


def _refused(outcome, *words: str) -> None:
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    (line,) = outcome.err.strip().splitlines()
    assert line.startswith("embedworks: ")
    for word in words:
        assert word in line


def test_bad_files_give_one_line(run, files: tuple[Path, Path], tmp_path: Path) -> None:
    _refused(run("inspect", "depth", tmp_path / "c.npy"), "c.npy", "is not there")
    (tmp_path / "text.npy").write_text("not an array")
    _refused(run("inspect", "depth", tmp_path / "text.npy"), "text.npy", "embedworks encode")
    (tmp_path / "short.npy").write_bytes(files[0].read_bytes()[:-10])
    _refused(run("inspect", "depth", files[0], tmp_path / "short.npy"), "short.npy")
    (tmp_path / "empty.npy").write_bytes(b"")
    _refused(run("inspect", "depth", tmp_path / "empty.npy"), "empty.npy")
    np.savez(tmp_path / "several.npz", a=np.eye(2))
    _refused(run("inspect", "depth", tmp_path / "several.npz"), "several.npz", "no .npy file of numbers")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    _refused(run("inspect", "depth", tmp_path / "objects.npy"), "objects.npy")
    np.save(tmp_path / "narrow.npy", np.ones((5, 3)))
    _refused(run("inspect", "depth", files[0], tmp_path / "narrow.npy"), "8 columns and the other 3")
    np.save(tmp_path / "one.npy", np.ones((1, 8)))
    _refused(run("inspect", "depth", tmp_path / "one.npy"), "one row")
    bad = np.load(files[0])
    bad[7, 2] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    _refused(run("inspect", "depth", files[0], tmp_path / "nan.npy"), "nan.npy, row 7", "NaN")
    np.save(tmp_path / "zero.npy", np.vstack([bad[:3], np.zeros((1, 8))]))
    _refused(run("inspect", "depth", tmp_path / "zero.npy"), "zero.npy, row 3", "zero")
