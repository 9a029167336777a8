"""Saved searches on disk: what a failing disk leaves, several writers at once, and visits in time."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embedworks.foundation import FileOperations, InputError, StorageError
from embedworks.serving.papers.saved import VISIT, SavedSearch, SavedSearches, checked_name

NOW = datetime(2026, 7, 1, 8, tzinfo=UTC)


class FullDisk(FileOperations):
    """Fails at one effect as a full disk does, and counts them all."""

    def __init__(self, fail_at: int = 0) -> None:
        self.fail_at, self.count = fail_at, 0

    def before(self, effect: str, path: Path) -> None:
        self.count += 1
        if self.count == self.fail_at:
            raise OSError(28, "No space left on device", str(path))


def search(name: str, **fields: object) -> SavedSearch:
    return SavedSearch(name=name, created=NOW, visited=NOW, since=NOW, **fields)  # type: ignore[arg-type]


def ids() -> list[str]:
    return ["a", "b"]


def add_and_change(store: SavedSearches, key: str) -> None:
    store.add(search("two"), ids)
    store.change(key, lambda known: replace(known, shown=7))


def test_a_search_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = SavedSearches(tmp_path / "saved").add(
        search("  Ünïcödé 🍎 ", query="q", where="x = 'ö'", mode="lexical"), ids
    )
    (read,) = SavedSearches(tmp_path / "saved").all()
    assert read == saved
    assert (read.name, read.seen, read.shown, read.mailed) == ("Ünïcödé 🍎", 1, 1, 1)
    assert "token" not in repr(read)
    assert len(read.token) >= 32
    assert SavedSearches(tmp_path / "saved").find(read.key) == read
    assert SavedSearches(tmp_path / "saved").find("0" * 32) is None


def test_a_failing_disk_leaves_the_old_searches_or_the_new_ones(tmp_path: Path) -> None:
    counted = FullDisk()
    whole = SavedSearches(tmp_path / "counted", files=counted)
    first = whole.add(search("one"), ids)
    before = counted.count
    add_and_change(whole, first.key)
    for fail_at in range(1, counted.count - before + 1):
        folder = tmp_path / str(fail_at)
        kept = SavedSearches(folder).add(search("one"), ids)
        failing = SavedSearches(folder, files=FullDisk(fail_at))
        with pytest.raises(StorageError, match="No space left on device"):
            add_and_change(failing, kept.key)
        left = {known.name: known.shown for known in SavedSearches(folder).all()}
        assert left in ({"one": 1}, {"one": 1, "two": 1}, {"one": 7, "two": 1})
        again = SavedSearches(folder).add(search("three"), lambda: ["a", "b", "c"])
        assert SavedSearches(folder).since(again.seen - 1) == {"c"}


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    stores = [SavedSearches(tmp_path / "saved") for _ in range(3)]
    start = threading.Barrier(12)

    def add(number: int) -> None:
        start.wait(10)
        store = stores[number % 3]
        kept = store.add(search(f"search {number}"), ids)
        store.change(kept.key, lambda known: replace(known, daily=True))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    found = SavedSearches(tmp_path / "saved").all()
    assert sorted(known.name for known in found) == sorted(f"search {number}" for number in range(12))
    assert all(known.daily for known in found)


def test_a_later_format_is_not_guessed_at(tmp_path: Path) -> None:
    store = SavedSearches(tmp_path / "saved")
    store.add(search("one"), ids)
    path = tmp_path / "saved" / "searches.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2').replace('"format":1', '"format":2'))
    with pytest.raises(StorageError, match="later version"):
        store.all()


def test_visits_are_parted_by_a_pause() -> None:
    read = search("one", seen=1, shown=1)
    first = read.visit(NOW + timedelta(days=1), 3)
    assert (first.seen, first.shown, first.since) == (1, 3, NOW)
    reload = first.visit(first.visited + VISIT, 4)
    assert (reload.seen, reload.shown, reload.since) == (1, 4, NOW)
    later = reload.visit(reload.visited + VISIT + timedelta(seconds=1), 4)
    assert (later.seen, later.shown, later.since) == (4, 4, reload.visited)


def test_names_lose_the_spaces_around_them_and_nothing_else() -> None:
    assert checked_name("  a  b ") == "a  b"
    for wrong in ("", "   ", "x" * 81, "a\tb", "a\rb", "a\x7fb", "\ud800"):
        with pytest.raises(InputError):
            checked_name(wrong)
