"""Search on LIMIT texts: one vector a text, whole and cut short, BM25, phrases, and one vector a token."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedworks.data import Corpus, Judged
from embedworks.evaluation import Bm25, Run, paired_bootstrap, retrieve, score_run
from embedworks.evaluation.late_interaction import max_sim_run
from embedworks.methods._report import Finding, verdict_of_check, verdict_of_difference

if TYPE_CHECKING:
    from embedworks.encoders import TextEncoder
    from embedworks.foundation.protocols import Encoder

CUTS = (2, 5, 10, 20)
DEEPEST = 100
DIMENSIONS = (32, 64, 128, 256)
BM25, PHRASES, TOKENS, SINGLE = "BM25", "phrases", "one vector a token", "one vector a text"

EARLIER_RUN: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        SINGLE: (16.2, 31.0, 48.0, 69.4, 2.3),
        f"{SINGLE}, 32 of 384": (9.0, 18.4, 32.3, 55.1),
        f"{SINGLE}, 64 of 384": (9.4, 21.2, 36.8, 59.6),
        f"{SINGLE}, 128 of 384": (11.2, 23.2, 39.0, 63.1),
        f"{SINGLE}, 256 of 384": (12.6, 27.3, 43.0, 66.5),
        BM25: (99.2, 100.0, 100.0, 100.0, 98.4),
        TOKENS: (96.0, 99.8, 100.0, 100.0, 92.4),
    }
)
"""Recall at 2, 5, 10 and 20 and share of exact top-2 sets, in per cent, by other code on the same files."""

PUBLISHED_SMALL = MappingProxyType({"single vector, 6 models": [19.0, 54.3], "GTE-ModernColBERT": 83.5, "BM25": 97.8})
"""Recall at 2 on limit-small in per cent (arXiv 2508.21038, table 4)."""

_TOLERANCE = 1.0  # points
_BETWEEN = re.compile(r", | and ")


class Shortened:
    """An encoder whose vectors are cut to their first components.

    Args:
        encoder: The encoder.
        dimension: Components to keep; lengths are scaled to one where cosines are taken.
    """

    def __init__(self, encoder: Encoder, dimension: int) -> None:
        self._encoder = encoder
        self.dimension = dimension

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return the first components of the vectors of texts, shape (n, dimension)."""
        return self._encoder.encode(items)[:, : self.dimension]


class PhraseSearch:
    """TF-IDF in which every listed phrase is one word: what a query asks for stands in its documents alone.

    Args:
        corpus: Texts of the form "NAME likes A, B and C."
    """

    def __init__(self, corpus: Corpus) -> None:
        self._holders: dict[str, list[str]] = {}
        self._ids = corpus.ids
        self._lengths: dict[str, int] = {}
        for document, text in zip(corpus.ids, corpus.texts, strict=True):
            listed = _phrases(text)
            self._lengths[document] = len(listed)
            for phrase in listed:
                self._holders.setdefault(phrase, []).append(document)

    def search(self, texts: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """Return up to ``k`` documents that list the phrase a query asks for, best first."""
        answers = []
        for text in texts:
            phrase = text.removeprefix("Who likes ").removesuffix("?")
            holders = self._holders.get(phrase, [])
            idf = np.log((1 + len(self._ids)) / (1 + len(holders))) + 1
            scored = [(document, float(idf / self._lengths[document] ** 0.5)) for document in holders]
            answers.append(sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k])
        return answers


def _phrases(text: str) -> set[str]:
    """Return everything that may be a listed phrase; where one holds "and", its parts come besides."""
    listed = text.split(" likes ", 1)[1].removesuffix(".")
    pieces = _BETWEEN.split(listed)
    last = listed.rsplit(", ", 1)[-1]
    words = last.split(" and ")
    ends = {" and ".join(words[place:]) for place in range(len(words))}
    starts = {" and ".join(words[:place]) for place in range(1, len(words))}
    return {*pieces, *listed.split(", "), *ends, *starts}


def token_vectors(encoder: TextEncoder, texts: Sequence[str], *, batch: int = 32) -> list[NDArray[np.float32]]:
    """Return the last hidden state of every token of texts, special tokens included, one matrix a text."""
    found = encoder.model.encode(
        list(texts),
        output_value="token_embeddings",
        batch_size=batch,
        convert_to_numpy=False,
        show_progress_bar=False,
    )
    return [states.float().cpu().numpy() for states in found]


def token_run(encoder: TextEncoder, judged: Judged, *, k: int) -> dict[str, dict[str, float]]:
    """Search by MaxSim over untrained token states."""
    return max_sim_run(
        judged.query_ids,
        token_vectors(encoder, judged.query_texts),
        judged.corpus.ids,
        token_vectors(encoder, judged.corpus.texts),
        k=k,
    )


@dataclass(frozen=True)
class Recalls:
    """What a run finds, in per cent, with the recall of every query at the first cut."""

    at: Mapping[int, float]
    exact: float
    first: NDArray[np.float64]


