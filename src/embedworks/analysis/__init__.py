"""What vectors can and cannot say: how central a text is, how two collections differ, where a dimension is the limit.

Comes in: vectors [n, d], or relevance judgements. Goes out: scores, tests with both p-values, bounds. Start reading at
the file named after the question.
"""

from embedworks.analysis.companion_tests import TwoSample, classifier_test, divergence_frontier, energy_test, mmd_test
from embedworks.analysis.depth import Distance, DuplicateRowsWarning, depths, depths_against, depths_paired
from embedworks.analysis.depth_comparison import (
    CorpusComparison,
    DepthTest,
    PermutationTest,
    RankSum,
    compare_corpora,
    depth_permutation_test,
    depth_rank_test,
    q_score,
    q_score_pooled,
    rank_sum,
)
from embedworks.analysis.depth_selection import centre_outward_order, select_examples

__all__ = [
    "CorpusComparison",
    "DepthTest",
    "Distance",
    "DuplicateRowsWarning",
    "PermutationTest",
    "RankSum",
    "TwoSample",
    "centre_outward_order",
    "classifier_test",
    "compare_corpora",
    "depth_permutation_test",
    "depth_rank_test",
    "depths",
    "depths_against",
    "depths_paired",
    "divergence_frontier",
    "energy_test",
    "mmd_test",
    "q_score",
    "q_score_pooled",
    "rank_sum",
    "select_examples",
]
