"""The log of arrivals: what counts as new, what other processes append, and what a cut-off write leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import LOCAL_FILES, FileOperations, StorageError
from embedworks.serving.papers.arrivals import Arrivals


class FullDisk(FileOperations):
    """Fails at one effect as a full disk does."""

    def __init__(self, fail_at: int) -> None:
        self.left = fail_at

    def before(self, effect: str, path: Path) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(28, f"no space for {effect}", str(path))


def test_what_was_there_first_is_not_new_and_what_came_later_is(tmp_path: Path) -> None:
    log = Arrivals(tmp_path / "log.jsonl", files=LOCAL_FILES)
    assert log.look(["a", "b"])
    assert (len(log), log.since(1)) == (1, set())
    assert not log.look(["b", "a"])
    assert log.look(["a", "c"])  # b was deleted and c came
    assert (log.since(1), log.since(0), log.since(9)) == ({"c"}, {"a", "b", "c"}, set())
    assert not log.look(["a", "b", "c"])  # b is back, and not new


def test_an_empty_index_has_a_first_look_too(tmp_path: Path) -> None:
    log = Arrivals(tmp_path / "log.jsonl", files=LOCAL_FILES)
    assert log.look([])
    assert log.look(["a"])
    assert log.since(1) == {"a"}


def test_two_processes_see_what_the_other_logged(tmp_path: Path) -> None:
    one, other = (Arrivals(tmp_path / "log.jsonl", files=LOCAL_FILES) for _ in range(2))
    one.look(["a"])
    assert not other.look(["a"])
    other.look(["a", "b"])
    assert not one.look(["a", "b"])
    assert one.since(1) == other.since(1) == {"b"}


def test_a_line_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    Arrivals(path, files=LOCAL_FILES).look(["a"])
    with path.open("ab") as stream:
        stream.write(b'["b", "c')
    log = Arrivals(path, files=LOCAL_FILES)
    assert len(log) == 1
    assert log.look(["a", "b", "c", "d"])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [["a"], ["b", "c", "d"]]


@pytest.mark.parametrize("line", [b"nothing\n", b"{}\n", b"[1]\n", b'"a"\n'])
def test_a_damaged_log_is_refused_and_says_how_to_mend_it(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'["a"]\n' + line)
    with pytest.raises(StorageError, match="remove the file"):
        Arrivals(path, files=LOCAL_FILES)


@pytest.mark.parametrize("fail_at", range(1, 8))
def test_a_full_disk_loses_nothing_that_was_logged(tmp_path: Path, fail_at: int) -> None:
    path = tmp_path / "log.jsonl"
    Arrivals(path, files=LOCAL_FILES).look(["a"])
    with path.open("ab") as stream:
        stream.write(b'["cut')
    try:
        Arrivals(path, files=FullDisk(fail_at)).look(["a", "b"])
    except OSError:
        assert Arrivals(path, files=LOCAL_FILES).since(0) >= {"a"}
    log = Arrivals(path, files=LOCAL_FILES)
    log.look(["a", "b"])
    assert (len(log), log.since(1)) == (2, {"b"})


@given(st.lists(st.sets(st.text(max_size=3), max_size=4), min_size=1, max_size=6))
def test_every_id_arrives_once(tmp_path_factory: pytest.TempPathFactory, looks: list[set[str]]) -> None:
    path = tmp_path_factory.mktemp("arrivals") / "log.jsonl"
    seen: list[set[str]] = []
    for ids in looks:
        Arrivals(path, files=LOCAL_FILES).look(sorted(ids))  # every look by a process of its own
        new = ids - set().union(*seen)
        if new or not seen:
            seen.append(new)
    log = Arrivals(path, files=LOCAL_FILES)
    assert len(log) == len(seen)
    assert [log.since(batch) for batch in range(len(seen))] == [
        set().union(*seen[batch:]) for batch in range(len(seen))
    ]
