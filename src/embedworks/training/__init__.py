"""A model, data and an objective become a trained model, checkpoints and a log.

Comes in: an encoder and ``Pairs``. Goes out: the encoder trained in place, a ``TrainingLog``, hard negatives.
Start reading at ``fit`` and ``settings``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedworks.training.bridge import EmbeddingTrainer
    from embedworks.training.checkpoints import Checkpoint, CheckpointStore
    from embedworks.training.class_pairs import ClassPairsReport, pairs_by_example, pairs_by_label
    from embedworks.training.contrastive_loss import ContrastiveLoss
    from embedworks.training.fit import fit_pairs
    from embedworks.training.guards import TrainingInterruptedError
    from embedworks.training.hard_negatives import MiningReport, mine_hard_negatives
    from embedworks.training.leakage import LeakageReport, check_leakage, without_leaks
    from embedworks.training.merged_encoders import MergeReport, merge_delta_guided, merge_greedily, merge_uniformly
    from embedworks.training.merging import GreedySoup, delta_guided_fusion, greedy_soup, uniform_soup
    from embedworks.training.settings import TrainingLog, TrainingSettings
    from embedworks.training.stages import Stage, fit_stages
    from embedworks.training.task_sampler import MixedSampler, SingleTaskSampler, TaskBatch

_HOMES = {
    "Checkpoint": "checkpoints",
    "CheckpointStore": "checkpoints",
    "ClassPairsReport": "class_pairs",
    "ContrastiveLoss": "contrastive_loss",
    "EmbeddingTrainer": "bridge",
    "GreedySoup": "merging",
    "LeakageReport": "leakage",
    "MergeReport": "merged_encoders",
    "MiningReport": "hard_negatives",
    "MixedSampler": "task_sampler",
    "SingleTaskSampler": "task_sampler",
    "Stage": "stages",
    "TaskBatch": "task_sampler",
    "TrainingInterruptedError": "guards",
    "TrainingLog": "settings",
    "TrainingSettings": "settings",
    "check_leakage": "leakage",
    "delta_guided_fusion": "merging",
    "fit_pairs": "fit",
    "fit_stages": "stages",
    "greedy_soup": "merging",
    "merge_delta_guided": "merged_encoders",
    "merge_greedily": "merged_encoders",
    "merge_uniformly": "merged_encoders",
    "mine_hard_negatives": "hard_negatives",
    "pairs_by_example": "class_pairs",
    "pairs_by_label": "class_pairs",
    "uniform_soup": "merging",
    "without_leaks": "leakage",
}

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "ClassPairsReport",
    "ContrastiveLoss",
    "EmbeddingTrainer",
    "GreedySoup",
    "LeakageReport",
    "MergeReport",
    "MiningReport",
    "MixedSampler",
    "SingleTaskSampler",
    "Stage",
    "TaskBatch",
    "TrainingInterruptedError",
    "TrainingLog",
    "TrainingSettings",
    "check_leakage",
    "delta_guided_fusion",
    "fit_pairs",
    "fit_stages",
    "greedy_soup",
    "merge_delta_guided",
    "merge_greedily",
    "merge_uniformly",
    "mine_hard_negatives",
    "pairs_by_example",
    "pairs_by_label",
    "uniform_soup",
    "without_leaks",
]


def __getattr__(name: str) -> Any:
    """Import a name's file when the name is first used: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
