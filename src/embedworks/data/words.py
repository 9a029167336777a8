"""Words of running text and of identifiers alike, and the removal of a phrase in every spelling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W_A-Z]+|[A-Z]+")
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]`]*\s+(?=[A-Z\"'(`*:0-9])")
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "cf.", "vs.", "approx.", "resp.", "al.", "Eq.", "Fig.", "Sec.", "no.", "Dr.")


def words_of(text: str) -> list[str]:
    """Return the words in lower case; snake_case and CamelCase come apart.

    Example:
        >>> words_of("read_csv, readCSV and HTTPServer2")
        ['read', 'csv', 'read', 'csv', 'and', 'http', 'server2']
    """
    return [word.lower() for word in _WORD.findall(text)]


def normalised(text: str) -> str:
    """Return the words of a text joined by single spaces: equal for two texts that differ in spelling only."""
    return " ".join(words_of(text))


@lru_cache(maxsize=8)  # one text after another is searched for several phrases
def squeezed(text: str) -> str:
    """Return the letters and digits in lower case with nothing between: equal however the words are set apart.

    Example:
        >>> squeezed("Data-Frame") == squeezed("dataframe") == squeezed("DATA frame")
        True
    """
    return _BETWEEN_WORDS.sub("", text).lower()


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
        The text in which :func:`contains_phrase` finds the phrase no more; one of the two spaces around it goes too.

    Example:
        >>> without_phrase("Use pd.read_csv(path); a Read CSV call, or readcsv.", ["read", "csv"])
        'Use (path); a call, or .'
    """
    while found := _occurrences(text, phrase):
        text = _cut(text, [_whole_name(text, start, stop) for start, stop in found])
    return text


def without_name(text: str, name: str) -> str:
    """Remove a name where it is spelt exactly so, with the dotted path before it.

    Example:
        >>> without_name("The index of a pd.Index, an Index.", "Index")
        'The index of a , an .'
    """
    spelt = re.compile(rf"(?:\b[A-Za-z_]\w*\.)*\b{re.escape(name)}\b")
    return _cut(text, [match.span() for match in spelt.finditer(text)])


def _cut(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Cut spans out of a text, each with one of the two spaces around it."""
    pieces: list[str] = []
    last = 0
    for start, stop in spans:
        pieces.append(text[last:start])
        last = stop + 1 if text[start - 1 : start] == " " == text[stop : stop + 1] else stop
    pieces.append(text[last:])
    return "".join(pieces)


def _occurrences(text: str, phrase: Sequence[str]) -> list[tuple[int, int]]:
    """Return the spans of consecutive words whose concatenation is that of the phrase."""
    target = "".join(phrase)
    if not target or target not in squeezed(text):  # most texts are done with here
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
