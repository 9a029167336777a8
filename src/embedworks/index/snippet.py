"""The part of a text that best shows why it was found, with the places of the query's words in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedworks.foundation import InputError
from embedworks.index.terms import ENGLISH_STOPWORDS

# An underscore parts words here, so that "read parquet" finds itself in read_parquet.
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Snippet:
    """A window of a text.

    Args:
        text: The window's characters, cut at white space.
        highlights: Start and end of each matched word within ``text``, ascending, never overlapping.
        start: Where the window begins in the whole text.
        cut_before: Whether text was left out before it.
        cut_after: Whether text was left out after it.
    """

    text: str
    highlights: tuple[tuple[int, int], ...]
    start: int
    cut_before: bool
    cut_after: bool


def snippet(text: str, query: str, *, length: int = 240) -> Snippet:
    """Choose the window that holds the most different words of the query, then the most of them, then the first.

    Words match whatever their case, with or without a plural s; stop words count only if the query has nothing else.

    Args:
        text: The whole text.
        query: What was searched for.
        length: Characters of the window, at most; only a single longer word is cut within.

    Returns:
        The window; without any match it is the beginning of the text.

    Example:
        >>> found = snippet("Parquet is a format. Read a table from it with read_table.", "reading tables", length=40)
        >>> found.text[slice(*found.highlights[0])]
        'table'
    """
    if length < 1:
        raise InputError(f"{length} characters hold nothing", where="length", mend="pass a whole number from 1 on")
    wanted = _wanted(query)
    matches = [
        (match.start(), match.end(), form)
        for match in _WORD.finditer(text)
        if (form := _form(match.group())) in wanted and match.end() - match.start() <= length
    ]
    begin, end = _window(text, matches, length)
    highlights = tuple((start - begin, stop - begin) for start, stop, _ in matches if begin <= start and stop <= end)
    return Snippet(
        text=text[begin:end],
        highlights=highlights,
        start=begin,
        cut_before=bool(text[:begin].strip()),
        cut_after=bool(text[end:].strip()),
    )


def _wanted(query: str) -> set[str]:
    words = [word.lower() for word in _WORD.findall(query)]
    telling = [word for word in words if word not in ENGLISH_STOPWORDS]
    return {_form(word) for word in telling or words}


def _form(word: str) -> str:
    word = word.lower()
    return word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word


def _window(text: str, matches: list[tuple[int, int, str]], length: int) -> tuple[int, int]:
    """Return begin and end of the best window."""
    if len(text) <= length:
        return 0, len(text)
    best, first, last = (0, 0), 0, 0
    counts: dict[str, int] = {}
    left = 0
    for right, (_, stop, form) in enumerate(matches):
        counts[form] = counts.get(form, 0) + 1
        while stop - matches[left][0] > length:
            gone = matches[left][2]
            counts[gone] -= 1
            if counts[gone] == 0:
                del counts[gone]
            left += 1
        if (len(counts), right - left + 1) > best:
            best, first, last = (len(counts), right - left + 1), matches[left][0], stop
    spare = length - (last - first)
    begin = max(0, min(first - spare // 2, len(text) - length))
    end = begin + length
    # Move inwards to white space, but never into the matched words.
    if begin > 0 and not text[begin - 1].isspace():
        space = re.compile(r"\s").search(text, begin, first)
        begin = space.end() if space else (first if best != (0, 0) else begin)
    if end < len(text) and not text[end].isspace():
        spaces = [place for place in range(max(last, begin + 1), end) if text[place].isspace()]
        end = spaces[-1] if spaces else (last if best != (0, 0) else end)
    while begin < end and text[begin].isspace():
        begin += 1
    while end > begin and text[end - 1].isspace():
        end -= 1
    return begin, end
