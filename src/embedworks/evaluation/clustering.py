"""Clustering: do the vectors fall into groups that agree with the labels."""

from __future__ import annotations

import numpy as np

from embedworks.data import Labelled
from embedworks.evaluation.encoding import encode_items
from embedworks.evaluation.result import Result, hash_of
from embedworks.evaluation.statistic import statistic_value
from embedworks.foundation import InputError, environment
from embedworks.foundation.protocols import Encoder


def evaluate_clustering(
    encoder: Encoder,
    labelled: Labelled,
    *,
    system: str,
    data_set: str = "labelled texts",
    seeds: int = 10,
    seed: int = 0,
    progress: bool = False,
) -> Result:
    """Cluster by mini-batch k-means (batch 32, k the number of labels) and compare with the labels by V-measure.

    The label number and, seed by seed, the cluster number of every text are kept, so that a comparison draws texts
    again and computes the V-measure anew, with the clusterings as they are.

    Args:
        encoder: Gives the vectors.
        labelled: Texts with labels.
        system: Name of the encoder.
        data_set: Name of the texts.
        seeds: Number of clusterings, each from another initialisation.
        seed: The first of the consecutive seeds.
        progress: Whether to show progress while encoding.

    Returns:
        ``v-measure``: mean over seeds (Rosenberg and Hirschberg 2007, beta 1).

    Raises:
        InputError: There are fewer than 2 labels, or no seed.
    """
    names, numbers = np.unique(np.asarray(labelled.labels), return_inverse=True)
    if len(names) < 2:
        raise InputError("fewer than 2 labels", where=data_set, mend="give texts of at least 2 labels")
    if seeds < 1:
        raise InputError(f"{seeds} seeds", where="clustering", mend="give at least 1")
    from sklearn.cluster import MiniBatchKMeans

    vectors = encode_items(encoder, labelled.texts, progress=progress)
    labels = numbers.astype(np.float64).tolist()
    per_unit: dict[str, list[float]] = {"label": labels}
    for number in range(seeds):
        model = MiniBatchKMeans(n_clusters=len(names), batch_size=32, n_init="auto", random_state=seed + number)
        per_unit[f"cluster_{number}"] = model.fit_predict(vectors).astype(np.float64).tolist()
    of_seed = [float(statistic_value("v-measure", [labels, per_unit[f"cluster_{n}"]])[0]) for n in range(seeds)]
    return Result(
        system=system,
        data_set=data_set,
        task="clustering",
        metrics={"v-measure": float(np.mean(of_seed))},
        primary="v-measure",
        unit_ids=labelled.ids or [str(row) for row in range(len(labelled))],
        per_unit=per_unit,
        data_hash=hash_of(labelled.texts, labelled.labels),
        details={
            "unit": "text",
            "texts": len(labelled),
            "labels": names.tolist(),
            "seeds": list(range(seed, seed + seeds)),
            "v_measure_of_seeds": of_seed,
            "clustering": "mini-batch k-means, batch 32",
        },
        environment=environment(),
    )
