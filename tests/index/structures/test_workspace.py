"""Marks of threads, read-only views, and queries at the door."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from embedworks.foundation import InputError
from embedworks.index.structures.workspace import Workspace, checked_query, fixed


def test_each_thread_has_its_own_marks() -> None:
    workspace = Workspace(10)
    workspace.seen[3] = workspace.stamps(1)
    others: list[int] = []
    thread = threading.Thread(target=lambda: others.extend([int(workspace.seen[3]), workspace.stamps(1)]))
    thread.start()
    thread.join()
    assert others == [0, 1]
    assert workspace.seen[3] == 1


def test_stamps_never_meet_an_old_mark_when_they_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedworks.index.structures.workspace._LAST_STAMP", 10)
    workspace = Workspace(4)
    assert [workspace.stamps(4), workspace.stamps(4)] == [1, 5]
    workspace.seen[:] = 5
    workspace.gathered[:] = 3
    assert workspace.stamps(4) == 1
    assert not workspace.seen.any()
    assert not workspace.gathered.any()


def test_a_fixed_view_is_read_only_and_leaves_the_array_alone() -> None:
    array = np.arange(4)
    view = fixed(array)
    assert not view.flags.writeable
    assert np.shares_memory(view, array)
    array[0] = 9
    assert view[0] == 9


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        (np.ones(3), 1, "the shape is"),
        (np.ones(4), 1, "length is not 1"),
        (np.full(4, np.nan), 1, "length is not 1"),
        (np.full(4, 0.5), 0, "k is 0"),
    ],
)
def test_bad_queries_are_refused(query: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_query(query, 4, k)


def test_a_query_of_any_float_type_is_taken() -> None:
    assert checked_query(np.full(4, 0.5, dtype=np.float64), 4, 1).dtype == np.float32
