"""LIMIT (arXiv 2508.21038): texts of who likes what, in which only the pattern of relevant sets is hard.

``generate_limit`` makes such sets from any list of things to like; ``load_limit_small`` reads the published small set,
and ``load_limit`` the published queries and judgements of the full one with its 50,000 texts written anew.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.data.corpus import Corpus
from embedworks.data.download import File, local_file
from embedworks.data.judged import Judged, Queries, Relevance, RelevanceTable
from embedworks.data.person_names import person_names
from embedworks.data.readers import read_jsonl
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

LimitPattern = Literal["random", "cycle", "disjoint", "dense"]
LIMIT_PATTERNS: tuple[LimitPattern, ...] = ("random", "cycle", "disjoint", "dense")
ITEMS_PER_DOCUMENT = 45
"""Things that every published text lists."""
_FULL_DOCUMENTS = 50_000
_ADDRESS = "https://raw.githubusercontent.com/google-deepmind/limit/main/data"
_QUESTION = re.compile(r"Who likes (?P<item>.+)\?")

# size and SHA-256 are those of the uncompressed content
LIMIT_SMALL_FILES = tuple(
    File(name, f"{_ADDRESS}/limit-small/{name}", size, sha256)
    for name, size, sha256 in (
        ("corpus.jsonl", 29465, "ebc38fa10c96fa02e4501e41968edf586efffc6241b6cd10f1c8757c1854dc53"),
        ("queries.jsonl", 54483, "0afedee8bb9aec36053568673bc7b5eb3e5fc416b49d44f187026de930084db8"),
        ("qrels.jsonl", 137231, "f6a0cbf1ac3c405e1cffc96c87bd19a5f77a671d123f547cf946bf17874a27f8"),
    )
)
LIMIT_FILES = tuple(
    File(name, f"{_ADDRESS}/limit/{name}", size, sha256)
    for name, size, sha256 in (
        ("queries.jsonl", 54646, "1ead4c54487728173aa1433778a2ab0f4cf1cf8aeeedb886c05238b32d818594"),
        ("qrels.jsonl", 135812, "a4f9b25b694623c240c6499fb8d8a4896355db9c840f29bd14580d0d4100ea89"),
    )
)


def dense_documents(queries: int, *, relevant: int = 2) -> int:
    """Return the smallest number of documents with at least ``queries`` different sets of ``relevant`` of them.

    Example:
        >>> dense_documents(1000)
        46
    """
    documents = relevant
    while math.comb(documents, relevant) < queries:
        documents += 1
    return documents


def relevance_pattern(
    pattern: LimitPattern, *, queries: int, documents: int, relevant: int = 2, seed: int = 0
) -> NDArray[np.int64]:
    """Choose which documents are relevant to each query (section 5.2 and the ablation of the paper).

    ``random``: any ``relevant`` documents, drawn anew for every query; ``cycle``: query i has documents i to
    i + relevant - 1, going round; ``disjoint``: no document serves two queries; ``dense``: the first sets, in
    lexicographic order, over as few documents as have enough sets.

    Args:
        pattern: The pattern.
        queries: Number of queries m.
        documents: Number of documents n.
        relevant: Relevant documents a query, k.
        seed: Seed of the pattern ``random``; the others draw nothing.

    Returns:
        Document numbers, shape (m, k), ascending within a row for every pattern but ``cycle``.

    Raises:
        InputError: The pattern is unknown, or there are too few documents for it.

    Example:
        >>> relevance_pattern("dense", queries=4, documents=10).tolist()
        [[0, 1], [0, 2], [0, 3], [1, 2]]
        >>> relevance_pattern("cycle", queries=3, documents=3).tolist()
        [[0, 1], [1, 2], [2, 0]]
    """
    if queries < 1 or relevant < 1:
        raise InputError(f"{queries} queries with {relevant} relevant documents", where="LIMIT", mend="ask for 1 each")
    if pattern not in LIMIT_PATTERNS:
        raise InputError(f"no pattern {pattern!r}", where="LIMIT", mend=f"choose from {', '.join(LIMIT_PATTERNS)}")
    needed = {"disjoint": queries * relevant, "dense": dense_documents(queries, relevant=relevant)}.get(
        pattern, relevant
    )
    if documents < needed:
        raise InputError(
            f"{documents} documents, the pattern {pattern!r} of {queries} queries needs {needed}",
            where="LIMIT",
            mend="make more documents or fewer queries",
        )
    if pattern == "dense":
        rows = list(itertools.islice(itertools.combinations(range(needed), relevant), queries))
        return np.asarray(rows, np.int64).reshape(queries, relevant)
    start = np.arange(queries, dtype=np.int64)[:, None]
    step = np.arange(relevant, dtype=np.int64)
    if pattern == "cycle":
        return np.asarray((start + step) % documents, np.int64)
    if pattern == "disjoint":
        return np.asarray(start * relevant + step, np.int64)
    generator = random_generator(seed, "limit", "random pattern")
    drawn = [np.sort(generator.choice(documents, relevant, replace=False)) for _ in range(queries)]
    return np.asarray(drawn, np.int64)


def generate_limit(
    items: Sequence[str],
    *,
    pattern: LimitPattern = "dense",
    queries: int = 1000,
    documents: int = _FULL_DOCUMENTS,
    relevant: int = 2,
    items_per_document: int = ITEMS_PER_DOCUMENT,
    seed: int = 0,
) -> Judged:
    """Make a LIMIT set: every query asks for one item, every document lists what one made-up person likes.

    Nothing but the place of the query items depends on the pattern: with one seed, names, fillers, their order and
    the items asked for are the same, and a document that no query wants has the same text under every pattern.

    Args:
        items: Different things to like; ``queries`` of them are asked for, the rest are fillers.
        pattern: As :func:`relevance_pattern`.
        queries: Number of queries.
        documents: Number of documents; :func:`dense_documents` gives the smallest number for ``dense``.
        relevant: Relevant documents a query.
        items_per_document: Items every document lists.
        seed: Seed of items, names and fillers.

    Returns:
        Documents with the person's name as id, queries ``query_0`` and so on, grade 1 for the relevant.

    Raises:
        InputError: An item is empty or stands twice, or there are too few items or documents for what is asked.

    Example:
        >>> fruit = ["Apples", "Pears", "Plums", "Figs", "Limes", "Dates"]
        >>> judged = generate_limit(fruit, queries=3, documents=3, items_per_document=3)
        >>> judged.query_texts[0].startswith("Who likes "), judged.corpus.texts[0].count(",")
        (True, 1)
    """
    known = sorted(set(items))
    if len(known) != len(items) or not all(item.strip() for item in known):
        raise InputError("an item is empty or stands twice", where="LIMIT items", mend="give different items")
    if len(known) < queries:
        raise InputError(f"{len(known)} items for {queries} queries", where="LIMIT items", mend="give more items")
    sets = relevance_pattern(pattern, queries=queries, documents=documents, relevant=relevant, seed=seed)
    order = random_generator(seed, "limit", "items").permutation(len(known))
    asked = [known[place] for place in order[:queries]]
    fillers = [known[place] for place in order[queries:]]
    likes: list[list[str]] = [[] for _ in range(documents)]
    for item, chosen in zip(asked, sets, strict=True):
        for document in chosen:
            likes[document].append(item)
    names = person_names(documents, seed=seed)
    texts = _liking_texts(names, likes, fillers, items_per_document=items_per_document, seed=seed)
    query_ids = [f"query_{number}" for number in range(queries)]
    relevance = {
        query: {names[document]: 1 for document in chosen} for query, chosen in zip(query_ids, sets, strict=True)
    }
    corpus = Corpus.from_columns(names, texts)
    return Judged.from_columns(corpus, query_ids, [f"Who likes {item}?" for item in asked], relevance)


def load_limit_small(paths: Mapping[str, Path]) -> dict[str, Judged]:
    """Read the published small set: 46 documents, 1,000 queries, two relevant documents each."""
    corpus_path = paths["corpus.jsonl"]
    table = read_jsonl(corpus_path).select(["_id", "text"])  # every title is empty
    corpus = Corpus(table, source=str(corpus_path), columns={"id": "_id"})
    queries, relevance = _questions(paths)
    return {"test": Judged(corpus, queries.table, relevance, source="limit-small")}


def load_limit(paths: Mapping[str, Path]) -> dict[str, Judged]:
    """Read the published queries and judgements of the full set, and write its 50,000 documents anew.

    The items of the 46 relevant documents are those of their queries; up to 45 a document they are filled, as all
    others are, with items that ``limit-small`` asks for and this set does not.
    """
    queries, relevance = _questions(paths)
    asked = {query: item_of(text) for query, text in zip(queries.ids, queries.texts, strict=True)}
    wanted: dict[str, list[str]] = {}
    for query, grades in relevance.items():
        for document in grades:
            wanted.setdefault(document, []).append(asked[query])
    fillers = sorted(set(limit_items()) - set(asked.values()))
    taken = set(wanted)
    others = [name for name in person_names(_FULL_DOCUMENTS + len(taken), seed=0) if name not in taken]
    names = [*wanted, *others[: _FULL_DOCUMENTS - len(taken)]]
    likes = [*wanted.values(), *([] for _ in range(_FULL_DOCUMENTS - len(taken)))]
    texts = _liking_texts(names, likes, fillers, items_per_document=ITEMS_PER_DOCUMENT, seed=0)
    corpus = Corpus.from_columns(names, texts)
    return {"test": Judged(corpus, queries.table, relevance, source="limit")}


def limit_items() -> list[str]:
    """Return the items that the published queries of both sets ask for, sorted.

    Raises:
        StorageError: A file differs from what was published, or cannot be downloaded.
    """
    paths = [
        local_file(name, file)
        for name, files in (("limit", LIMIT_FILES), ("limit-small", LIMIT_SMALL_FILES))
        for file in files
        if file.name == "queries.jsonl"
    ]
    return sorted({item_of(text) for path in paths for text in _queries(path).texts})


def item_of(question: str) -> str:
    """Return the item that a query asks for.

    Raises:
        InputError: The question has another form.

    Example:
        >>> item_of("Who likes Slide Rules?")
        'Slide Rules'
    """
    found = _QUESTION.fullmatch(question)
    if found is None:
        raise InputError(f"the question {question[:60]!r}", where="LIMIT queries", mend="write: Who likes ITEM?")
    return found["item"]


def _liking_texts(
    names: Sequence[str],
    likes: Sequence[Sequence[str]],
    fillers: Sequence[str],
    *,
    items_per_document: int,
    seed: int,
) -> list[str]:
    """Fill every list of likes up to the same length and write it as one sentence."""
    generator = random_generator(seed, "limit", "fillers")
    needed = max(items_per_document - len(own) for own in likes)
    if needed > len(fillers) or items_per_document < 2:
        raise InputError(
            f"{len(fillers)} items are no query's, and a document of {items_per_document} needs {needed}",
            where="LIMIT items",
            mend="give more items, or fewer to a document, but at least 2",
        )
    texts = []
    for name, own in zip(names, likes, strict=True):
        if len(own) > items_per_document:
            raise InputError(
                f"{name!r} is relevant to {len(own)} queries and lists {items_per_document} items",
                where="LIMIT",
                mend="raise items_per_document, or ask fewer queries",
            )
        # Drawn in full whatever the document has of its own, so that the pattern shifts no later draw.
        filling = generator.choice(len(fillers), min(items_per_document, len(fillers)), replace=False)
        listed = [*own, *(fillers[place] for place in filling[: items_per_document - len(own)])]
        listed = [listed[place] for place in generator.permutation(items_per_document)]
        texts.append(f"{name} likes {', '.join(listed[:-1])} and {listed[-1]}.")
    return texts


def _questions(paths: Mapping[str, Path]) -> tuple[Queries, Relevance]:
    columns = {"query_id": "query-id", "document_id": "corpus-id", "grade": "score"}
    relevance = RelevanceTable(read_jsonl(paths["qrels.jsonl"]), source=str(paths["qrels.jsonl"]), columns=columns)
    return _queries(paths["queries.jsonl"]), relevance.grades()


def _queries(path: Path) -> Queries:
    return Queries(read_jsonl(path), source=str(path), columns={"id": "_id"})
