"""Files of vectors: whole or absent, resumed after a kill at any effect, refused to another run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedworks.encoders.engine import encode_texts, encode_to_file
from embedworks.foundation import FileOperations, InputError, NonFiniteError, StorageError

WINDOW = 16
TEXTS = [f"stone {row % 30} " + "river " * (row % 7) for row in range(60)]


class Killed(BaseException):
    """The process ends here."""


class Counting(FileOperations):
    """Counts effects and ends the process, or fails, before a chosen one."""

    def __init__(self, *, stop_before: int = -1, ending: BaseException | None = None) -> None:
        self.effects: list[tuple[str, str]] = []
        self._stop_before = stop_before
        self._ending = ending or Killed()

    def before(self, effect: str, path: Path) -> None:
        if len(self.effects) == self._stop_before:
            raise self._ending
        self.effects.append((effect, path.name))


def rows_computed(model: SentenceTransformer) -> list[int]:
    """Return a list that grows by the number of rows of every forward pass."""
    counts: list[int] = []
    model[0].register_forward_hook(lambda _module, inputs, _output: counts.append(len(inputs[0]["input_ids"])))
    return counts


def acknowledged(folder: Path) -> int:
    journal = folder / ".v.npy.journal"
    if not journal.exists():
        return 0
    lines = journal.read_text().splitlines()[1:]
    return json.loads(lines[-1].partition(" ")[2])["stop"] if lines else 0


def run(model: SentenceTransformer, folder: Path, **settings: object) -> object:
    return encode_to_file(model, TEXTS, folder / "v.npy", precision="float32", window=WINDOW, **settings)


@pytest.fixture
def whole(model: SentenceTransformer, tmp_path: Path) -> bytes:
    """The bytes of an uninterrupted run."""
    folder = tmp_path / "whole"
    folder.mkdir()
    run(model, folder)
    return (folder / "v.npy").read_bytes()


def test_a_file_holds_what_an_array_would(model: SentenceTransformer, tmp_path: Path) -> None:
    report = run(model, tmp_path)
    expected, in_memory = encode_texts(model, TEXTS, precision="float32", window=WINDOW)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy", mmap_mode="r"), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]
    assert (report.texts, report.tokens, report.duplicates) == (60, in_memory.tokens, in_memory.duplicates)
    assert report.resumed == 0
    assert 0 < report.assembly_seconds < report.seconds


def test_a_generator_and_nothing_at_all_make_files_too(
    model: SentenceTransformer, tmp_path: Path, whole: bytes
) -> None:
    encode_to_file(model, iter(TEXTS), tmp_path / "g.npy", precision="float32", window=WINDOW)
    assert (tmp_path / "g.npy").read_bytes() == whole
    for name, nothing in (("l.npy", []), ("i.npy", iter([]))):
        report = encode_to_file(model, nothing, tmp_path / name)
        assert np.load(tmp_path / name).shape == (0, 64)
        assert report.texts == 0


@pytest.mark.parametrize("drawn_once", [False, True])
def test_a_kill_before_any_effect_loses_nothing_acknowledged(
    model: SentenceTransformer, tmp_path: Path, whole: bytes, drawn_once: bool
) -> None:
    def attempt(folder: Path, files: FileOperations) -> object:
        texts = iter(TEXTS) if drawn_once else TEXTS
        return encode_to_file(model, texts, folder / "v.npy", precision="float32", window=WINDOW, files=files)

    recording = Counting()
    (tmp_path / "count").mkdir()
    attempt(tmp_path / "count", recording)
    assert len(recording.effects) > 24
    computed = rows_computed(model)
    for effect in range(len(recording.effects)):
        folder = tmp_path / f"kill-{effect}"
        folder.mkdir()
        with pytest.raises(Killed):
            attempt(folder, Counting(stop_before=effect))
        done = acknowledged(folder)
        existed = (folder / "v.npy").exists()
        if existed:
            assert (folder / "v.npy").read_bytes() == whole
        computed.clear()
        if existed and not (folder / ".v.npy.journal").exists():
            with pytest.raises(InputError, match="exists already"):
                attempt(folder, FileOperations())
            continue
        report = attempt(folder, FileOperations())
        assert report.resumed == done
        assert sum(computed) == len(set(TEXTS)) - len(set(TEXTS[:done]))
        assert (folder / "v.npy").read_bytes() == whole
        assert [path.name for path in folder.iterdir()] == ["v.npy"]


@pytest.mark.parametrize("effect", [0, 5, 9, 14])
def test_a_full_disk_is_an_error_and_the_run_goes_on_later(
    model: SentenceTransformer, tmp_path: Path, whole: bytes, effect: int
) -> None:
    with pytest.raises(OSError, match="No space"):
        run(model, tmp_path, files=Counting(stop_before=effect, ending=OSError(28, "No space left on device")))
    run(model, tmp_path)
    assert (tmp_path / "v.npy").read_bytes() == whole


@pytest.mark.parametrize("kept", range(0, 80, 7))
def test_a_torn_journal_record_is_dropped(model: SentenceTransformer, tmp_path: Path, whole: bytes, kept: int) -> None:
    with pytest.raises(Killed):
        run(model, tmp_path, files=Counting(stop_before=16))
    journal = tmp_path / ".v.npy.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) >= 3
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:kept])
    report = run(model, tmp_path)
    assert report.resumed == acknowledged_stop(lines[-2])
    assert (tmp_path / "v.npy").read_bytes() == whole


def acknowledged_stop(line: bytes) -> int:
    return int(json.loads(line.partition(b" ")[2])["stop"])


def test_rows_that_were_never_synced_are_computed_again(
    model: SentenceTransformer, tmp_path: Path, whole: bytes
) -> None:
    """A power cut takes what was not synced: everything beyond the acknowledged rows may hold anything."""
    with pytest.raises(Killed):
        run(model, tmp_path, files=Counting(stop_before=16))
    partial = tmp_path / ".v.npy.partial"
    content = bytearray(partial.read_bytes())
    beyond = 128 + acknowledged(tmp_path) * 64 * 4
    content[beyond:] = b"\xff" * (len(content) - beyond)
    partial.write_bytes(content)
    run(model, tmp_path)
    assert (tmp_path / "v.npy").read_bytes() == whole


@pytest.mark.parametrize("damage", ["rows", "short", "journal", "version"])
def test_damage_is_refused_unless_it_may_be_overwritten(
    model: SentenceTransformer, tmp_path: Path, whole: bytes, damage: str
) -> None:
    with pytest.raises(Killed):
        run(model, tmp_path, files=Counting(stop_before=16))
    partial, journal = tmp_path / ".v.npy.partial", tmp_path / ".v.npy.journal"
    if damage == "rows":
        content = bytearray(partial.read_bytes())
        content[200] ^= 1
        partial.write_bytes(content)
    elif damage == "short":
        partial.write_bytes(partial.read_bytes()[:140])
    elif damage == "journal":
        content = bytearray(journal.read_bytes())
        content[len(content) // 2] ^= 1
        journal.write_bytes(content)
    else:
        from embedworks.encoders.engine.journal import _line, _record

        header, *rest = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(_line(_record(header.rstrip()) | {"version": 9}) + b"".join(rest))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(StorageError):
        run(model, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    run(model, tmp_path, overwrite=True)
    assert (tmp_path / "v.npy").read_bytes() == whole


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"texts": [*TEXTS[:-1], "another"]}, "other texts"),
        ({"texts": TEXTS[:-1]}, "other count and texts"),
        ({"texts": iter(TEXTS)}, "other count and texts"),
        ({"prompt": "query: "}, "other prompt"),
        ({"overflow": "chunk"}, "other overflow"),
        ({"precision": "auto"}, "other precision"),
        ({"batch_tokens": 77}, "other batch_tokens"),
        ({"window": 32}, "other window"),
        ({"model": "trained"}, "other model"),
        ({"model": "shorter"}, "other model"),
    ],
)
def test_another_run_cannot_go_on_with_this_one(
    model: SentenceTransformer, tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(Killed):
        run(model, tmp_path, files=Counting(stop_before=16))
    settings: dict[str, object] = {"precision": "float32", "window": WINDOW, **changed}
    texts = settings.pop("texts", TEXTS)
    if settings.get("model") == "trained":
        with torch.no_grad():
            model[0].model.encoder.layer[1].output.dense.bias[3] += 1e-3
    elif settings.get("model") == "shorter":
        model.max_seq_length = 20
    settings.pop("model", None)
    with pytest.raises(InputError, match=f"an unfinished run with {said} has begun this file"):
        encode_to_file(model, texts, tmp_path / "v.npy", **settings)
    texts = TEXTS if not isinstance(texts, list) else texts
    encode_to_file(model, texts, tmp_path / "v.npy", overwrite=True, **settings)
    expected, _ = encode_texts(model, texts, **settings)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), expected)


@pytest.mark.parametrize("texts", [["another", *TEXTS[1:]], TEXTS[:3]])
def test_other_texts_drawn_once_are_refused_where_they_differ(
    model: SentenceTransformer, tmp_path: Path, texts: list[str]
) -> None:
    with pytest.raises(Killed):
        encode_to_file(model, iter(TEXTS), tmp_path / "v.npy", window=WINDOW, files=Counting(stop_before=16))
    with pytest.raises(InputError, match="unfinished run"):
        encode_to_file(model, iter(texts), tmp_path / "v.npy", window=WINDOW)


def test_a_finished_file_is_left_alone(model: SentenceTransformer, tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    run(model, tmp_path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        encode_to_file(model, ["other"], path)
    assert path.read_bytes() == before
    encode_to_file(model, ["other"], path, overwrite=True)
    assert np.load(path).shape == (1, 64)


def test_non_finite_vectors_leave_no_file(model: SentenceTransformer, tmp_path: Path) -> None:
    poison = model.tokenizer.convert_tokens_to_ids("poison")
    with torch.no_grad():
        model[0].model.embeddings.word_embeddings.weight[poison] = torch.inf
    with pytest.raises(NonFiniteError, match="rows 50"):
        encode_to_file(model, [*TEXTS[:50], "poison"], tmp_path / "v.npy", window=WINDOW)
    assert not (tmp_path / "v.npy").exists()


def test_the_directory_must_exist(model: SentenceTransformer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory does not exist"):
        encode_to_file(model, ["a"], tmp_path / "no" / "v.npy")
    with pytest.raises(InputError, match="is a directory"):
        encode_to_file(model, ["a"], tmp_path, overwrite=True)


def test_a_refusal_leaves_nothing_behind(model: SentenceTransformer, tmp_path: Path) -> None:
    for texts, settings in ((["a", None], {}), (["stone " * 99], {"overflow": "error"})):
        with pytest.raises(InputError):
            encode_to_file(model, texts, tmp_path / "v.npy", **settings)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("begun", [False, True])
def test_two_processes_cannot_write_one_file(
    model: SentenceTransformer, tmp_path: Path, whole: bytes, overwrite: bool, begun: bool
) -> None:
    import fcntl

    if begun:
        with pytest.raises(Killed):
            run(model, tmp_path, files=Counting(stop_before=16))
    with (tmp_path / ".v.npy.partial").open("a+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        with pytest.raises(StorageError, match="another process"):
            run(model, tmp_path, overwrite=overwrite)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    run(model, tmp_path)
    assert (tmp_path / "v.npy").read_bytes() == whole


KILLED_RUNS = """
import json, os, signal, sys
from pathlib import Path
from sentence_transformers import SentenceTransformer
from embedworks.encoders.engine import encode_to_file
from embedworks.foundation import FileOperations

