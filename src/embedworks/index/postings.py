"""The lexical side: for every term the rows that hold it and how often, and the BM25 scores that follow from them.

Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), in the variant of Lucene, which
is the default of bm25s. bm25s fixes document frequencies and the mean length when it indexes, so one added row would
mean indexing everything anew; here each segment keeps plain counts, and the statistics of the live rows are put in at
query time. The tests hold the scores against bm25s.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.index.manifest import LexicalSettings
from embedworks.index.terms import ENGLISH_STOPWORDS, TOKEN_PATTERN

Tokenizer = Callable[[str], list[str]]


def default_settings() -> LexicalSettings:
    """Return the token pattern and the English stop words of bm25s, with its k1 and b."""
    return LexicalSettings(token_pattern=TOKEN_PATTERN, stopwords=ENGLISH_STOPWORDS)


def tokenizer(settings: LexicalSettings) -> Tokenizer:
    """Return the function that cuts a text into its terms, in order, repeated ones included."""
    split, stopwords = re.compile(settings.token_pattern).findall, frozenset(settings.stopwords)

    def terms(text: str) -> list[str]:
        return [term for term in split(text.lower()) if term not in stopwords]

    return terms


@dataclass(frozen=True)
class Postings:
    """The term counts of one segment.

    Args:
        terms: The distinct terms, shape (terms,).
        starts: Where each term's entries begin, int64, shape (terms + 1,).
        entries: Row and count of every entry, int32, shape (2, entries), rows ascending within a term.
        lengths: Number of terms in each row, int32, shape (rows,).
    """

    terms: pa.Array
    starts: NDArray[np.int64]
    entries: NDArray[np.int32]
    lengths: NDArray[np.int32]

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each term stands."""
        return {term: position for position, term in enumerate(self.terms.to_pylist())}

    def of(self, term: str) -> NDArray[np.int32] | None:
        """Return rows and counts of one term, int32, shape (2, entries), or None when no row holds it."""
        position = self.positions.get(term)
        if position is None:
            return None
        return self.entries[:, self.starts[position] : self.starts[position + 1]]


def build_postings(texts: Iterable[str | None], tokenize: Tokenizer) -> Postings:
    """Count the terms of each text.

    Args:
        texts: One text a row; None is an empty one.
        tokenize: What :func:`tokenizer` returned.

    Returns:
        The postings of the rows.
    """
    numbers: dict[str, int] = {}
    terms: list[int] = []
    rows: list[int] = []
    counts: list[int] = []
    lengths: list[int] = []
    for row, text in enumerate(texts):
        counted = Counter(tokenize(text)) if text else Counter()
        lengths.append(counted.total())
        terms.extend(numbers.setdefault(term, len(numbers)) for term in counted)
        counts.extend(counted.values())
        rows.extend([row] * len(counted))
    return _assembled(
        list(numbers),
        np.array(terms, dtype=np.int64),
        np.array([rows, counts], dtype=np.int32).reshape(2, -1),
        np.array(lengths, dtype=np.int32),
    )


def rearranged_postings(segments: Sequence[Postings], rows: NDArray[np.int64]) -> Postings:
    """Return the postings of some rows of several segments.

    Args:
        segments: The postings of all segments, in the order of their rows.
        rows: Distinct rows, numbered through all segments, in their new order, int64, shape (kept,).
    """
    old_lengths = np.concatenate([np.zeros(0, dtype=np.int32), *(postings.lengths for postings in segments)])
    new_row = np.full(len(old_lengths), -1, dtype=np.int64)
    new_row[rows] = np.arange(len(rows))
    numbers: dict[str, int] = {}
    terms, entries = [], []
    first = 0
    for postings in segments:
        ours = np.array([numbers.setdefault(term, len(numbers)) for term in postings.terms.to_pylist()], dtype=np.int64)
        term_of_entry = np.repeat(ours, np.diff(postings.starts))
        row_of_entry = new_row[first + postings.entries[0].astype(np.int64)]
        first += len(postings.lengths)
        live = row_of_entry >= 0
        terms.append(term_of_entry[live])
        entries.append(np.stack([row_of_entry[live], postings.entries[1][live]]).astype(np.int32))
    return _assembled(list(numbers), np.concatenate(terms), np.concatenate(entries, axis=1), old_lengths[rows])


def _assembled(
    names: list[str], terms: NDArray[np.int64], entries: NDArray[np.int32], lengths: NDArray[np.int32]
) -> Postings:
    order = np.lexsort((entries[0], terms))
    sizes = np.bincount(terms, minlength=len(names))
    held = np.flatnonzero(sizes)
    starts = np.concatenate([[0], np.cumsum(sizes[held])]).astype(np.int64)
    return Postings(pa.array(names, pa.string()).take(pa.array(held)), starts, entries[:, order], lengths)


class TermScorer:
    """BM25 over the live rows of some segments; what does not depend on the query is computed once.

    Args:
        segments: The postings of all segments, in the order of their rows.
        alive: Which rows have not been deleted, shape (rows,).
        settings: Token pattern, stop words, k1 and b.
    """

    def __init__(self, segments: Sequence[Postings], alive: NDArray[np.bool_], settings: LexicalSettings) -> None:
        self._segments, self._alive = segments, alive
        self._tokenize = tokenizer(settings)
        self._firsts = np.cumsum([0, *(len(segment.lengths) for segment in segments)])
        self._live_rows = int(alive.sum())
        lengths = np.concatenate([np.zeros(0, dtype=np.int32), *(segment.lengths for segment in segments)])
        live_terms = int(lengths[alive].sum())
        mean_length = live_terms / self._live_rows if live_terms else 1.0
        self._saturation = settings.k1 * (1 - settings.b + settings.b * lengths / mean_length)

    def scores(self, query: str) -> NDArray[np.float64]:
        """Score every row against a query.

        ``idf = ln(1 + (N - df + 0.5) / (df + 0.5))`` times ``tf / (tf + k1 (1 - b + b length / mean length))``, summed
        over the query's terms, a repeated term as often as it occurs. N, df and the mean length are those of the live
        rows.

        Args:
            query: Any text.

        Returns:
            float64, shape (rows,); zero where no term of the query occurs.
        """
        scores = np.zeros(len(self._alive))
        for term, occurrences in Counter(self._tokenize(query)).items():
            found = [
                (first, entries)
                for first, segment in zip(self._firsts, self._segments, strict=False)
                if (entries := segment.of(term)) is not None
            ]
            if not found:
                continue
            rows = np.concatenate([first + entries[0] for first, entries in found])
            counts = np.concatenate([entries[1] for _, entries in found])
            frequency = int(self._alive[rows].sum())
            if frequency == 0:
                continue
            idf = np.log1p((self._live_rows - frequency + 0.5) / (frequency + 0.5))
            scores[rows] += occurrences * idf * counts / (counts + self._saturation[rows])
        return scores
