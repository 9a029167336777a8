"""A judged retrieval set from a documentation corpus, without leakage between query and document or train and test.

From each entry with enough text come up to two queries: its identifier in words, and its summary sentence. The
document is the rest of the docstring, with that sentence and every spelling of the identifier removed. Entries that
share an identifier, a summary, a document or most of a document form one group, and a group is never divided
between training and test. One package is held out whole; entries of other packages in a group with one of its
entries are left out.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.data.columns import nearest
from embedworks.data.corpus import Corpus
from embedworks.data.judged import Judged, Relevance
from embedworks.data.pairs import Pairs
from embedworks.data.python_documentation import HELD_OUT_PACKAGE, STANDARD_LIBRARY
from embedworks.data.words import (
    contains_phrase,
    first_sentence,
    normalised,
    squeezed,
    without_name,
    without_phrase,
    words_of,
)
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

_LOGGER = logging.getLogger(__name__)

_SUMMARY_WORDS = range(5, 41)
_MIN_DOCUMENT_WORDS = 12
_LONGER_WORD = re.compile(r"[^\W_]{2,}")
_MAX_DOCUMENTS_OF_A_QUERY = 10  # more could not all stand among ten results
_PACKAGE_ENTRIES = range(300, 1501)
_BANDS, _ROWS_OF_A_BAND, _SHINGLE = 8, 8, 5  # groups documents of Jaccard similarity 0.8 with probability 0.77


@dataclass(frozen=True)
class DocumentationRetrieval:
    """Training pairs and two judged sets from one documentation corpus.

    Args:
        train: Pairs of query and document; equal query or document ids mean equal texts. The column ``task`` says
            ``identifier`` or ``summary``.
        held_out_functions: Functions whose group has no entry in ``train``; the queries have the attribute ``kind``.
        held_out_package: The entries of a package that has no entry in ``train``.
        package: Name of that package.
        left_out: How many usable documents were left out, since a group joins them to the package.
        identifiers: Document id to the identifiers of the entries it came from, in words.
    """

    train: Pairs
    held_out_functions: Judged
    held_out_package: Judged
    package: str
    left_out: int
    identifiers: dict[str, tuple[str, ...]] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Sizes for a table: pairs, documents and queries of each part, documents left out."""
        return {
            "training pairs": len(self.train),
            "training documents": len(set(self.train.positive_ids or ())),
            "held-out functions, documents": len(self.held_out_functions.corpus),
            "held-out functions, queries": len(self.held_out_functions.relevance),
            "held-out package, documents": len(self.held_out_package.corpus),
            "held-out package, queries": len(self.held_out_package.relevance),
            "documents left out": self.left_out,
        }

    def check_leakage(self) -> list[str]:
        """Look for held-out texts in training, and for documents that hold their own query.

        Returns:
            One line a finding; an empty list is what a sound set gives.
        """
        training = {squeezed(text) for text in [*self.train.queries, *self.train.positives]}
        found = [
            f"a document holds its own query {query!r}"
            for query, document in zip(self.train.queries, self.train.positives, strict=True)
            if contains_phrase(document, words_of(query))
        ]
        for judged in (self.held_out_functions, self.held_out_package):
            queries = dict(zip(judged.query_ids, judged.query_texts, strict=True))
            documents = dict(zip(judged.corpus.ids, judged.corpus.texts, strict=True))
            found += [
                f"a held-out text stands in training: {text[:80]!r}"
                for text in [*documents.values(), *queries.values()]
                if squeezed(text) in training
            ]
            found += [
                f"document {document!r} holds its own query {queries[query]!r}"
                for query, grades in judged.relevance.items()
                for document in grades
                if contains_phrase(documents[document], words_of(queries[query]))
            ]
        return found


@dataclass
class _Document:
    """One document, which may stand for several entries of equal text."""

    id: str
    text: str
    row: int
    packages: set[str]
    names: set[str]
    queries: dict[str, tuple[str, str]]  # normalised text to text and kind

    @property
    def identifiers(self) -> set[str]:
        return {normalised(name) for name in self.names}

    def strip(self) -> None:
        """Take out every name and query that leads here, until none is left: a cut may bring another together."""
        before = ""
        while before != self.text:
            before = self.text
            for name in sorted(self.names):
                words = words_of(name)  # a single word is a name only where it is spelt as one
                self.text = without_phrase(self.text, words) if len(words) > 1 else without_name(self.text, name)
            for key in self.queries:
                self.text = without_phrase(self.text, key.split())
        self.text = self.text.strip(" \n.,:;")