def recalls(run: Run, judged: Judged) -> Recalls:
    """Score a run by recall at every cut, and by the share of queries whose top two are exactly the relevant ones."""
    scores = score_run(run, judged.relevance, metrics=[f"recall@{cut}" for cut in (*CUTS, DEEPEST)])
    first = np.asarray(scores.per_query[f"recall@{CUTS[0]}"])
    at = {cut: 100 * scores.means[f"recall@{cut}"] for cut in (*CUTS, DEEPEST)}
    return Recalls(at, 100 * float((first == 1).mean()), first)


def systems(
    encoder: Encoder, judged: Judged, *, tokens: TextEncoder | None = None, dimensions: Sequence[int] = DIMENSIONS
) -> dict[str, Recalls]:
    """Run every system on a judged set.

    Args:
        encoder: Asked for one vector a text.
        judged: A LIMIT set.
        tokens: Asked for one vector a token; left out where None.
        dimensions: To what the encoder's vectors are cut besides.
    """
    runs: dict[str, Run] = {}
    for dimension in dimensions:
        name = f"{SINGLE}, {dimension} of {encoder.dimension}"
        runs[name] = retrieve(Shortened(encoder, dimension), judged, k=DEEPEST)
    runs[SINGLE] = retrieve(encoder, judged, k=DEEPEST)
    plain = Bm25(judged.corpus.ids, judged.corpus.texts, stop_words=False)
    runs[BM25] = retrieve(plain.search, judged, k=DEEPEST)
    if tokens is not None:
        runs[TOKENS] = token_run(tokens, judged, k=DEEPEST)
    runs[PHRASES] = retrieve(PhraseSearch(judged.corpus).search, judged, k=DEEPEST)
    return {name: recalls(run, judged) for name, run in runs.items()}


def small_findings(found: Mapping[str, Recalls], *, longest: int, limit: int) -> list[Finding]:
    """Judge the published small set: figures as computed before, and what fails beside what does not.

    Args:
        found: Of :func:`systems` on limit-small.
        longest: Tokens of the longest text.
        limit: Tokens that the encoder reads at most.
    """
    errors = {}
    for name, expected in EARLIER_RUN.items():
        ours = [*(found[name].at[cut] for cut in CUTS), found[name].exact][: len(expected)]
        errors[name] = max(abs(one - other) for one, other in zip(ours, expected, strict=True))
    findings = [
        Finding(
            f"as-computed-before-{number}",
            f"recall of {name} on limit-small lies within {_TOLERANCE:g} point of what other code measured",
            {"largest_deviation_points": round(error, 2)},
            verdict_of_check(error, _TOLERANCE),
        )
        for number, (name, error) in enumerate(errors.items(), start=1)
    ]
    for short, better in (("tokens", TOKENS), ("bm25", BM25)):
        findings.append(_gain(f"{short}-over-single", better, SINGLE, found, at_least=50.0))
    findings.append(_gain("dimension", SINGLE, f"{SINGLE}, {DIMENSIONS[0]} of 384", found, at_least=0.0))
    short_of = 100 - min(found[PHRASES].at[cut] for cut in CUTS)
    findings.append(
        Finding(
            "phrases",
            "with every phrase as one word the answer is always found, so that the texts hold all that is needed",
            {"recall_at_2": found[PHRASES].at[2], "exact": found[PHRASES].exact},
            verdict_of_check(short_of, 0),
        )
    )
    findings.append(
        Finding(
            "not-truncated",
            "no text of limit-small is longer than the encoder reads",
            {"longest_tokens": longest, "limit_tokens": limit},
            verdict_of_check(longest, limit),
        )
    )
    return findings


def _gain(name: str, better: str, worse: str, found: Mapping[str, Recalls], *, at_least: float) -> Finding:
    _, (difference,) = paired_bootstrap("mean", [[100 * found[worse].first], [100 * found[better].first]])
    return Finding(
        name,
        f"{better} has a higher recall at 2 on limit-small than {worse}"
        + (f", by {at_least:g} points and more" if at_least else ""),
        {
            "difference_points": round(difference.difference, 2),
            "interval_95_points": [round(difference.low, 2), round(difference.high, 2)],
            "p": difference.p,
            "queries": len(found[worse].first),
        },
        verdict_of_difference(
            difference.difference, (difference.low, difference.high), difference.p, at_least=at_least
        ),
        dict(PUBLISHED_SMALL) if at_least else {},
    )


def recall_rows(found: Mapping[str, Recalls], *, cuts: Sequence[int] = CUTS) -> list[dict[str, Any]]:
    """Return one row a system, in per cent."""
    return [
        {
            "system": name,
            **{f"recall@{cut}": round(one.at[cut], 1) for cut in cuts},
            "exact top 2": round(one.exact, 1),
        }
        for name, one in found.items()
    ]
