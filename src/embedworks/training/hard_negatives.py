"""Positive-aware mining of hard negatives: texts near a query, but clearly further than its positive.

Moreira et al. 2024, "NV-Retriever: Improving text embedding models with effective hard-negative mining"
(https://arxiv.org/abs/2407.15831), section 3: TopK-PercPos (``"percentage"``) and TopK-MarginPos (``"absolute"``), and
what they are compared with: TopK-Abs (``"ceiling"``) and naive top-k (``"none"``), shifted or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.data import Corpus, Labelled, Pairs
from embedworks.foundation import InputError, NonFiniteError, progress_bar
from embedworks.foundation.randomness import random_generator

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
Vectors = NDArray[np.float32]
Rule = Literal["percentage", "absolute", "ceiling", "none"]

_QUERY_BLOCK, _DOCUMENT_BLOCK = 256, 16_384


@dataclass(frozen=True)
class MiningReport:
    """What mining found."""

    rows: int
    """Number of pairs that came in."""
    outranked: int
    """Pairs left out because their positive was not within the nearest ``positive_within`` texts."""
    candidates: int
    """Number of distinct texts searched."""
    with_too_few: int
    """Pairs with fewer negatives than asked for."""
    with_none: int
    """Pairs without any negative."""
    too_near: int
    """Candidates in the range that the rule refused as likely positives."""
    positives_not_above_zero: int
    """Pairs whose positive has a cosine of zero or less, for which a share of it says little."""
    mean_positive_score: float
    """Mean cosine of query and positive."""
    mean_negative_score: float | None
    """Mean cosine of query and mined negative; None where nothing was mined."""
    false_negative_rate: float | None
    """Share of the mined negatives that are labelled relevant, or are of the query's class; None where no labels were
    given or nothing was mined."""


def mine_hard_negatives(
    pairs: Pairs,
    encode: Encode,
    *,
    corpus: Corpus | None = None,
    negatives_per_query: int = 4,
    rule: Rule = "percentage",
    margin: float = 0.95,
    range_min: int = 0,
    range_max: int | None = 50,
    sampling: Literal["top", "random"] = "top",
    positive_within: int | None = None,
    relevant: Mapping[str, Collection[str]] | None = None,
    classes: Labelled | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[Pairs, MiningReport]:
    """Fill in the negatives of pairs.

    The known positives of a query are those of all rows with its text or its id; a text that is one of them, or the
    query itself, or has the id of one of them, is never a negative. The rest is ranked by cosine, exactly and in
    blocks. Of the ranks from ``range_min`` to ``range_max``, those whose score passes the rule are candidates:
    ``"percentage"`` wants score < positive - (1 - margin) * abs(positive), which is margin * positive for a positive
    score; ``"absolute"`` wants score < positive - margin, ``"ceiling"`` score < margin, and ``"none"`` takes them all.

    Args:
        pairs: Queries and positives; negatives they have are replaced.
        encode: Turns n texts into vectors of shape (n, d); they are normalised here.
        corpus: Texts to search; the positives where None.
        negatives_per_query: Largest number of negatives a pair gets.
        rule: Which rule.
        margin: The rule's number: a share for ``"percentage"``, a cosine for ``"absolute"`` and ``"ceiling"``.
        range_min: First rank looked at, from 0.
        range_max: Rank after the last one looked at. Where None, all texts that pass the rule are ranked, so that a
            query whose neighbours are all too near gets the nearest of those beyond.
        sampling: ``"top"`` takes the nearest, ``"random"`` draws from the candidates.
        positive_within: Leave out a pair whose positive does not score above the text of this rank (from 1) among
            those that are no known positives (KaLM-Embedding's ranking-consistency filter); keep all where None.
        relevant: Query id to ids of relevant texts of the corpus, to measure false negatives; excludes nothing.
        classes: Texts with classes, to measure false negatives of pairs made from them: those of a class of the
            query's text. It must hold every query and every text that is mined; excludes nothing.
        seed: Seed of the draw.
        progress: Whether to show a bar on standard error.

    Returns:
        The pairs with negatives (fewer or none where there were not enough), nearest first, and a report.

    Raises:
        InputError: An argument is out of range, labels are given without the ids they speak of, a text has no class,
            or no pair is left.
        NonFiniteError: A vector is NaN or infinite.
    """
    _check_arguments(
        pairs, corpus, negatives_per_query, rule, margin, range_min, range_max, sampling, positive_within, relevant,
        classes,
    )  # fmt: skip
    documents = _Documents(pairs, corpus)
    instructions = pairs.instructions or [""] * len(pairs)
    queries, query_rows = _distinct([f"{i}{query}" for i, query in zip(instructions, pairs.queries, strict=True)])
    query_vectors = _unit_vectors(encode, queries)
    document_vectors = _unit_vectors(encode, documents.texts)
    known = documents.known_positives(pairs)
    positive_vectors = _positive_vectors(encode, pairs, documents, document_vectors)
    positive_scores = np.einsum("nd,nd->n", query_vectors[query_rows], positive_vectors).astype(np.float64)
    bounds = _bounds(positive_scores, rule, margin)
    generator = random_generator(seed, "hard negatives")
    chosen: list[list[int]] = []
    kept: list[int] = []
    scores_chosen: list[float] = []
    too_near = 0
    with progress_bar("Mining hard negatives", len(pairs), unit="pairs", enabled=progress) as advance:
        for start in range(0, len(pairs), _QUERY_BLOCK):
            rows = range(start, min(start + _QUERY_BLOCK, len(pairs)))
            block = slice(rows.start, rows.stop)
            found = _nearest(
                query_vectors[query_rows[block]],
                document_vectors,
                [known[row] for row in rows],
                negatives_per_query if range_max is None else range_max,
                below=bounds[block] if range_max is None else None,
                positives=positive_scores[block] if positive_within is not None else None,
            )
            for place, row in enumerate(rows):
                if positive_within is not None and found.as_near[place] >= positive_within:
                    continue
                row_scores = found.scores[place]
                looked_at = np.arange(len(row_scores)) >= range_min
                looked_at &= np.isfinite(row_scores)
                far = row_scores < bounds[row]
                too_near += int((looked_at & ~far).sum()) + int(found.refused[place])
                passing = np.flatnonzero(looked_at & far)
                if sampling == "random" and len(passing) > negatives_per_query:
                    passing = np.sort(generator.choice(passing, negatives_per_query, replace=False))
                passing = passing[:negatives_per_query]
                kept.append(row)
                chosen.append(found.places[place][passing].tolist())
                scores_chosen += row_scores[passing].tolist()
            advance(len(rows))
    if not kept:
        raise InputError(
            f"no positive lies within the nearest {positive_within} texts of its query",
            where="mining of hard negatives",
            mend="raise positive_within, or mine with a better encoder",
        )
    mined = Pairs(pairs.table.take(kept))
    rate: float | None = None
    if relevant is not None:
        rate = documents.share_relevant(mined, chosen, relevant)
    elif classes is not None:
        rate = _share_of_own_class(mined, [[documents.texts[place] for place in row] for row in chosen], classes)
    counts = np.array([len(row) for row in chosen])
    report = MiningReport(
        rows=len(pairs),
        outranked=len(pairs) - len(kept),
        candidates=len(documents.texts),
        with_too_few=int((counts < negatives_per_query).sum()),
        with_none=int((counts == 0).sum()),
        too_near=too_near,
        positives_not_above_zero=int((positive_scores <= 0).sum()),
        mean_positive_score=float(positive_scores.mean()),
        mean_negative_score=float(np.mean(scores_chosen)) if scores_chosen else None,
        false_negative_rate=rate,
    )
    mined = Pairs.from_columns(
        mined.queries,
        mined.positives,
        negatives=[[documents.texts[place] for place in row] for row in chosen],
        query_ids=mined.query_ids,
        positive_ids=mined.positive_ids,
        tasks=mined.tasks,
        instructions=mined.instructions,
    )
    return mined, report


class _Documents:
    """The distinct texts that are searched, and where each text and id stands among them."""

    def __init__(self, pairs: Pairs, corpus: Corpus | None) -> None:
        texts = pairs.positives if corpus is None else corpus.texts
        ids = pairs.positive_ids if corpus is None else corpus.ids
        self.texts, places = _distinct(texts)
        self.place_of_text = {text: place for place, text in enumerate(self.texts)}
        self._places_of_id: dict[str, set[int]] = defaultdict(set)
        self._ids_of_place: dict[int, set[str]] = defaultdict(set)
        for identifier, place in zip(ids or [], places.tolist(), strict=False):
            self._places_of_id[identifier].add(place)
            self._ids_of_place[place].add(identifier)

    def known_positives(self, pairs: Pairs) -> list[list[int]]:
        """Return for each row the places of the texts that must not be its negatives."""
        positive_ids = pairs.positive_ids
        by_key: dict[tuple[str, str], set[int]] = defaultdict(set)
        keys = self._query_keys(pairs)
        for row, text in enumerate(pairs.positives):
            places: set[int] = set() if positive_ids is None else set(self._places_of_id.get(positive_ids[row], ()))
            if text in self.place_of_text:
                places.add(self.place_of_text[text])
            for key in keys[row]:
                by_key[key] |= places
        found: list[list[int]] = []
        for row, query in enumerate(pairs.queries):
            places = set().union(*(by_key[key] for key in keys[row]))
            if query in self.place_of_text:
                places.add(self.place_of_text[query])
            found.append(sorted(places))
        return found

    def share_relevant(
        self, pairs: Pairs, chosen: Sequence[Sequence[int]], relevant: Mapping[str, Collection[str]]
    ) -> float | None:
        """Return which share of the chosen texts is labelled relevant to its query; None where none was chosen."""
        total = wrong = 0
        for identifier, places in zip(pairs.query_ids or [], chosen, strict=True):
            wanted = set(relevant.get(identifier, ()))
            total += len(places)
            wrong += sum(bool(self._ids_of_place[place] & wanted) for place in places)
        return wrong / total if total else None

    @staticmethod
    def _query_keys(pairs: Pairs) -> list[list[tuple[str, str]]]:
        keys = [[("text", query)] for query in pairs.queries]
        for row, identifier in enumerate(pairs.query_ids or []):
            keys[row].append(("id", identifier))
        return keys


def _distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the distinct texts in order of appearance, and the place of each text among them, shape (n,)."""
    place: dict[str, int] = {}
    rows = np.array([place.setdefault(text, len(place)) for text in texts], dtype=np.int64)
    return list(place), rows


def _unit_vectors(encode: Encode, texts: Sequence[str]) -> Vectors:
    vectors = np.asarray(encode(texts), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise InputError(
            f"encode gave an array of shape {vectors.shape} for {len(texts)} texts",
            where="encode",
            mend="it must return one vector a text",
        )
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        first = int(np.argmin(finite))
        raise NonFiniteError(f"the vector of text {first} is not finite", where="encode", mend="check the encoder")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)


def _positive_vectors(encode: Encode, pairs: Pairs, documents: _Documents, document_vectors: Vectors) -> Vectors:
    """Return the vectors of the positives, shape (n, d); only those that are not among the documents are encoded."""
    positives, rows = _distinct(pairs.positives)
    missing = [text for text in positives if text not in documents.place_of_text]
    fresh = dict(zip(missing, _unit_vectors(encode, missing), strict=True)) if missing else {}
    found = [fresh[t] if t in fresh else document_vectors[documents.place_of_text[t]] for t in positives]
    return np.stack(found)[rows]


@dataclass(frozen=True)
class _Found:
    """The nearest documents of a block of queries, best first, ties by place."""

    places: NDArray[np.int64]
    """Their places, shape (q, count)."""
    scores: NDArray[np.float32]
    """Their cosines, shape (q, count); -inf where there are no more."""
    refused: NDArray[np.int64]
    """Documents that were not below the bound, shape (q,)."""
    as_near: NDArray[np.int64]
    """Documents at least as near as the positive, shape (q,)."""


def _nearest(
    queries: Vectors,
    documents: Vectors,
    excluded: Sequence[Sequence[int]],
    count: int,
    *,
    below: NDArray[np.float64] | None,
    positives: NDArray[np.float64] | None,
) -> _Found:
    """Rank the documents that are not excluded and, where bounds are given, are below them.

    Memory: one block of scores, never the whole matrix.
    """
    best_scores = np.full((len(queries), 0), -np.inf, dtype=np.float32)
    best_places = np.zeros((len(queries), 0), dtype=np.int64)
    refused, as_near = np.zeros((2, len(queries)), dtype=np.int64)
    rows = np.repeat(np.arange(len(queries)), [len(places) for places in excluded])
    columns = np.array([place for places in excluded for place in places], dtype=np.int64)
    for start in range(0, len(documents), _DOCUMENT_BLOCK):
        block = documents[start : start + _DOCUMENT_BLOCK]
        scores = queries @ block.T
        inside = (columns >= start) & (columns < start + len(block))
        scores[rows[inside], columns[inside] - start] = -np.inf
        if positives is not None:
            as_near += (scores >= positives[:, None]).sum(axis=1)
        if below is not None:
            near = scores >= below[:, None]
            refused += near.sum(axis=1)
            scores[near] = -np.inf
        places = np.broadcast_to(np.arange(start, start + len(block)), scores.shape)
        all_scores = np.concatenate([best_scores, scores], axis=1)
        all_places = np.concatenate([best_places, places], axis=1)
        best_scores, best_places = _top(all_scores, all_places, count)
    return _Found(best_places, best_scores, refused, as_near)


def _top(
    scores: NDArray[np.float32], places: NDArray[np.int64], count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Keep the best columns of each row, in order, ties by place; the columns come in ascending order of ties."""
    if scores.shape[1] > count:
        smallest = np.partition(scores, scores.shape[1] - count, axis=1)[:, scores.shape[1] - count, None]
        above, equal = scores > smallest, scores == smallest
        # Of the scores equal to the last one kept, the first so many: partition alone would keep any of them.
        room = count - above.sum(axis=1, keepdims=True)
        kept = above | (equal & (np.cumsum(equal, axis=1) <= room))
        scores, places = scores[kept].reshape(-1, count), places[kept].reshape(-1, count)
    order = np.lexsort((places, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(places, order, axis=1)


def _bounds(positives: NDArray[np.float64], rule: Rule, margin: float) -> NDArray[np.float64]:
    """Return what the score of each pair's negatives must lie below, shape (n,)."""
    if rule == "percentage":
        # A share of a negative score would lie above it and let through what is nearer than the positive.
        return positives - (1 - margin) * np.abs(positives)
    if rule == "absolute":
        return positives - margin
    return np.full(len(positives), margin if rule == "ceiling" else np.inf)


def _share_of_own_class(pairs: Pairs, negatives: Sequence[Sequence[str]], classes: Labelled) -> float | None:
    """Return which share of the negatives is of a class of its query's text; None where there are no negatives."""
    classes_of: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(classes.texts, classes.labels, strict=True):
        classes_of[text].add(label)
    total = wrong = 0
    for row, (query, texts) in enumerate(zip(pairs.queries, negatives, strict=True)):
        for text in (query, *texts):
            if text not in classes_of:
                kind = "query" if text == query else "mined negative"
                raise InputError(
                    f"the {kind} of pair {row + 1} has no class",
                    where="mining of hard negatives",
                    mend="give classes with every text",
                )
        total += len(texts)
        wrong += sum(bool(classes_of[text] & classes_of[query]) for text in texts)
    return wrong / total if total else None


def _check_arguments(
    pairs: Pairs,
    corpus: Corpus | None,
    negatives_per_query: int,
    rule: str,
    margin: float,
    range_min: int,
    range_max: int | None,
    sampling: str,
    positive_within: int | None,
    relevant: Mapping[str, Collection[str]] | None,
    classes: Labelled | None,
) -> None:
    def refuse(wrong: bool, what: str, mend: str) -> None:
        if wrong:
            raise InputError(what, where="mining of hard negatives", mend=mend)

    refuse(negatives_per_query < 1, f"negatives_per_query is {negatives_per_query}", "it must be at least 1")
    rules = ("percentage", "absolute", "ceiling", "none")
    refuse(rule not in rules, f"rule is {rule!r}", f"it must be one of {', '.join(rules)}")
    refuse(sampling not in ("top", "random"), f"sampling is {sampling!r}", "it must be 'top' or 'random'")
    if range_max is None:
        whole = range_min == 0 and sampling == "top"
        refuse(not whole, "range_max is None", "that goes with range_min 0 and sampling 'top' alone")
    else:
        rises = 0 <= range_min < range_max
        refuse(not rises, f"the range is {range_min} to {range_max}", "begin at 0 or more, then rise")
    if positive_within is not None:
        refuse(positive_within < 1, f"positive_within is {positive_within}", "it must be at least 1")
    refuse(rule == "percentage" and not 0 < margin <= 1, f"margin is {margin}", "a share lies above 0, up to 1")
    refuse(rule == "absolute" and not 0 <= margin <= 2, f"margin is {margin}", "a cosine margin lies from 0 to 2")
    refuse(rule == "ceiling" and not -1 <= margin <= 1, f"margin is {margin}", "a cosine lies from -1 to 1")
    both = relevant is not None and classes is not None
    refuse(both, "both relevant and classes are given", "measure false negatives by one of them")
    if relevant is not None:
        refuse(pairs.query_ids is None, "labels are given, and the pairs have no query_id", "add the column")
        missing = corpus is None and pairs.positive_ids is None
        refuse(missing, "labels are given, and the texts have no ids", "give a corpus, or positive_id in the pairs")