def documentation_retrieval(
    corpus: Corpus, *, seed: int = 0, held_out_package: str | None = None, held_out_documents: int = 1_500
) -> DocumentationRetrieval:
    """Make training pairs and two judged sets of a documentation corpus.

    Args:
        corpus: As :func:`~embedworks.data.read_documentation` returns it.
        seed: Seed of the division into training and held-out functions.
        held_out_package: The package to hold out; by default networkx if it has 300 usable entries, else the
            third-party package whose number of usable entries is nearest to 800.
        held_out_documents: Size of the corpus of held-out functions; at most a quarter of the usable documents.

    Returns:
        The pairs and the judged sets.

    Raises:
        InputError: The corpus has no such attributes, the package is unknown, or there is too little to divide.
    """
    documents = _documents(corpus)
    package = _chosen_package(documents, held_out_package)
    groups = _groups(documents)
    of_package = [document for document in documents if package in document.packages]
    touched = {groups[document.id] for document in of_package}
    package_ids = {document.id for document in of_package}
    free = [document for document in documents if groups[document.id] not in touched]
    left_out = len(documents) - len(free) - len(package_ids)
    held_out_ids = _drawn(free, groups, size=min(held_out_documents, len(documents) // 4), seed=seed)
    held_out = [document for document in free if document.id in held_out_ids]
    train = [document for document in free if document.id not in held_out_ids]
    if not (train and held_out and of_package):
        raise InputError(
            f"{len(documents)} usable entries are too few to divide", where="corpus", mend="read more documentation"
        )
    return DocumentationRetrieval(
        train=_pairs(train),
        held_out_functions=_judged(corpus, held_out),
        held_out_package=_judged(corpus, of_package),
        package=package,
        left_out=left_out,
        identifiers={document.id: tuple(sorted(document.identifiers)) for document in documents},
    )


def _documents(corpus: Corpus) -> list[_Document]:
    missing = [name for name in ("package", "kind") if name not in corpus.attributes.column_names]
    if missing:
        raise InputError(
            f"attribute {missing[0]!r} is missing", where="corpus", mend="make the corpus with read_documentation"
        )
    documents: list[_Document] = []
    packages = corpus.attributes["package"].to_pylist()
    for row, (entry_id, text, package) in enumerate(zip(corpus.ids, corpus.texts, packages, strict=True)):
        name = entry_id.rsplit(".", 1)[-1]
        parts = _parts(name, text)
        if parts is not None:
            kinds, rest = parts
            queries = {normalised(query): (query, kind) for kind, query in kinds.items()}
            documents.append(_Document(entry_id, rest, row, {package}, {name}, queries))
    count = -1
    while count != len(documents):  # cutting makes equal, and what is equal has more to cut
        count = len(documents)
        documents = _merged(documents)
        for document in documents:
            document.strip()
    used = Counter(key for document in documents for key in document.queries)
    for document in documents:
        document.queries = {
            key: query for key, query in document.queries.items() if used[key] <= _MAX_DOCUMENTS_OF_A_QUERY
        }
    return [document for document in documents if document.queries and _is_long_enough(document.text)]


def _merged(documents: Iterable[_Document]) -> list[_Document]:
    """Make one document of those whose letters are equal."""
    by_text: dict[str, _Document] = {}
    for document in documents:
        kept = by_text.setdefault(squeezed(document.text), document)
        if kept is not document:
            kept.packages |= document.packages
            kept.names |= document.names
            kept.queries = document.queries | kept.queries
    return list(by_text.values())


def _parts(name: str, text: str) -> tuple[dict[str, str], str] | None:
    """Return the queries of an entry by kind, and its docstring without the summary; None if it is of no use."""
    paragraph, _, _ = text.partition("\n\n")
    summary = first_sentence(paragraph)
    if re.match(r"[\w.]+\s*\(|[:.@>=\-*]|(args|parameters|returns|note|example)s?\b\s*:?$", summary, re.IGNORECASE):
        return None  # a signature, a field list or a heading stands where the summary should
    words = words_of(name)
    queries: dict[str, str] = {}
    if len(words) > 1 and sum(map(len, words)) > 5:
        queries["identifier"] = " ".join(words)
    if len(words_of(summary)) in _SUMMARY_WORDS:
        queries["summary"] = summary
    rest = without_phrase(text, words_of(summary))
    return (queries, rest) if queries and _is_long_enough(rest) else None


def _is_long_enough(text: str) -> bool:
    return len(_LONGER_WORD.findall(text)) >= _MIN_DOCUMENT_WORDS


def _chosen_package(documents: Sequence[_Document], wanted: str | None) -> str:
    count = Counter(package for document in documents for package in document.packages)
    if wanted is not None:
        if wanted not in count:
            raise InputError(
                f"no usable entry of the package {wanted!r}",
                where="held_out_package",
                mend=f"{nearest(wanted, count)} the packages with most entries are "
                f"{', '.join(name for name, _ in count.most_common(8))}",
            )
        return wanted
    if count[HELD_OUT_PACKAGE] in _PACKAGE_ENTRIES:
        return HELD_OUT_PACKAGE
    candidates = sorted(name for name in count if name != STANDARD_LIBRARY)
    if not candidates:
        raise InputError("no usable entry of a third-party package", where="corpus", mend="read more documentation")
    return min(candidates, key=lambda name: abs(count[name] - 800))


def _groups(documents: Sequence[_Document]) -> dict[str, int]:
    """Return the group of each document: joined by identifier, query or nearly equal text, by union-find."""
    parent = list(range(len(documents)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first: dict[object, int] = {}
    for position, document in enumerate(documents):
        texts = map(squeezed, [*document.names, *document.queries, document.text])
        keys: list[object] = [*texts, *_bands(words_of(document.text))]
        for key in keys:
            parent[root(position)] = root(first.setdefault(key, position))
    return {document.id: root(position) for position, document in enumerate(documents)}


_MULTIPLIERS, _OFFSETS = (
    random_generator(0, "min-wise hashing", name).integers(1, 2**63, (_BANDS * _ROWS_OF_A_BAND, 1), dtype=np.uint64)
    for name in ("multipliers", "offsets")
)


def _bands(words: Sequence[str]) -> Iterable[tuple[int, bytes]]:
    """Return the bands of a document's min-wise hashes over word shingles; near copies share one with high probability.

    Broder 1997, "On the resemblance and containment of documents".
    """
    codes = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    windows: NDArray[np.uint64] = np.lib.stride_tricks.sliding_window_view(codes, _SHINGLE)  # [shingles, 5]
    powers = np.uint64(0x9E3779B97F4A7C15) ** np.arange(1, _SHINGLE + 1, dtype=np.uint64)
    shingles = np.unique((windows * powers).sum(axis=1, dtype=np.uint64))
    mixed = (shingles ^ (shingles >> np.uint64(31))) * (_MULTIPLIERS | np.uint64(1)) + _OFFSETS  # [hashes, shingles]
    smallest = (mixed ^ (mixed >> np.uint64(29))).min(axis=1).reshape(_BANDS, _ROWS_OF_A_BAND)
    return [(band, row.tobytes()) for band, row in enumerate(smallest)]


def _drawn(documents: Sequence[_Document], groups: dict[str, int], *, size: int, seed: int) -> set[str]:
    """Draw whole groups until ``size`` documents are reached; a group of over 2 % of that stays in training."""
    members: dict[int, list[str]] = defaultdict(list)
    for document in documents:
        members[groups[document.id]].append(document.id)
    candidates = [group for group, ids in members.items() if len(ids) <= max(1, size // 50)]
    drawn: set[str] = set()
    for position in random_generator(seed, "documentation", "held-out functions").permutation(len(candidates)):
        if len(drawn) >= size:
            break
        drawn.update(members[candidates[position]])
    return drawn


def _pairs(documents: Sequence[_Document]) -> Pairs:
    rows = [
        (query, document.text, key, document.id, kind)
        for document in documents
        for key, (query, kind) in document.queries.items()
    ]
    queries, positives, query_ids, positive_ids, kinds = map(list, zip(*rows, strict=True))
    return Pairs.from_columns(queries, positives, query_ids=query_ids, positive_ids=positive_ids, tasks=kinds)


def _judged(corpus: Corpus, documents: Sequence[_Document]) -> Judged:
    rows = pa.array([document.row for document in documents])
    table = corpus.table.take(rows)
    texts_left = [document.text for document in documents]
    table = table.set_column(1, "text", pa.array(texts_left, pa.string()))
    if "words" in table.column_names:
        words = pa.array([len(text.split()) for text in texts_left])
        table = table.set_column(table.column_names.index("words"), "words", words)
    relevance: Relevance = {}
    texts: dict[str, tuple[str, str]] = {}
    for document in documents:
        for key, query in document.queries.items():
            relevance.setdefault(key, {})[document.id] = 1
            texts.setdefault(key, query)
    queries = pa.table(
        {"id": list(texts), "text": [text for text, _ in texts.values()], "kind": [kind for _, kind in texts.values()]}
    )
    return Judged(Corpus(table, source="documentation"), queries, relevance, source="documentation")
