"""Words of running text and of identifiers alike, and the removal of a phrase in every spelling."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+|[^\W\d_A-Za-z]+")
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]`]*\s+(?=[A-Z\"'(`*:0-9])")
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "cf.", "vs.", "approx.", "resp.", "al.", "Eq.", "Fig.", "Sec.", "no.", "Dr.")


def words_of(text: str) -> list[str]:
    """Return the words in lower case; snake_case and CamelCase come apart.

    Example:
        >>> words_of("read_csv, readCSV and HTTPServer2")
        ['read', 'csv', 'read', 'csv', 'and', 'http', 'server2']
    """
    return [match.group().lower() for match in _WORD.finditer(text)]


def normalised(text: str) -> str:
    """Return the words of a text joined by single spaces: equal for two texts that differ in spelling only."""
    return " ".join(words_of(text))


def contains_phrase(text: str, phrase: Sequence[str]) -> bool:
    """Return whether the words of a phrase stand side by side in a text, in any spelling, joined or apart.

    Example:
        >>> contains_phrase("call np.readCSV first", ["read", "csv"]), contains_phrase("read a csv", ["read", "csv"])
        (True, False)
    """
    return bool(_occurrences(text, phrase))


def without_phrase(text: str, phrase: Sequence[str]) -> str:
    """Remove every occurrence of a phrase with the dotted or underscored name it is part of.

    Args:
        text: The text.
        phrase: Words in lower case.

    Returns:
        The text in which :func:`contains_phrase` finds the phrase no more; spaces left behind are joined.

    Example:
        >>> without_phrase("Use pd.read_csv(path); a Read CSV call, or readcsv.", ["read", "csv"])
        'Use (path); a call, or .'
    """
    found = _occurrences(text, phrase)
    if not found:
        return text
    while found:
        pieces: list[str] = []
        last = 0
        for start, stop in found:
            start, stop = _whole_name(text, start, stop)
            if start > last or not pieces:
                pieces.append(text[last:start])
            last = max(last, stop)
        pieces.append(text[last:])
        text = "".join(pieces)
        found = _occurrences(text, phrase)
    return re.sub(r"[ \t]{2,}", " ", text)


def _occurrences(text: str, phrase: Sequence[str]) -> list[tuple[int, int]]:
    """Return the spans of consecutive words whose concatenation is that of the phrase."""
    target = "".join(phrase)
    if not target or target not in _BETWEEN_WORDS.sub("", text).lower():  # most texts are done with here
        return []
    spans = [(match.start(), match.end(), match.group().lower()) for match in _WORD.finditer(text)]
    found = []
    position = 0
    while position < len(spans):
        joined, last = "", position
        while last < len(spans) and len(joined) < len(target) and target.startswith(joined + spans[last][2]):
            joined += spans[last][2]
            last += 1
        if joined == target:
            found.append((spans[position][0], spans[last - 1][1]))
            position = last
        else:
            position += 1
    return found


def _whole_name(text: str, start: int, stop: int) -> tuple[int, int]:
    """Widen a span over the rest of the name it stands in: underscores around it, and the dotted path before it."""
    before = re.search(r"(?:[A-Za-z_][A-Za-z0-9_]*\.)*_*$", text[max(0, start - 200) : start])
    after = re.match(r"_*", text[stop:])
    return start - len(before.group() if before else ""), stop + len(after.group() if after else "")


def first_sentence(paragraph: str) -> str:
    """Return the first sentence of a paragraph, its lines joined.

    Example:
        >>> first_sentence("Read a file, e.g. a table. It may be large.")
        'Read a file, e.g. a table.'
    """
    line = " ".join(paragraph.split())
    for end in _SENTENCE_END.finditer(line):
        if not line[: end.start()].endswith(_ABBREVIATIONS):
            return line[: end.end()].strip()
    return line