class Kill(FileOperations):
    count = 0

    def __init__(self, effect, file, occurrence):
        self.wanted, self.occurrence = (effect, file), occurrence

    def before(self, effect, path):
        self.count += (effect, path.name) == self.wanted
        if self.count == self.occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

model = SentenceTransformer(sys.argv[1], device="cpu")
root = Path(sys.argv[2])
texts = json.loads((root / "texts.json").read_text())
for number, point in enumerate(json.loads(sys.argv[3])):
    folder = root / str(number)
    folder.mkdir()
    child = os.fork()
    if not child:
        encode_to_file(model, texts, folder / "v.npy", precision="float32", window=16, files=Kill(*point))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, (point, status)
"""
KILL_POINTS = [
    ("append", ".v.npy.journal", 1),  # the rows of the first window are on the disk, the journal does not know
    ("append", ".v.npy.journal", 4),
    ("sync", ".v.npy.journal", 3),  # the record is written, not synced
    ("sync", ".v.npy.partial", 5),  # the rows are mapped, not synced
    ("rename", "v.npy", 1),
]


def test_sigkill_and_reopen(tiny_directory: Path, model: SentenceTransformer, tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "TOKENIZERS_PARALLELISM": "false"}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_RUNS, str(tiny_directory), str(tmp_path), json.dumps(KILL_POINTS)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    computed = rows_computed(model)
    already = []
    for number in range(len(KILL_POINTS)):
        folder = tmp_path / str(number)
        assert not (folder / "v.npy").exists()
        already.append(acknowledged(folder))
        computed.clear()
        report = run(model, folder)
        assert report.resumed == already[-1]
        assert sum(computed) == len(set(TEXTS)) - len(set(TEXTS[: already[-1]]))
        assert (folder / "v.npy").read_bytes() == whole
    # First window 4 texts, then 16 each. A kill of the process alone does not take written bytes from the page cache.
    assert already == [0, 36, 20, 36, 60]
