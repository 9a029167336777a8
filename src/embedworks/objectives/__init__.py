"""Losses, as ``nn.Module`` objects over tensors.

Comes in: vectors of queries, positives and negatives. Goes out: one scalar to minimise.
Start reading at ``contrastive``.
"""

from embedworks.objectives.contrastive import InfoNCE
from embedworks.objectives.false_negatives import false_negative_mask, same_class_mask
from embedworks.objectives.gradient_cache import encode_in_chunks

__all__ = ["InfoNCE", "encode_in_chunks", "false_negative_mask", "same_class_mask"]
