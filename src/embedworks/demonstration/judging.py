"""Judge BM25, the untuned encoder, the tuned encoder and their hybrid on queries nobody trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedworks.foundation.protocols import Encoder

if TYPE_CHECKING:
    from embedworks.data import Judged
    from embedworks.evaluation import Comparison, FusionChoice, Result

DEPTH = 100
"""Documents a query that each system hands to the fusion."""

BM25, UNTUNED, TUNED, HYBRID = "BM25", "untuned", "tuned", "hybrid"


@dataclass(frozen=True)
class Judgement:
    """One judged set: every system's result, and the comparisons that the claims are read from."""

    results: list[Result]
    """BM25, untuned, tuned, hybrid, in this order."""
    all_systems: Comparison
    """Every system against the untuned encoder."""
    hybrid_against_parts: Comparison
    """BM25 and the tuned encoder against the hybrid of the two."""


def choose_hybrid(tuned: Encoder, validation: Judged) -> FusionChoice:
    """Choose the weight of the tuned encoder against BM25 on training functions the encoder did not train on.

    Args:
        tuned: The tuned encoder.
        validation: Judged queries made of training functions that were kept from the encoder.
    """
    from embedworks.evaluation import Bm25, choose_fusion_weight, retrieve

    dense = retrieve(tuned, validation, k=DEPTH)
    lexical = retrieve(Bm25(validation.corpus.ids, validation.corpus.texts).search, validation, k=DEPTH)
    return choose_fusion_weight(dense, lexical, validation.relevance, method="min-max", metric="ndcg@10")


def judge(
    untuned: Encoder, tuned: Encoder, choice: FusionChoice, judged: Judged, *, data_set: str, progress: bool
) -> Judgement:
    """Score the four systems on one judged set and compare them query by query.

    Args:
        untuned: The packaged encoder as it comes.
        tuned: The encoder after training.
        choice: How tuned and BM25 are fused.
        judged: Held-out queries and documents.
        data_set: Name that the results carry.
        progress: Whether to show progress on standard error.
    """
    from embedworks.evaluation import Bm25, compare, fuse, retrieval_result, retrieve

    runs = {
        BM25: retrieve(Bm25(judged.corpus.ids, judged.corpus.texts).search, judged, k=DEPTH),
        UNTUNED: retrieve(untuned, judged, k=DEPTH, progress=progress),
        TUNED: retrieve(tuned, judged, k=DEPTH, progress=progress),
    }
    runs[HYBRID] = fuse(runs[TUNED], runs[BM25], method=choice.method, weight=choice.weight)
    result = {name: retrieval_result(runs[name], judged, system=name, data_set=data_set) for name in runs}
    return Judgement(
        results=list(result.values()),
        all_systems=compare([result[UNTUNED], result[BM25], result[TUNED], result[HYBRID]], metric="ndcg@10"),
        hybrid_against_parts=compare([result[HYBRID], result[BM25], result[TUNED]], metric="ndcg@10"),
    )
