"""What vectors can and cannot say: how central a text is, how two collections differ, where a dimension is the limit.

Comes in: vectors [n, d], or relevance judgements. Goes out: scores, tests with both p-values, bounds. Start reading at
the file named after the question.
"""

from embedworks.analysis.capacity import Capacity, CapacityVerdict, judge_capacity
from embedworks.analysis.circle_embedding import circle_documents, circle_query
from embedworks.analysis.companion_tests import TwoSample, classifier_test, divergence_frontier, energy_test, mmd_test
from embedworks.analysis.critical_size import (
    CriticalSize,
    critical_curve,
    critical_size,
    every_subset,
    fit_critical_curve,
)
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
from embedworks.analysis.free_embedding import FreeEmbedding, FreeEmbeddingSettings, train_free_embeddings
from embedworks.analysis.ranking_margin import RankingCheck, ranking_check
from embedworks.analysis.relevance_graph import Densities, RelevanceMatrix, relevance_densities
from embedworks.analysis.sign_rank import DimensionBounds, dimension_bounds

__all__ = [
    "Capacity",
    "CapacityVerdict",
    "CorpusComparison",
    "CriticalSize",
    "Densities",
    "DepthTest",
    "DimensionBounds",
    "Distance",
    "DuplicateRowsWarning",
    "FreeEmbedding",
    "FreeEmbeddingSettings",
    "PermutationTest",
    "RankSum",
    "RankingCheck",
    "RelevanceMatrix",
    "TwoSample",
    "centre_outward_order",
    "circle_documents",
    "circle_query",
    "classifier_test",
    "compare_corpora",
    "critical_curve",
    "critical_size",
    "depth_permutation_test",
    "depth_rank_test",
    "depths",
    "depths_against",
    "depths_paired",
    "dimension_bounds",
    "divergence_frontier",
    "energy_test",
    "every_subset",
    "fit_critical_curve",
    "judge_capacity",
    "mmd_test",
    "q_score",
    "q_score_pooled",
    "rank_sum",
    "ranking_check",
    "relevance_densities",
    "select_examples",
    "train_free_embeddings",
]
