"""The layer analysis of pooling-and-attention: what each layer of a frozen encoder knows, and how alike layers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from embedworks.data import Judged, Labelled, ScoredPairs
    from embedworks.encoders import TextEncoder
    from embedworks.evaluation import Result


@dataclass(frozen=True)
class LayerTasks:
    """What the layers are judged on."""

    sts: Mapping[str, ScoredPairs]
    """Pairs with gold scores: Spearman of the cosine."""
    labelled: Mapping[str, tuple[Labelled, Labelled]]
    """Training and test texts with classes: accuracy of the nearest training text."""
    judged: Mapping[str, Judged]
    """Retrieval sets: nDCG@10 of exact cosine search."""


def analyse_layers(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return how alike the layers' embeddings of the same texts are (the paper's heat-map).

    Args:
        encoder: An encoder whose first module is a transformer.
        texts: Texts.

    Returns:
        Shape (L + 1, L + 1), the embedding output first: Pearson's correlation over the components of a text's
        vectors in two layers, averaged over texts.
    """
    from embedworks.encoders import layer_embeddings

    layers = np.stack([layer.vectors for layer in layer_embeddings(encoder, texts, summary="mean")]).astype(np.float64)
    centred = layers - layers.mean(axis=-1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-30)  # (L + 1, n, d)
    correlation: NDArray[np.float64] = np.einsum("and,bnd->ab", unit, unit) / len(texts)
    return correlation


def judge_layers(
    encoder: TextEncoder, tasks: LayerTasks, *, bfloat16: bool = False, progress: bool = False
) -> list[list[Result]]:
    """Judge the masked mean of every layer on every task.

    Args:
        encoder: A frozen encoder; only its transformer is used.
        tasks: What to judge on.
        bfloat16: Whether matrix products run in bfloat16; worth it where the processor has them.
        progress: Whether to show progress on standard error.

    Returns:
        A list of L + 1 results a task, layer 0 (the embedding output) first; systems are called ``layer 0`` and so on.
    """
    import torch

    from embedworks.encoders import layer_embeddings
    from embedworks.evaluation import evaluate_nearest_neighbours, evaluate_retrieval, evaluate_sts
    from embedworks.evaluation.stored_vectors import StoredVectors

    def stored(texts: Sequence[str]) -> list[StoredVectors]:
        distinct = list(dict.fromkeys(texts))
        with torch.autocast(encoder.model.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            layers = layer_embeddings(encoder, distinct, summary="mean", progress=progress)
        return [StoredVectors(distinct, layer.vectors) for layer in layers]

    found: list[list[Result]] = []
    for name, pairs in tasks.sts.items():
        layers = enumerate(stored([*pairs.a, *pairs.b]))
        found.append([evaluate_sts(v, pairs, system=f"layer {n}", data_set=name) for n, v in layers])
    for name, (train, test) in tasks.labelled.items():
        layers = enumerate(stored([*train.texts, *test.texts]))
        found.append(
            [evaluate_nearest_neighbours(v, train, test, system=f"layer {n}", data_set=name) for n, v in layers]
        )
    for name, judged in tasks.judged.items():
        layers = enumerate(stored([*judged.corpus.texts, *judged.query_texts]))
        found.append([evaluate_retrieval(v, judged, system=f"layer {n}", data_set=name) for n, v in layers])
    return found


def layer_row(results: Sequence[Result], *, model: str, resamples: int = 1_000) -> dict[str, Any]:
    """Return a task's row of the layer table: points by layer, the best layer, and whether it truly beats the last.

    ``significantly_better`` counts the hidden layers below the last that beat it by the paired bootstrap over units,
    with Holm's correction over the layers.
    """
    from embedworks.evaluation import compare

    hidden = list(results[1:])  # the embedding output is no hidden layer
    points = [100 * result.value for result in hidden]
    comparison = compare(hidden, baseline=hidden[-1].system, resamples=resamples)
    better = [row for row in comparison.rows if row.difference is not None and row.difference > 0]
    return {
        "model": model,
        "task": results[0].task,
        "data_set": results[0].data_set,
        "metric": results[0].primary,
        **{f"layer_{place}": round(100 * result.value, 2) for place, result in enumerate(results)},
        "best_hidden_layer": 1 + int(np.argmax(points)),
        "non_last_wins": max(points[:-1]) > points[-1],
        "layers_significantly_better": sum(bool(row.significant) for row in better),
    }
