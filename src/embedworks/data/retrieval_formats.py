"""The files of retrieval research: folders in the manner of BEIR, TREC relevance files and TREC runs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embedworks.data.corpus import Corpus
from embedworks.data.judged import Judged, Queries, Relevance, RelevanceTable
from embedworks.data.readers import read_csv, read_jsonl, text_lines
from embedworks.foundation import LOCAL_FILES, FileOperations, InputError

Run = dict[str, dict[str, float]]
"""Query id to document id to score, higher is better."""

_LOGGER = logging.getLogger(__name__)
_QRELS = ("qrels/test.tsv", "qrels.tsv")


def read_beir(folder: str | Path, *, qrels: str | Path | None = None) -> Judged:
    """Read a folder in the manner of BEIR: corpus.jsonl, queries.jsonl, and qrels/test.tsv or qrels.tsv.

    Title and text become one text, as BEIR encodes them, and the title stays as an attribute. Queries that nobody
    judged are left out, as BEIR does; so are documents without any text, and the log says how many.

    Args:
        folder: The folder; each file may be gzipped.
        qrels: The relevance file, where it is another than ``qrels/test.tsv`` or ``qrels.tsv``.

    Returns:
        The judged set.

    Raises:
        InputError: A file is missing or cannot be used.
    """
    folder = Path(folder)
    corpus, queries = _present(folder, "corpus.jsonl"), _present(folder, "queries.jsonl")
    return judged_from_beir(corpus, queries, _present(folder, *_QRELS) if qrels is None else Path(qrels))


def judged_from_beir(corpus: Path, queries: Path, qrels: Path) -> Judged:
    """Read the three files of :func:`read_beir`, wherever each stands."""
    documents = _beir_columns(read_jsonl(corpus))
    if "title" in documents.column_names and "text" in documents.column_names:
        documents = documents.set_column(
            documents.column_names.index("text"), "text", _titled(documents["title"], documents["text"])
        )
    asked = Queries(_beir_columns(read_jsonl(queries)), source=str(queries), columns={"id": "_id"})
    relevance = read_beir_qrels(qrels)
    documents, relevance = without_empty_documents(documents, relevance, id_column="_id", source=str(corpus))
    judged_ids = pa.array(list(relevance), pa.string())
    kept = asked.table.filter(pc.is_in(asked.table["id"], value_set=judged_ids))
    return Judged(Corpus(documents, source=str(corpus), columns={"id": "_id"}), kept, relevance, source=str(qrels))


def _beir_columns(table: pa.Table) -> pa.Table:
    """Keep the columns of the format; its free-form ``metadata`` objects are no attributes."""
    return table.select([name for name in ("_id", "text", "title") if name in table.column_names])


def without_empty_documents(
    documents: pa.Table, relevance: Relevance, *, id_column: str, source: str
) -> tuple[pa.Table, Relevance]:
    """Leave out documents without any text, which no search can find, and what was judged about them; log it."""
    if not {"text", id_column} <= set(documents.column_names):
        return documents, relevance  # the door names the missing column
    empty = pc.equal(pc.utf8_trim_whitespace(documents["text"].cast(pa.string())), "")
    dropped = set(documents[id_column].filter(empty).cast(pa.string()).to_pylist())
    if not dropped:
        return documents, relevance
    kept = {
        query: {document: grade for document, grade in grades.items() if document not in dropped}
        for query, grades in relevance.items()
    }
    lost = sum(map(len, relevance.values())) - sum(map(len, kept.values()))
    _LOGGER.info("%s: left out %d documents without text and %d judgements of them", source, len(dropped), lost)
    return documents.filter(pc.invert(empty)), {query: grades for query, grades in kept.items() if grades}


def read_beir_qrels(path: str | Path) -> Relevance:
    """Read a tab-separated relevance file with the header ``query-id corpus-id score``."""
    table = read_csv(path, delimiter="\t", quote=False, strings=("query-id", "corpus-id"))
    names = {"query_id": "query-id", "document_id": "corpus-id", "grade": "score"}
    return RelevanceTable(table, source=str(path), columns=names).grades()


def _titled(titles: pa.ChunkedArray, texts: pa.ChunkedArray) -> pa.Array:
    pairs = zip(titles.to_pylist(), texts.to_pylist(), strict=True)
    return pa.array([f"{title or ''} {text or ''}".strip() for title, text in pairs], pa.string())


def _present(folder: Path, *names: str) -> Path:
    for name in names:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    raise InputError(
        f"no {' or '.join(names)}",
        where=str(folder),
        mend="a folder holds corpus.jsonl, queries.jsonl and qrels/test.tsv (each also .gz), or three Parquet files",
    )


def read_trec_qrels(path: str | Path) -> Relevance:
    """Read a TREC relevance file: ``query iteration document grade`` a line.

    Args:
        path: The file, gzipped or not.

    Returns:
        Query id to document id to grade; a negative grade (TREC writes -1 or -2 for spam) counts as 0.

    Raises:
        InputError: A line has not four fields, a grade is no whole number, or a pair is judged twice differently.
    """
    relevance: Relevance = {}
    for number, line in text_lines(Path(path)):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        fields = line.split()
        if len(fields) != 4:
            raise InputError(f"{len(fields)} fields, not 4", where=where, mend="write: query iteration document grade")
        query, _, document, text = fields
        try:
            grade = max(int(text), 0)
        except ValueError:
            raise InputError(f"the grade {text!r}", where=where, mend="grades are whole numbers") from None
        known = relevance.setdefault(query, {}).setdefault(document, grade)
        if known != grade:
            raise InputError(
                f"query {query!r} and document {document!r} were judged {known} before, and {grade} here",
                where=where,
                mend="keep one of the two",
            )
    if not relevance:
        raise InputError("the file has no rows", where=str(path), mend="give at least one judgement")
    return relevance


def write_trec_qrels(
    relevance: Mapping[str, Mapping[str, int]], path: str | Path, *, files: FileOperations = LOCAL_FILES
) -> None:
    """Write a TREC relevance file atomically.

    Args:
        relevance: Query id to document id to grade.
        path: The file to write.
        files: The file effects; tests pass one that fails.

    Raises:
        InputError: An id holds white space, which the format cannot carry.
    """
    lines = [
        f"{_field(query)} 0 {_field(document)} {grade}\n"
        for query, grades in relevance.items()
        for document, grade in grades.items()
    ]
    files.replace_file(Path(path), "".join(lines).encode())


def read_trec_run(path: str | Path) -> Run:
    """Read a TREC run: ``query Q0 document rank score tag`` a line; the rank is not used, as in trec_eval.

    Args:
        path: The file, gzipped or not.

    Returns:
        Query id to document id to score.

    Raises:
        InputError: A line has not six fields, a score is not finite, or a document comes twice for a query.
    """
    run: Run = {}
    for number, line in text_lines(Path(path)):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        fields = line.split()
        if len(fields) != 6:
            raise InputError(
                f"{len(fields)} fields, not 6", where=where, mend="write: query Q0 document rank score tag"
            )
        query, _, document, _, text, _ = fields
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise InputError(f"the score {text!r}", where=where, mend="give a finite number")
        if document in run.setdefault(query, {}):
            raise InputError(f"document {document!r} comes twice for query {query!r}", where=where, mend="keep one")
        run[query][document] = score
    if not run:
        raise InputError("the file has no rows", where=str(path), mend="give at least one result")
    return run


def write_trec_run(
    run: Mapping[str, Mapping[str, float]],
    path: str | Path,
    *,
    tag: str = "embedworks",
    files: FileOperations = LOCAL_FILES,
) -> None:
    """Write a TREC run atomically, best first, ties by document id.

    Args:
        run: Query id to document id to score.
        path: The file to write.
        tag: Name of the system, one word.
        files: The file effects; tests pass one that fails.

    Raises:
        InputError: An id or the tag holds white space, or a score is not finite.
    """
    lines: list[str] = []
    for query, scores in run.items():
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        for rank, (document, score) in enumerate(ranked, 1):
            if not math.isfinite(score):
                raise InputError(f"the score {score} of {document!r} for {query!r}", where="run", mend="finite scores")
            lines.append(f"{_field(query)} Q0 {_field(document)} {rank} {float(score)!r} {_field(tag)}\n")
    files.replace_file(Path(path), "".join(lines).encode())


def _field(value: str) -> str:
    if not value or len(value.split()) != 1 or value != value.strip():
        raise InputError(f"{value!r} is no single word", where="TREC file", mend="use ids without white space")
    return value
