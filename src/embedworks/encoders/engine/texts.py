"""Texts as they come in: checked item by item, drawn in windows, and known again when they return."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.foundation import InputError

REMEMBERED_TEXTS: Final = 262_144
"""How many distinct texts are known again in later windows: 16 bytes of digest and a row number each, about 50 MB.

Beyond it, duplicates are still found within their window. A Python process pays about 190 bytes an entry; without the
bound, memory would grow with the number of texts.
"""

WINDOW_CHARACTERS: Final = 8_388_608
"""A window closes early at this many characters, so that long texts do not make it large."""

_ARROW_SLICE: Final = 4096


def text_count(texts: Iterable[Any]) -> int | None:
    """Return the number of texts where it is known without drawing them, else None."""
    try:
        return len(texts)  # type: ignore[arg-type]
    except TypeError:
        return None


def draw(texts: Iterable[Any]) -> Iterator[Any]:
    """Yield the items one by one; an Arrow column is converted in slices, never as a whole.

    Raises:
        InputError: ``texts`` is one string, or cannot be drawn from.
    """
    if isinstance(texts, str | bytes):
        raise InputError("a single text was given where many are expected", where="texts", mend="pass a list of texts")
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return (
            item
            for start in range(0, len(texts), _ARROW_SLICE)
            for item in texts.slice(start, _ARROW_SLICE).to_pylist()
        )
    try:
        return iter(texts)
    except TypeError as error:
        raise InputError(
            f"{type(texts).__name__} is no collection of texts", where="texts", mend="pass a list of texts"
        ) from error


def utf8(item: Any, row: int) -> bytes:
    """Return an item's UTF-8 bytes.

    Raises:
        InputError: It is no string, or holds a lone surrogate, which no encoding of text can carry.
    """
    if not isinstance(item, str):
        raise InputError(
            f"a {type(item).__name__} where a text is expected", where=f"row {row}", mend="pass strings only"
        )
    try:
        return item.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the text holds a lone surrogate at character {error.start}",
            where=f"row {row}",
            mend="decode the source with the right encoding, or replace the character",
        ) from error


def digest_of_all(texts: Iterable[Any]) -> str:
    """Check every text and return one digest of them all and their order; draws them once."""
    digest = hashlib.blake2b(digest_size=16)
    for row, item in enumerate(draw(texts)):
        content = utf8(item, row)
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


@dataclass(frozen=True)
class TextWindow:
    """A run of consecutive texts, each distinct one once.

    Args:
        start: Row of the first text.
        count: Number of texts.
        fresh: The texts that have to be encoded.
        fresh_rows: Their rows, shape (len(fresh),), ascending.
        copies: Rows that repeat an earlier row, shape (c, 2): target, source.
        digest: Digest of all texts up to the end of this window.
    """

    start: int
    count: int
    fresh: Sequence[str]
    fresh_rows: NDArray[np.int64]
    copies: NDArray[np.int64]
    digest: str

    @property
    def stop(self) -> int:
        """Row after the last text."""
        return self.start + self.count


def text_windows(texts: Iterable[Any], *, size: int, remembered: int = REMEMBERED_TEXTS) -> Iterator[TextWindow]:
    """Cut texts into windows and take the duplicates out.

    The first window is a quarter of the size, so that the first forward pass starts early.

    Args:
        texts: What :func:`draw` takes.
        size: Texts a window.
        remembered: How many distinct texts are known again across windows.

    Yields:
        Windows in order; they depend on the texts and the two numbers only, so a resumed run cuts the same ones.
    """
    items = draw(texts)
    chain = hashlib.blake2b(digest_size=16)
    known: dict[bytes, int] = {}
    start = 0
    while True:
        within: dict[bytes, int] = {}
        fresh: list[str] = []
        rows: list[int] = []
        copies: list[tuple[int, int]] = []
        row, characters = start, 0
        for item in islice(items, max(1, size // 4) if start == 0 else size):
            content = utf8(item, row)
            key = hashlib.blake2b(content, digest_size=16).digest()
            chain.update(key)
            source = known.get(key, within.get(key))
            if source is None:
                within[key] = row
                fresh.append(str(item))
                rows.append(row)
                characters += len(item)
            else:
                copies.append((row, source))
            row += 1
            if characters >= WINDOW_CHARACTERS:
                break
        if row == start:
            return
        for key, source in within.items():
            if len(known) >= remembered:
                break
            known[key] = source
        yield TextWindow(
            start=start,
            count=row - start,
            fresh=fresh,
            fresh_rows=np.asarray(rows, dtype=np.int64),
            copies=np.asarray(copies, dtype=np.int64).reshape(-1, 2),
            digest=chain.hexdigest(),
        )
        start = row
