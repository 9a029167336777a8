"""Two corpora by depth: what the test finds, how often it is wrong, and what it cannot see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis import (
    classifier_test,
    depth_permutation_test,
    depth_rank_test,
    depths_against,
    depths_paired,
    divergence_frontier,
    energy_test,
    mmd_test,
    q_score,
    rank_sum,
)
from embedworks.analysis.depth import depths_from_mean
from embedworks.analysis.unit_rows import UnitRows
from embedworks.foundation.randomness import random_generator
from embedworks.methods import _tte_depth_data as data
from embedworks.methods._over_seeds import OverSeeds, over_seeds, verdict_of_gain, verdict_within
from embedworks.methods._report import Finding, verdict_of_check

Vectors = NDArray[np.float32]

NULL, OTHER, REVERSED, MIXED = "other titles", "another field", "another field, reversed", "one fifth another field"
OWN_SHUFFLED, SHUFFLED = "its own words shuffled", "other titles, words shuffled"
CONCENTRATED = "the deepest of other titles"
DROPPED, CLAUSES = "other titles, words dropped", "other titles, first clauses"
TEMPLATE = "other titles, in one template"
SAMPLED, SAMPLED_WORDS = "sampled by word pairs", "sampled word by word"

ONE_SIDED_LIMIT = 1.645
"""W above which the one-sided p is below 0.05."""

EARLIER_RUN: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        NULL: (0.530, 0.514),
        OTHER: (0.121, 0.310),
        REVERSED: (0.128, 0.313),
        MIXED: (0.445, 0.472),
        OWN_SHUFFLED: (0.494, 0.496),
    }
)
"""Q and pooled Q of an independent implementation on one draw of 300 titles a group, to compare with."""


@dataclass(frozen=True)
class Companions:
    """What tests other than depth say of two independent corpora, for one seed."""

    classifier_auc: float
    p_classifier: float
    p_energy: float
    p_mmd: float
    frontier: float


@dataclass(frozen=True)
class PairOutcome:
    """What every test says of one corpus against the reference corpus, for one seed."""

    q: float
    q_pooled: float
    q_released: float
    """Q as version 1.0.0 of the released code computes it at equal sizes, from the wrong corpus."""
    w: float
    p_one_sided: float
    p_two_sided: float
    p_permutation: float | None
    """Two-sided, all depths computed again; None as below."""
    companions: Companions | None
    """None where the texts of one corpus are made from those of the other: these tests need independent ones."""


def texts_of(groups: Sequence[data.Groups]) -> list[dict[str, list[str]]]:
    """Return the texts to encode, by name, one mapping a seed."""
    return [
        {
            "reference": group.field,
            NULL: group.same_field,
            OTHER: group.other_field,
            MIXED: group.mixed,
            "source": group.source,
            OWN_SHUFFLED: data.shuffled_words(group.field, seed=seed),
            SHUFFLED: data.shuffled_words(group.source, seed=seed),
            DROPPED: data.dropped_words(group.source, seed=seed),
            CLAUSES: data.first_clauses(group.source),
            TEMPLATE: data.in_a_template(group.source),
            SAMPLED: data.sampled_by_word_pairs(group.field, count=len(group.field), seed=seed),
            SAMPLED_WORDS: data.sampled_word_by_word(group.field, count=len(group.field), seed=seed),
        }
        for seed, group in enumerate(groups)
    ]


def pair_outcomes(vectors: Mapping[str, Vectors], *, permutations: int, seed: int) -> dict[str, PairOutcome]:
    """Run every test on every pair of one seed.

    Args:
        vectors: The vectors of each group of :func:`texts_of`, shape (n, d) each.
        permutations: Permutations of each permutation test.
        seed: Seed of the permutations and halves.
    """
    reference = vectors["reference"]
    pairs = {name: (reference, vectors[name]) for name in (NULL, OTHER, MIXED, OWN_SHUFFLED, SHUFFLED)}
    pairs[REVERSED] = (vectors[OTHER], reference)
    # a generator that always says the same: of twice as many other titles, the half nearest the centre
    others = np.concatenate([vectors[NULL], vectors["source"]])
    central = np.argsort(-depths_against(others, reference), kind="stable")[: len(reference)]
    pairs[CONCENTRATED] = (reference, others[central])
    pairs |= {name: (reference, vectors[name]) for name in (DROPPED, CLAUSES, TEMPLATE, SAMPLED, SAMPLED_WORDS)}
    return {
        name: _outcome(*pair, permutations=permutations, seed=seed, independent=name != OWN_SHUFFLED)
        for name, pair in pairs.items()
    }


def _outcome(reference: Vectors, other: Vectors, *, permutations: int, seed: int, independent: bool) -> PairOutcome:
    test = depth_rank_test(reference, other)
    # version 1.0.0 takes the row means of the distances: depths of the reference's rows in the other corpus
    wrong = depths_from_mean(reference, UnitRows(other, name="other corpus").mean)
    permuted, companions = None, None
    if independent:
        permuted = depth_permutation_test(reference, other, permutations=permutations, seed=seed).p_two_sided
        classifier = classifier_test(reference, other, seed=seed)
        companions = Companions(
            classifier_auc=classifier.statistic,
            p_classifier=classifier.p,
            p_energy=energy_test(reference, other, permutations=permutations, seed=seed).p,
            p_mmd=mmd_test(reference, other, permutations=permutations, seed=seed).p,
            frontier=divergence_frontier(reference, other, seed=seed),
        )
    return PairOutcome(
        q=test.q,
        q_pooled=test.q_pooled,
        q_released=q_score(test.reference_depths, wrong),
        w=test.rank_sum.w,
        p_one_sided=test.rank_sum.p_one_sided,
        p_two_sided=test.rank_sum.p_two_sided,
        p_permutation=permuted,
        companions=companions,
    )


def null_splits(pool: Vectors, *, splits: int, seed: int) -> dict[str, float]:
    """Split one field's titles at random many times and count how often the test speaks of a difference.

    Args:
        pool: Vectors of one field, shape (2 n, d).
        splits: Number of random halvings.
        seed: Seed of the halvings.

    Returns:
        Share of p below 0.05, one-sided and two-sided, and the mean and standard deviation of Q.
    """
    generator = random_generator(seed, "null splits")
    tests, qs = [], []
    for _ in range(splits):
        order = generator.permutation(len(pool))
        pair = depths_paired(pool[order[: len(pool) // 2]], pool[order[len(pool) // 2 :]])
        tests.append(rank_sum(*pair))
        qs.append(q_score(*pair))
    return {
        "one_sided": float(np.mean([test.p_one_sided < 0.05 for test in tests])),
        "two_sided": float(np.mean([test.p_two_sided < 0.05 for test in tests])),
        "q_mean": float(np.mean(qs)),
        "q_sd": float(np.std(qs, ddof=1)),
    }


def corpora_findings(
    outcomes: Sequence[Mapping[str, PairOutcome]], nulls: Sequence[Mapping[str, float]]
) -> list[Finding]:
    """Judge the claims about two corpora.

    Args:
        outcomes: One mapping of :func:`pair_outcomes` a seed.
        nulls: One mapping of :func:`null_splits` a seed.
    """

    def summary(pair: str, value: Callable[[PairOutcome], float]) -> OverSeeds:
        return over_seeds([value(seed[pair]) for seed in outcomes])

    def detected(pair: str, value: Callable[[PairOutcome], float]) -> str:
        return f"{sum(value(seed[pair]) < 0.05 for seed in outcomes)} of {len(outcomes)} seeds"

    rates = over_seeds([null["one_sided"] for null in nulls])
    two_sided = over_seeds([null["two_sided"] for null in nulls])
    null_q = over_seeds([null["q_mean"] for null in nulls])
    apart = summary(OTHER, lambda outcome: 0.5 - outcome.q)
    mixed = summary(MIXED, lambda outcome: outcome.w - ONE_SIDED_LIMIT)
    aucs = [seed[SHUFFLED].companions for seed in outcomes]
    classifier = over_seeds([found.classifier_auc - 0.5 for found in aucs if found is not None])
    ahead = over_seeds(
        [
            found.classifier_auc - 0.5 - abs(0.5 - seed[SHUFFLED].q)
            for found, seed in zip(aucs, outcomes, strict=True)
            if found is not None
        ]
    )
    classified = sum(found.p_classifier < 0.05 for found in aucs if found is not None)
    central = summary(CONCENTRATED, lambda outcome: outcome.q - 0.5)
    sampled = summary(SAMPLED, lambda outcome: 0.5 - outcome.q)
    gaps = [
        abs(summary(pair, lambda outcome: outcome.q).mean - earlier[0])
        / summary(pair, lambda outcome: outcome.q).sd
        for pair, earlier in EARLIER_RUN.items()
    ]  # fmt: skip
    return [
        Finding(
            "calibration",
            "under a true null the one-sided test at 0.05 rejects in 2 to 8 % of random splits",
            {
                "rejected_one_sided": round(rates.mean, 4),
                "interval_95": _rounded(rates),
                "rejected_two_sided": round(two_sided.mean, 4),
                "q_mean": round(null_q.mean, 4),
                "q_sd_of_splits": round(float(np.mean([null["q_sd"] for null in nulls])), 4),
            },
            verdict_within(rates, 0.02, 0.08),
        ),
        Finding(
            "other-field",
            "another field has Q below 0.2",
            _gain_of("half_minus_q", apart) | {"detected_one_sided": detected(OTHER, lambda o: o.p_one_sided)},
            verdict_of_gain(apart, at_least=0.3),
        ),
        Finding(
            "contamination",
            f"one fifth of another field is detected: W exceeds {ONE_SIDED_LIMIT} (one-sided p below 0.05) on average",
            _gain_of("w_beyond_limit", mixed)
            | {
                "q": round(summary(MIXED, lambda outcome: outcome.q).mean, 4),
                "detected_one_sided": detected(MIXED, lambda o: o.p_one_sided),
            },
            verdict_of_gain(mixed),
        ),
        *(
            Finding(
                name,
                f"depth does not see {words}: Q stays within 0.05 of 1/2",
                {
                    "q": round(shuffled.mean, 4),
                    "interval_95": _rounded(shuffled),
                    "sd_over_seeds": round(shuffled.sd, 4),
                    "detected_two_sided": detected(pair, lambda o: o.p_two_sided),
                },
                verdict_within(shuffled, 0.45, 0.55),
            )
            for name, pair, words in (
                ("blind-spot", OWN_SHUFFLED, "that the words of the corpus' own titles were shuffled"),
                ("blind-spot-other-titles", SHUFFLED, "that the words of as many other titles were shuffled"),
            )
            for shuffled in [summary(pair, lambda outcome: outcome.q)]
        ),
        Finding(
            "companion",
            "a classifier on the same vectors does see that the words of other titles were shuffled",
            _gain_of("auc_minus_half", classifier) | {"detected": f"{classified} of {len(outcomes)} seeds"},
            verdict_of_gain(classifier),
        ),
        Finding(
            "companion-ahead",
            "the classifier's AUC lies further from 1/2 than depth's Q on these titles",
            _gain_of("difference", ahead),
            verdict_of_gain(ahead),
        ),
        Finding(
            "concentrated",
            "text concentrated at the centre has Q above 1/2, which the one-sided test cannot see",
            _gain_of("q_minus_half", central)
            | {
                "detected_one_sided": detected(CONCENTRATED, lambda o: o.p_one_sided),
                "detected_two_sided": detected(CONCENTRATED, lambda o: o.p_two_sided),
            },
            verdict_of_gain(central),
        ),
        Finding(
            "synthetic",
            "text sampled from a bigram model of the corpus has Q below 1/2",
            _gain_of("half_minus_q", sampled) | {"detected_one_sided": detected(SAMPLED, lambda o: o.p_one_sided)},
            verdict_of_gain(sampled),
        ),
        Finding(
            "earlier-run",
            "an independent run's Q lies within 3 standard deviations over seeds of ours, for every pair",
            {"largest_deviation_in_sd": round(max(gaps), 2)},
            verdict_of_check(max(gaps), 3.0),
        ),
    ]


def pair_rows(outcomes: Sequence[Mapping[str, PairOutcome]]) -> list[dict[str, Any]]:
    """Return the table of pairs: means over seeds, and how many seeds each test speaks of a difference in."""
    rows = []
    for pair in outcomes[0]:
        of_pair = [seed[pair] for seed in outcomes]
        q = over_seeds([outcome.q for outcome in of_pair])
        row: dict[str, Any] = {
            "corpus": pair,
            "Q": round(q.mean, 3),
            "sd over seeds": round(q.sd, 3),
            "W": round(float(np.mean([outcome.w for outcome in of_pair])), 2),
            "p, one-sided (median)": float(f"{np.median([outcome.p_one_sided for outcome in of_pair]):.2g}"),
            "p, two-sided (median)": float(f"{np.median([outcome.p_two_sided for outcome in of_pair]):.2g}"),
        }
        row["one-sided < 0.05"] = _share([outcome.p_one_sided for outcome in of_pair])
        row["two-sided < 0.05"] = _share([outcome.p_two_sided for outcome in of_pair])
        row["permutation < 0.05"] = _share([outcome.p_permutation for outcome in of_pair])
        companions = [outcome.companions for outcome in of_pair if outcome.companions is not None]
        row["classifier < 0.05"] = _share([found.p_classifier for found in companions])
        row["energy < 0.05"] = _share([found.p_energy for found in companions])
        row["MMD < 0.05"] = _share([found.p_mmd for found in companions])
        if companions:
            row["classifier AUC"] = round(float(np.mean([found.classifier_auc for found in companions])), 3)
            row["frontier"] = round(float(np.mean([found.frontier for found in companions])), 3)
        rows.append(row)
    return rows


def released_rows(outcomes: Sequence[Mapping[str, PairOutcome]]) -> list[dict[str, Any]]:
    """Return the table of what the released code prints instead of Q, beside an independent run's figures."""
    rows = []
    for pair, (earlier_q, earlier_pooled) in EARLIER_RUN.items():
        of_pair = [seed[pair] for seed in outcomes]
        rows.append(
            {
                "corpus": pair,
                "Q": round(float(np.mean([outcome.q for outcome in of_pair])), 3),
                "Q of another run": earlier_q,
                "pooled Q": round(float(np.mean([outcome.q_pooled for outcome in of_pair])), 3),
                "pooled Q of another run": earlier_pooled,
                "Q from the wrong corpus (release 1.0.0)": round(
                    float(np.mean([outcome.q_released for outcome in of_pair])), 3
                ),
            }
        )
    return rows


def _share(p_values: Sequence[float | None]) -> str:
    """Share of p-values below 0.05, or nothing where the test was not run."""
    known = [p for p in p_values if p is not None]
    return f"{100 * float(np.mean([p < 0.05 for p in known])):.0f} %" if known else ""


def _rounded(summary: OverSeeds) -> list[float]:
    return [round(summary.low, 4), round(summary.high, 4)]


def _gain_of(name: str, summary: OverSeeds) -> dict[str, Any]:
    return {
        name: round(summary.mean, 4),
        "interval_95": _rounded(summary),
        "sd_over_seeds": round(summary.sd, 4),
        "p": float(f"{summary.p:.2g}"),
        "seeds": summary.seeds,
    }
