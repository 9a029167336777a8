"""Losses, as ``nn.Module`` objects over tensors.

Comes in: vectors of queries, positives and negatives. Goes out: one scalar to minimise.
Start reading at ``contrastive``. In every ``forward``, what is given by position is vectors, what is given by keyword
is not: that is how :class:`Matryoshka` goes around any of them.
"""

from embedworks.objectives.bipartite import BipartiteInfoNCE
from embedworks.objectives.contrastive import InfoNCE
from embedworks.objectives.cross_device import CrossDeviceNegatives, all_gather_rows
from embedworks.objectives.distillation import ContrastiveDistillation, teacher_similarities
from embedworks.objectives.false_negatives import false_negative_mask, other_rows_mask, same_class_mask
from embedworks.objectives.focal import FocalInfoNCE
from embedworks.objectives.gradient_cache import encode_in_chunks
from embedworks.objectives.many_positives import ManyPositiveInfoNCE
from embedworks.objectives.matryoshka import Matryoshka
from embedworks.objectives.negative_mixing import MixedBatch, MixedNegatives, mix_list, mix_pairs
from embedworks.objectives.order_aware import CoSENT, OrderAware, PearsonLoss, PreferenceRanking, RankKL

__all__ = [
    "BipartiteInfoNCE",
    "CoSENT",
    "ContrastiveDistillation",
    "CrossDeviceNegatives",
    "FocalInfoNCE",
    "InfoNCE",
    "ManyPositiveInfoNCE",
    "Matryoshka",
    "MixedBatch",
    "MixedNegatives",
    "OrderAware",
    "PearsonLoss",
    "PreferenceRanking",
    "RankKL",
    "all_gather_rows",
    "encode_in_chunks",
    "false_negative_mask",
    "mix_list",
    "mix_pairs",
    "other_rows_mask",
    "same_class_mask",
    "teacher_similarities",
]
