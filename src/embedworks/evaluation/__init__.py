"""Models or runs meet judged data and become scores, unit by unit, with the means to say what is more than chance.

Comes in: an encoder, a search function or a run, and a judged record. Goes out: ``Result``, ``Comparison``, pictures.
Start reading at ``evaluate`` and ``compare``; the formulae are in ``retrieval_metrics`` and ``significance``.
"""

from embedworks.evaluation.classification import evaluate_classification, evaluate_nearest_neighbours
from embedworks.evaluation.clustering import evaluate_clustering
from embedworks.evaluation.compare import Comparison, ComparisonRow, compare, compare_runs, format_p, metric_label
from embedworks.evaluation.encoding import RememberingEncoder
from embedworks.evaluation.evaluate import evaluate
from embedworks.evaluation.exact_search import exact_search
from embedworks.evaluation.families import FamilyComparison, FamilyRow, compare_family
from embedworks.evaluation.fusion import FusionChoice, choose_fusion_weight, fuse
from embedworks.evaluation.lexical import Bm25
from embedworks.evaluation.result import Result, read_results, results_document, write_results
from embedworks.evaluation.retrieval import evaluate_retrieval, retrieval_result, retrieve
from embedworks.evaluation.retrieval_metrics import Relevance, Run, score_run
from embedworks.evaluation.significance import holm, paired_bootstrap, wilcoxon_signed_rank
from embedworks.evaluation.sts import evaluate_sts

__all__ = [
    "Bm25",
    "Comparison",
    "ComparisonRow",
    "FamilyComparison",
    "FamilyRow",
    "FusionChoice",
    "Relevance",
    "RememberingEncoder",
    "Result",
    "Run",
    "choose_fusion_weight",
    "compare",
    "compare_family",
    "compare_runs",
    "evaluate",
    "evaluate_classification",
    "evaluate_clustering",
    "evaluate_nearest_neighbours",
    "evaluate_retrieval",
    "evaluate_sts",
    "exact_search",
    "format_p",
    "fuse",
    "holm",
    "metric_label",
    "paired_bootstrap",
    "read_results",
    "results_document",
    "retrieval_result",
    "retrieve",
    "score_run",
    "wilcoxon_signed_rank",
    "write_results",
]
