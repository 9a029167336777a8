"""Saved searches on disk: what was asked, up to where it was read, and the token of its feed."""

from __future__ import annotations

import fcntl
import json
import secrets
import threading
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from embedworks.foundation import LOCAL_FILES, FileOperations, InputError, StorageError
from embedworks.serving.papers.arrivals import Arrivals
from embedworks.serving.protocols import Mode

VISIT = timedelta(minutes=30)
"""Openings of a digest that are no further apart belong to one visit: a reload shows the same papers as new."""

MOST_SEARCHES = 100
NAME_CHARACTERS = 80
WHERE_CHARACTERS = 4_000

_FORMAT = 1
_REFUSED_SIGNS = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")  # control signs, surrogates, unassigned, line ends
_STATE, _LOG, _LOCK = "searches.json", "arrivals.jsonl", "lock"


@dataclass(frozen=True, kw_only=True)
class SavedSearch:
    """A search that is asked again.

    Args:
        key: 32 hexadecimal digits; names it in addresses and never names a file.
        name: What its reader calls it.
        query: Text, or empty for everything that passes the filter.
        mode: How the query is meant.
        where: A filter, or empty.
        created: When it was saved.
        visited: When its digest was last opened.
        seen: Batches of arrivals shown before the last visit; the digest shows what came after them.
        shown: Batches of arrivals shown by the last visit too; what came after them has never been shown.
        since: When the visit before the last one was, for people to read.
        daily: Whether its digest is mailed.
        mailed: Batches of arrivals that a mail has shown.
        mailed_at: When the last mail left.
        token: Secret part of the address of its feed.
    """

    name: str
    created: datetime
    visited: datetime
    since: datetime
    query: str = ""
    mode: Mode = "vector"
    where: str = ""
    seen: int = 0
    shown: int = 0
    daily: bool = False
    mailed: int = 0
    mailed_at: datetime | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def visit(self, now: datetime, batches: int) -> SavedSearch:
        """Return the search after its digest was opened, with ``batches`` arrivals shown."""
        if now - self.visited > VISIT:
            return replace(self, seen=self.shown, since=self.visited, shown=batches, visited=now)
        return replace(self, shown=batches, visited=max(now, self.visited))

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


def checked_name(name: str) -> str:
    """Return a name without spaces around it.

    Raises:
        InputError: It is empty, too long, or holds signs that no line of text has.
    """
    name = " ".join(name.split(" ")).strip()
    if not name or len(name) > NAME_CHARACTERS:
        raise InputError(f"has {len(name)} characters", where="name", mend=f"use 1 to {NAME_CHARACTERS}")
    if any(unicodedata.category(sign) in _REFUSED_SIGNS for sign in name):
        raise InputError("holds a sign that is not for reading", where="name", mend="use letters, digits, punctuation")
    return name


class SavedSearches:
    """The folder of saved searches and arrivals; several threads and processes may use it at once.

    Nothing is written before the first search is saved.

    Args:
        folder: The folder; it is made when it is needed.
        files: The file effects; tests pass one that fails.
    """

    def __init__(self, folder: Path, *, files: FileOperations = LOCAL_FILES) -> None:
        self._folder, self._files = folder, files
        self._thread_lock = threading.Lock()
        self._arrivals: Arrivals | None = None

    def all(self) -> list[SavedSearch]:
        """Return the searches in the order of their saving.

        Raises:
            StorageError: The file is damaged.
        """
        path = self._folder / _STATE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["format"] != _FORMAT:
                raise StorageError("is of a later version", where=str(path), mend="update embedworks")
            return [_search(fields) for fields in document["searches"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError("is damaged", where=str(path), mend="restore it from a copy, or remove it") from error

    def find(self, key: str) -> SavedSearch | None:
        """Return the search with a key, or None."""
        return next((search for search in self.all() if search.key == key), None)

    def look(self, ids: Callable[[], list[str]]) -> int:
        """Log what has arrived, if anybody has saved a search; return the number of batches so far."""
        if not (self._folder / _STATE).is_file():
            return 0
        with self._locked():
            arrivals = self._log()
            arrivals.look(ids())
            return len(arrivals)

    def since(self, batches: int) -> set[str]:
        """Return the ids that arrived after the first ``batches`` looks."""
        with self._thread_lock:
            arrivals = self._log()
            return arrivals.since(min(batches, len(arrivals)))

    def add(self, search: SavedSearch, ids: Callable[[], list[str]]) -> SavedSearch:
        """Save a search; when this returns it is durable, and all that is in the index now counts as seen.

        Args:
            search: The search; its name is checked here.
            ids: Gives the ids of all live rows.

        Raises:
            InputError: The name cannot be used or is taken, or there are too many.
            StorageError: The folder cannot be written to.
        """
        name = checked_name(search.name)
        with self._locked():
            searches = self.all()
            if len(searches) >= MOST_SEARCHES:
                raise InputError(f"{MOST_SEARCHES} searches are saved already", where="name", mend="delete one first")
            if any(other.name.casefold() == name.casefold() for other in searches):
                raise InputError("a search of this name is saved already", where="name", mend="choose another name")
            arrivals = self._log()
            arrivals.look(ids())
            marks = len(arrivals)
            saved = replace(search, name=name, seen=marks, shown=marks, mailed=marks)
            self._write([*searches, saved])
        return saved

    def change(self, key: str, change: Callable[[SavedSearch], SavedSearch | None]) -> SavedSearch | None:
        """Change one search durably.

        Args:
            key: Its key.
            change: Returns the search as it is to be, or None to delete it.

        Returns:
            The search as it is now or was when it was deleted; None if there is none with this key.
        """
        with self._locked():
            searches = self.all()
            place = next((place for place, search in enumerate(searches) if search.key == key), None)
            if place is None:
                return None
            changed = change(searches[place])
            self._write([*searches[:place], *([] if changed is None else [changed]), *searches[place + 1 :]])
            return changed or searches[place]

    def _write(self, searches: list[SavedSearch]) -> None:
        document = {"format": _FORMAT, "searches": [search.document() for search in searches]}
        self._files.replace_json(self._folder / _STATE, document)

    def _log(self) -> Arrivals:
        if self._arrivals is None:
            self._arrivals = Arrivals(self._folder / _LOG, files=self._files)
        return self._arrivals

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._thread_lock:
                if not self._folder.is_dir():
                    self._files.make_directory(self._folder)
                    self._folder.chmod(0o700)  # the tokens of feeds are in it
                with (self._folder / _LOCK).open("a") as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX)
                    yield
        except OSError as error:
            # Whether the log got its line is uncertain now; it is read again from the disk.
            self._arrivals = None
            mend = "make the folder writable, or name another one in EMBEDWORKS_SAVED_SEARCHES"
            raise StorageError(f"cannot be written to: {error.strerror}", where=str(self._folder), mend=mend) from error


def _search(fields: dict[str, Any]) -> SavedSearch:
    moments = {name: _moment(fields[name]) for name in ("created", "visited", "since")}
    mailed_at = None if fields["mailed_at"] is None else _moment(fields["mailed_at"])
    return SavedSearch(**{**fields, **moments, "mailed_at": mailed_at})


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
