"""Our objectives in the place where sentence-transformers trainers expect a loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from embedworks.objectives import InfoNCE, encode_in_chunks, false_negative_mask
from embedworks.training.settings import InBatchNegatives

Features = Mapping[str, Any]


class ContrastiveLoss(nn.Module):
    """Encode the features of a batch and take InfoNCE over the vectors.

    With batches of :class:`~embedworks.training.batches.PairBatches` it knows which texts mean the same and keeps
    them from being each other's negatives. With batches of a stock sentence-transformers collator (columns query,
    positive, negative 1, negative 2, ...) it knows of no ids, and is
    ``MultipleNegativesRankingLoss(scale=1 / temperature)``.

    Args:
        model: The encoder.
        objective: The loss over vectors.
        precision: What the encoder's matrix products run in.
        cached: Whether each part is encoded again in the backward pass instead of kept (GradCache).
        in_batch_negatives: Which texts of the batch's other pairs are negatives, as in
            :class:`~embedworks.training.TrainingSettings`; of columns without ids, ``"masked"`` is ``"all"``.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        objective: InfoNCE,
        *,
        precision: Literal["float32", "bfloat16"] = "float32",
        cached: bool = False,
        in_batch_negatives: InBatchNegatives = "masked",
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        self.precision = precision
        self.cached = cached
        self.in_batch_negatives = in_batch_negatives

    def forward(self, sentence_features: Iterable[Features], labels: Mapping[str, Tensor] | Tensor | None) -> Tensor:
        """Return the loss of a batch.

        Args:
            sentence_features: Features of each part or column.
            labels: What :meth:`PairBatches.collate` put there; anything else is not used.

        Returns:
            The loss, a float32 scalar.
        """
        parts = list(sentence_features)
        encoded = encode_in_chunks(self._encode, parts) if self.cached else torch.cat([self._encode(p) for p in parts])
        if not isinstance(labels, Mapping):
            columns = encoded.reshape(len(parts), -1, encoded.shape[-1])  # (columns, b, d)
            query, positive, negatives = columns[0], columns[1], columns[2:].transpose(0, 1)
            excluded = self._others(len(query), negatives.shape[1], columns.device)
            return self._loss(query, positive, negatives, excluded=excluded)
        identities, places = labels["identities"], labels["places"]
        vectors = torch.empty_like(encoded).index_copy(0, places, encoded)
        batch, width = identities.shape[0], identities.shape[1] - 2
        query, positive = vectors[:batch], vectors[batch : 2 * batch]
        query_ids, positive_ids, negative_ids = identities[:, 0], identities[:, 1], identities[:, 2:]
        present = negative_ids >= 0  # (b, m)
        negatives = vectors.new_zeros(batch, width, vectors.shape[-1])
        negatives = negatives.masked_scatter(present.unsqueeze(-1), vectors[2 * batch :])
        excluded = self._others(batch, width, vectors.device)
        if self.in_batch_negatives != "all":
            candidates = torch.cat([positive_ids, negative_ids.flatten()])
            # A candidate that is the query itself is no negative either: in paraphrase pairs a text stands on both
            # sides.
            same = false_negative_mask(query_ids, positive_ids, negative_ids) | (query_ids[:, None] == candidates)
            excluded = same if excluded is None else excluded | same
        return self._loss(query, positive, negatives, present=present, excluded=excluded)

    def _others(self, batch: int, width: int, device: torch.device) -> Tensor | None:
        """Return where the candidates are those of other rows, shape (b, b + b * m), if those are to be left out."""
        if self.in_batch_negatives != "off":
            return None
        rows = torch.arange(batch, device=device)
        owners = torch.cat([rows, rows.repeat_interleave(width)])  # whose candidate each column is
        return rows[:, None] != owners

    def _loss(self, query: Tensor, positive: Tensor, negatives: Tensor, **masks: Tensor | None) -> Tensor:
        loss: Tensor = self.objective(query, positive, negatives, **masks)
        return loss

    def _encode(self, features: Features) -> Tensor:
        device = self.model.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            # The modules write into the dictionary they get; a second encoding must find it as it was.
            vectors: Tensor = self.model(dict(features))["sentence_embedding"]
        return vectors
