"""Semantic textual similarity: does the cosine of two texts rise with how alike people find them."""

from __future__ import annotations

from embedworks.data import ScoredPairs
from embedworks.evaluation.encoding import encode_items
from embedworks.evaluation.exact_search import paired_cosines
from embedworks.evaluation.result import Result, hash_of
from embedworks.evaluation.statistic import statistic_value
from embedworks.foundation import InputError, environment
from embedworks.foundation.protocols import Encoder


def evaluate_sts(
    encoder: Encoder, pairs: ScoredPairs, *, system: str, data_set: str = "scored pairs", progress: bool = False
) -> Result:
    """Correlate cosines with gold scores: Spearman (primary, as MTEB reports) and Pearson.

    Cosine and gold score of every pair are kept, so that a comparison draws pairs again and computes the ranks anew.

    Args:
        encoder: Gives the vectors; both texts of a pair are encoded as items.
        pairs: Texts and gold scores.
        system: Name of the encoder.
        data_set: Name of the pairs.
        progress: Whether to show progress while encoding.

    Returns:
        ``spearman`` and ``pearson``; 0 if every cosine is the same.

    Raises:
        InputError: There are fewer than 2 pairs, or all gold scores are equal.
    """
    first, second, gold = pairs.a, pairs.b, pairs.scores
    if len(set(gold)) < 2:
        raise InputError(
            f"{len(gold)} pairs with {len(set(gold))} distinct scores have no correlation",
            where=data_set,
            mend="give pairs of at least two different scores",
        )
    vectors = encode_items(encoder, [*first, *second], progress=progress)
    cosines = paired_cosines(vectors[: len(first)], vectors[len(first) :]).tolist()
    return Result(
        system=system,
        data_set=data_set,
        task="sts",
        metrics={
            "spearman": float(statistic_value("spearman", [cosines, gold])[0]),
            "pearson": float(statistic_value("pearson", [cosines, gold])[0]),
        },
        primary="spearman",
        unit_ids=[str(row) for row in range(len(gold))],
        per_unit={"cosine": cosines, "gold": [float(score) for score in gold]},
        data_hash=hash_of(first, second, [repr(float(score)) for score in gold]),
        details={"unit": "pair", "pairs": len(gold)},
        environment=environment(),
    )
