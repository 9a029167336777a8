"""A corpus kept as what depth needs of it, so that new texts can be placed in it later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis.depth import DISTANCES, DistanceName, depths_against, depths_from_mean
from embedworks.analysis.depth_comparison import DepthTest, q_score, q_score_pooled, rank_sum
from embedworks.analysis.depth_selection import centre_outward_order
from embedworks.foundation import StorageError
from embedworks.foundation.staging import staged_directory, verify_directory

if TYPE_CHECKING:
    from embedworks.foundation.protocols import Encoder

_KIND = "tte-depth"
_CONFIG, _TENSORS = "config.json", "model.safetensors"


class DepthModel:
    """How central texts are in the corpus this was fitted on.

    Args:
        encoder: The encoder of the corpus.
        backbone: What the encoder was loaded by.
        distance: Distance of the depths.
        corpus_depths: Depth of every text of the corpus, itself left out, shape (m,).
        mean: Mean of the corpus' unit vectors, shape (d,).
        vectors: The corpus' vectors, float32, shape (m, d); kept only where the distance needs all of them.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        backbone: str,
        distance: DistanceName,
        corpus_depths: NDArray[np.float64],
        mean: NDArray[np.float64],
        vectors: NDArray[np.float32] | None,
    ) -> None:
        self.encoder = encoder
        self.backbone = backbone
        self.distance = distance
        self.corpus_depths = corpus_depths
        self.mean = mean
        self._vectors = vectors

    @property
    def dimension(self) -> int:
        """Number of components of every vector."""
        return len(self.mean)

    @property
    def training_settings(self) -> dict[str, Any]:
        """What the model was fitted with, as JSON values."""
        return {
            "method": _KIND,
            "backbone": self.backbone,
            "distance": self.distance,
            "texts": len(self.corpus_depths),
            "median_row": int(self.order()[0]),
        }

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors of texts, shape (n, d), by the encoder of the corpus."""
        return self.encoder.encode(items)

    def depths(self, items: Sequence[str]) -> NDArray[np.float64]:
        """Return the depths of new texts with respect to the corpus, shape (n,)."""
        vectors = self.encode(items)
        if self._vectors is None:
            return depths_from_mean(vectors, self.mean)
        return depths_against(vectors, self._vectors, distance=self.distance)

    def centrality(self, items: Sequence[str]) -> NDArray[np.float64]:
        """Return the share of the corpus' texts that each new text is deeper than, ties half: 0 outlying, 1 central."""
        return np.array([q_score(self.corpus_depths, [depth]) for depth in self.depths(items)])

    def compare(self, items: Sequence[str]) -> DepthTest:
        """Test whether new texts are more outlying than the corpus; see :class:`DepthTest`."""
        new = self.depths(items)
        ours = self.corpus_depths
        return DepthTest(ours, new, q_score(ours, new), q_score_pooled(ours, new), rank_sum(ours, new))

    def order(self) -> NDArray[np.intp]:
        """Return the corpus' rows from the median outwards, shape (m,)."""
        return centre_outward_order(self.corpus_depths)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Save as ``config.json`` and ``model.safetensors``; whole or not at all.

        The encoder itself is not copied: ``config.json`` names what it was loaded by.

        Args:
            path: Where the directory is to stand.
            overwrite: Whether a directory there may be replaced.

        Raises:
            InputError: Something stands at ``path`` already.
        """
        from safetensors.numpy import save

        tensors: dict[str, NDArray[Any]] = {"corpus_depths": self.corpus_depths, "mean": self.mean}
        if self._vectors is not None:
            tensors["vectors"] = self._vectors
        config = {"kind": _KIND, "backbone": self.backbone, "distance": self.distance, "dimension": self.dimension}
        with staged_directory(Path(path), metadata={"kind": _KIND}, overwrite=overwrite) as staging:
            (staging / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            (staging / _TENSORS).write_bytes(save(tensors))


def load_depth_model(path: str | Path) -> DepthModel:
    """Open a saved model, after checking every file against the manifest.

    Args:
        path: The directory.

    Raises:
        StorageError: The directory is damaged or holds something else.
        InputError: The encoder it names is not there.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from embedworks.encoders import load as load_encoder

    folder = Path(path)
    if verify_directory(folder).get("kind") != _KIND:
        raise StorageError("holds no depth model", where=str(folder), mend="load it with embedworks.load")
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        tensors = load((folder / _TENSORS).read_bytes())
        backbone, distance, dimension = str(config["backbone"]), config["distance"], int(config["dimension"])
        corpus_depths, mean, vectors = tensors["corpus_depths"], tensors["mean"], tensors.get("vectors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise StorageError(f"is damaged ({error})", where=str(folder), mend="restore it from a copy") from error
    if distance not in DISTANCES or mean.shape != (dimension,) or (vectors is None) != (distance == "cosine"):
        raise StorageError("its parts do not fit together", where=str(folder), mend="restore it from a copy")
    encoder = load_encoder(backbone)
    if encoder.dimension != dimension:
        raise StorageError(
            f"was fitted on vectors of {dimension} components, {backbone} gives {encoder.dimension}",
            where=str(folder),
            mend="load it with the encoder it was fitted with",
        )
    return DepthModel(
        encoder, backbone=backbone, distance=distance, corpus_depths=corpus_depths, mean=mean, vectors=vectors
    )
