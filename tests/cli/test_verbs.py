"""Every command of the README works as written, and ``--json -`` writes one document and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from embedworks.index import Index


def _document(outcome) -> dict:
    assert outcome.code == 0, outcome
    return json.loads(outcome.out)


def test_methods(run) -> None:
    names = [entry["name"] for entry in _document(run("methods", "--json", "-"))["methods"]]
    assert {"contrastive", "pooling-and-attention"} <= set(names)
    assert "contrastive" in run("methods").out


def test_fit_then_encode_index_search(run, pairs_file: Path, items_file: Path, tmp_path: Path) -> None:
    fitted = _document(
        run(
            "fit",
            pairs_file,
            "--method",
            "contrastive",
            "--out",
            tmp_path / "model",
            "--max-minutes",
            "0.1",
            "--json",
            "-",
        )
    )
    assert fitted["dimension"] == 384
    assert (tmp_path / "model" / "model.safetensors").is_file()

    report = _document(run("encode", tmp_path / "model", items_file, "--out", tmp_path / "vectors.npy", "--json", "-"))
    vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.shape == (60, 384)
    assert report["texts"] == 60
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)

    built = _document(
        run("index", items_file, "--model", tmp_path / "model", "--out", tmp_path / "my.index", "--json", "-")
    )
    assert built["items"] == 60
    assert set(built["attributes"]) == {"words", "kind", "year"}

    answer = _document(
        run("search", tmp_path / "my.index", "read a file", "--where", "words > 50", "-k", "10", "--json", "-")
    )
    assert len(answer["hits"]) == 10
    assert all(hit["attributes"]["words"] > 50 for hit in answer["hits"])
    assert answer["hits"][0]["id"].startswith("files-")
    assert answer["milliseconds"] > 0


@pytest.mark.parametrize("mode", ["vector", "lexical", "hybrid"])
def test_search_modes_find_the_topic(run, index_folder: Path, mode: str) -> None:
    answer = _document(run("search", index_folder, "rotate a picture", "--mode", mode, "-k", "5", "--json", "-"))
    assert answer["hits"][0]["id"].startswith("images-")
    rendered = run("search", index_folder, "rotate a picture", "--mode", mode)
    assert "images-" in rendered.out
    assert " ms, " in rendered.out


def test_evaluate_gives_the_published_value_and_compare_reads_it(run, data_folder: Path, tmp_path: Path) -> None:
    for name in ("run_a", "run_b"):
        outcome = run("evaluate", "minilm", "--on", "stsb-en", "--system", name, "--json", tmp_path / f"{name}.json")
        assert outcome.code == 0, outcome
    (result,) = json.loads((tmp_path / "run_a.json").read_text())["results"]
    assert result["primary"] == "spearman"
    assert abs(result["points"] - 82.03) <= 0.05, "the published value of all-MiniLM-L6-v2"
    files = (tmp_path / "run_a.json", tmp_path / "run_b.json")
    (comparison,) = _document(run("compare", *files, "--json", "-"))["comparisons"]
    assert [row["system"] for row in comparison["rows"]] == ["run_a", "run_b"]
    assert comparison["rows"][1]["difference"] == 0.0
    assert not comparison["rows"][1]["significant"]
    assert "stsb-en" in run("compare", *files).out


def test_data_lists_and_verifies(run, data_folder: Path) -> None:
    names = [entry["name"] for entry in _document(run("data", "--json", "-"))["data_sets"]]
    assert {"stsb-en", "sts12-16", "banking77", "cranfield", "dbpedia-entity-5k"} <= set(names)
    assert _document(run("data", "stsb-en", "--json", "-"))["parts"] == {"train": 5749, "dev": 1500, "test": 1379}


def test_a_data_set_becomes_files(run, data_folder: Path, tmp_path: Path) -> None:
    written = _document(run("data", "deep-10k", "--out", tmp_path / "deep", "--json", "-"))["written"]
    assert written == [str(tmp_path / "deep" / name) for name in ("base.npy", "query.npy")]
    assert np.load(written[0]).shape == (10_000, 96)
    refused = run("data", "--out", tmp_path / "deep")
    assert (refused.code, "name the data set to write" in refused.err) == (2, True)


def test_version(run) -> None:
    assert run("--version").out == f"embedworks {version('embedworks')}\n"


def test_help_of_every_verb(run) -> None:
    from embedworks.cli.main import verbs

    for verb in verbs([]):
        outcome = run(verb, "--help")
        assert outcome.code == 0, outcome
        assert "--help" in outcome.out


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "sentence_transformers", "faiss", "scipy.stats", "sklearn", "fastapi", "pandas")
    for statement in ("import embedworks", "import embedworks.api", "from embedworks.cli.main import verbs; verbs([])"):
        code = f"{statement}; import sys; print([name for name in {heavy!r} if name in sys.modules])"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == "[]", statement


def test_help_stays_quick() -> None:
    """A bound far above the figure in the docs, so that only a heavy import can break it, not a busy machine."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "embedworks", "--help"], capture_output=True, check=True)
    assert time.perf_counter() - start < 4


def test_vectors_that_are_there_are_indexed_and_a_search_explains_itself(run, items_file: Path, tmp_path: Path) -> None:
    made = _document(run("encode", "minilm", items_file, "--out", tmp_path / "vectors.npy", "--json", "-"))
    np.save(tmp_path / "half.npy", np.load(tmp_path / "vectors.npy").astype(np.float16))
    built = _document(
        run("index", items_file, "--vectors", tmp_path / "half.npy", "--out", tmp_path / "my.index", "--json", "-")
    )
    assert built["items"] == made["texts"] == 60
    question = ("search", tmp_path / "my.index", "read a file", "--where", "words > 50", "-k", "5", "--explain")
    answer = _document(run(*question, "--json", "-"))
    assert answer["hits"][0]["id"].startswith("files-")
    explained = answer["explanation"]
    assert explained["selectivity"]["true"] == explained["selectivity"]["estimated"] == answer["passing"] / 60
    assert explained["compared"]["vectors"] > 0
    assert {"filter", "terms", "search", "fusion"} <= set(explained["milliseconds"])
    shown = run(*question).out
    assert "selectivity" in shown
    assert "recall       exact" in shown


@pytest.mark.parametrize("storage", ["float16", "int8", "pq"])
def test_an_index_keeps_vectors_as_it_is_told(run, items_file: Path, tmp_path: Path, storage: str) -> None:
    generator = np.random.default_rng(0)
    np.save(tmp_path / "vectors.npy", generator.standard_normal((60, 384)).astype(np.float32))
    out = tmp_path / "kept.index"
    built = run("index", items_file, "--vectors", tmp_path / "vectors.npy", "--storage", storage, "--out", out)
    assert built.code == 0, built
    assert Index.open(out).storage == storage


def test_vectors_of_another_number_are_refused(run, items_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.ones((3, 384), dtype=np.float32))
    refused = run("index", items_file, "--vectors", tmp_path / "few.npy", "--out", tmp_path / "my.index")
    assert refused.code == 2
    assert "one vector a row" in refused.err
    assert not (tmp_path / "my.index").exists()
