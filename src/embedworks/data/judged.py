"""The record kind of a retrieval test: a corpus, queries, and which entries answer which query how well."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

import pyarrow as pa

from embedworks.data.columns import Column, at, nearest
from embedworks.data.corpus import Corpus
from embedworks.data.record import Record, write_parquet
from embedworks.foundation import LOCAL_FILES, FileOperations, InputError, staged_directory, verify_directory
from embedworks.foundation.staging import MANIFEST_NAME

Relevance = dict[str, dict[str, int]]
"""Query id to document id to grade; a grade is a whole number from 0, and 0 means judged and not relevant."""

_FILES = ("corpus.parquet", "queries.parquet", "relevance.parquet")


class Queries(Record):
    """Queries of a retrieval test: ``id``, ``text``, and any attributes.

    Example:
        >>> queries = Queries(pa.table({"id": ["q1"], "text": ["red fruit"], "kind": ["short"]}))
        >>> queries.ids
        ['q1']
        >>> queries.texts
        ['red fruit']
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {"id": Column("id"), "text": Column("text")}
    KEEPS_ATTRIBUTES: ClassVar[bool] = True

    @property
    def ids(self) -> list[str]:
        """The ids, in order."""
        return self._list("id")

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return self._list("text")


class RelevanceTable(Record):
    """Relevance grades as a table: ``query_id``, ``document_id``, ``grade``.

    Example:
        >>> table = RelevanceTable(pa.table({"query_id": ["q1"], "document_id": ["a"], "grade": [2]}))
        >>> table.grades()
        {'q1': {'a': 2}}
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {
        "query_id": Column("key"),
        "document_id": Column("key"),
        "grade": Column("number"),
    }

    def __init__(self, table: pa.Table, *, source: str = "relevance", columns: Mapping[str, str] | None = None) -> None:
        super().__init__(table, source=source, columns=columns)
        self._source = source

    def grades(self) -> Relevance:
        """Return the grades by query and document.

        Raises:
            InputError: A grade is negative or no whole number, or a pair is judged twice with different grades.
        """
        relevance: Relevance = {}
        rows = zip(self._list("query_id"), self._list("document_id"), self._list("grade"), strict=True)
        for row, (query, document, grade) in enumerate(rows):
            place = at(self._source, row, "grade")
            if grade < 0 or grade != int(grade):
                raise InputError(f"the grade {grade:g}", where=place, mend="grades are whole numbers from 0")
            known = relevance.setdefault(query, {}).setdefault(document, int(grade))
            if known != grade:
                raise InputError(
                    f"query {query!r} and document {document!r} were judged {known} before, and {grade:g} here",
                    where=place,
                    mend="keep one of the two",
                )
        return relevance


class Judged:
    """A corpus, queries, and relevance grades: what a search is judged with.

    A query without an entry in ``relevance`` was not judged and is left out of an evaluation.

    Args:
        corpus: The entries to search.
        queries: Arrow table with ``id``, ``text`` and any attributes.
        relevance: Query id to document id to grade (whole number from 0).
        source: Name of the file or object it came from, for messages.

    Raises:
        InputError: A query cannot be used, an id in ``relevance`` is unknown, or a grade is negative.

    Example:
        >>> corpus = Corpus.from_columns(["a", "b"], ["red apple", "green pear"])
        >>> queries = pa.table({"id": ["q1"], "text": ["red fruit"]})
        >>> judged = Judged(corpus, queries, {"q1": {"a": 1}})
        >>> judged.query_texts
        ['red fruit']
    """

    def __init__(
        self,
        corpus: Corpus,
        queries: pa.Table,
        relevance: Mapping[str, Mapping[str, int]],
        *,
        source: str = "judged set",
    ) -> None:
        checked = Queries(queries, source=f"{source}, queries")
        self.corpus = corpus
        self.queries: pa.Table = checked.table
        self.relevance: Relevance = {
            query: {document: _grade(grade, query, document, source) for document, grade in grades.items()}
            for query, grades in relevance.items()
        }
        self._check_relevance(set(checked.ids), set(corpus.ids), f"{source}, relevance")

    def _check_relevance(self, queries: set[str], documents: set[str], source: str) -> None:
        if not any(self.relevance.values()):
            raise InputError("no query is judged", where=source, mend="give at least one grade")
        for query, grades in self.relevance.items():
            if query not in queries:
                raise InputError(
                    f"unknown query id {query!r}",
                    where=source,
                    mend=f"{nearest(str(query), queries)} it must stand among the queries",
                )
            for document in grades:
                if document not in documents:
                    raise InputError(
                        f"unknown document id {document!r} for query {query!r}",
                        where=source,
                        mend="it must stand in the corpus",
                    )

    @classmethod
    def from_columns(
        cls, corpus: Corpus, query_ids: list[str], query_texts: list[str], relevance: Mapping[str, Mapping[str, int]]
    ) -> Self:
        """Build a judged set from a corpus and Python lists.

        Args:
            corpus: The entries to search.
            query_ids: Unique ids, shape (n,).
            query_texts: Texts of the queries, shape (n,).
            relevance: Query id to document id to grade.

        Returns:
            The checked judged set.

        Raises:
            InputError: As the constructor.
        """
        return cls(corpus, pa.table({"id": query_ids, "text": query_texts}), relevance)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a folder: ours (three Parquet files) or in the manner of BEIR (JSONL and TSV, gzipped or not).

        Args:
            path: The folder.

        Returns:
            The checked judged set.

        Raises:
            InputError: The folder or a file in it is missing or cannot be used.
            StorageError: The folder has a manifest and a file in it is damaged.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise InputError("is no folder", where=str(folder), mend="a judged set is a folder of three files")
        if not (folder / _FILES[0]).exists():
            from embedworks.data.retrieval_formats import read_beir

            judged = read_beir(folder)
            return cls(judged.corpus, judged.queries, judged.relevance, source=str(folder))
        if (folder / MANIFEST_NAME).exists():
            verify_directory(folder)
        corpus = Corpus.read(folder / _FILES[0])
        queries = Queries.read(folder / _FILES[1])
        relevance = RelevanceTable.read(folder / _FILES[2]).grades()
        return cls(corpus, queries.table, relevance, source=str(folder))

    def write(self, path: str | Path, *, overwrite: bool = False, files: FileOperations = LOCAL_FILES) -> None:
        """Write a folder of corpus.parquet, queries.parquet and relevance.parquet, whole or not at all.

        Args:
            path: The folder to make.
            overwrite: Whether a folder that stands there may be replaced.
            files: The file effects; tests pass one that fails.

        Raises:
            InputError: Something stands at ``path`` and ``overwrite`` is false, or its parent does not exist.
        """
        target = Path(path)
        if not target.parent.is_dir():
            raise InputError("the folder does not exist", where=str(target.parent), mend="make it first")
        triples = [(query, doc, grade) for query, grades in self.relevance.items() for doc, grade in grades.items()]
        names = ("query_id", "document_id", "grade")
        relevance = RelevanceTable(pa.table(dict(zip(names, map(list, zip(*triples, strict=True)), strict=True))))
        with staged_directory(target, metadata={"kind": "Judged"}, overwrite=overwrite, files=files) as staging:
            for name, table in zip(_FILES, (self.corpus.table, self.queries, relevance.table), strict=True):
                write_parquet(table, staging / name, files=files)

    @property
    def query_ids(self) -> list[str]:
        """The ids of the queries, in order."""
        return list(self.queries["id"].to_pylist())

    @property
    def query_texts(self) -> list[str]:
        """The texts of the queries, in order."""
        return list(self.queries["text"].to_pylist())

    def __len__(self) -> int:
        return len(self.corpus)

    def __repr__(self) -> str:
        judgements = sum(map(len, self.relevance.values()))
        return f"Judged({len(self.corpus)} documents, {self.queries.num_rows} queries, {judgements} judgements)"


def _grade(grade: object, query: str, document: str, source: str) -> int:
    try:
        whole = -1 if isinstance(grade, bool) else operator.index(grade)  # type: ignore[arg-type]  # refused below
    except TypeError:
        whole = -1
    if whole < 0:
        raise InputError(
            f"the grade {grade!r} for query {query!r} and document {document!r}",
            where=f"{source}, relevance",
            mend="grades are whole numbers from 0",
        )
    return whole
