"""Multi-Layers Trainable Pooling: learned latents read one summary a hidden layer (Models 3 and 5)."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedworks.encoders.latent_attention import LatentQueryAttention
from embedworks.encoders.token_states import last_token, masked_mean, padded_states
from embedworks.encoders.trainable_pooler import SIZE_KEYS, TrainablePooling
from embedworks.foundation import InputError

LayerWeightMode = Literal["add", "mul", "scalar", "mean"]
LayerSummary = Literal["mean", "last-token"]


class MultiLayerTrainablePooling(TrainablePooling):
    """Summarise every hidden layer, let learned latents read the summaries, L2-normalise (arXiv 2409.02727).

    The rows are ``x_l = summary(h_l)`` for l = 1..L; the embedding output h_0 is not used, and h_L is the backbone's
    last hidden state AFTER its final norm, as Hugging Face reports it. The published layer weights are added,
    ``x_l + W_l`` with ``W`` drawn from N(0, 1); the other modes are the ablation the reviewers asked for.

    Args:
        embedding_dimension: Width d of the backbone's states and of the vectors.
        layers: Number L of hidden layers of the backbone.
        layer_summary: ``"last-token"`` for a causal backbone (Model 3), ``"mean"`` for a bidirectional one (Model 5).
        latents: Number r of learned latents; min(768, d) by default.
        heads: Number of heads; 8 by default.
        head_dimension: Width of one head; d / heads by default.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.
        zero_init_output: Start exactly at the mean over layers (not in the paper).
        layer_weight_mode: ``"add"`` a vector a layer (published), ``"mul"`` by a vector a layer, ``"scalar"``: times
            one number a layer, ``"mean"``: no latents at all, a learned convex mixture of the summaries.

    Example:
        >>> module = MultiLayerTrainablePooling(16, layers=2, latents=4, heads=2)
        >>> layers = tuple(torch.randn(1, 3, 16) for _ in range(3))
        >>> module({"all_layer_embeddings": layers})["sentence_embedding"].shape
        torch.Size([1, 16])
    """

    # Not a because sentence-transformers declares it without.
    config_keys: list[str] = [*SIZE_KEYS, "layers", "layer_summary", "layer_weight_mode"]  # noqa: RUF012

    def __init__(
        self,
        embedding_dimension: int,
        *,
        layers: int,
        layer_summary: LayerSummary = "mean",
        latents: int | None = None,
        heads: int | None = None,
        head_dimension: int | None = None,
        feed_forward_multiple: int = 4,
        zero_init_output: bool = False,
        layer_weight_mode: LayerWeightMode = "add",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Module of sentence-transformers is untyped here
        if layer_weight_mode not in get_args(LayerWeightMode):
            raise InputError(
                f"layer_weight_mode {layer_weight_mode!r} is not known", mend="choose 'add', 'mul', 'scalar' or 'mean'"
            )
        if layer_summary not in get_args(LayerSummary):
            raise InputError(f"layer_summary {layer_summary!r} is not known", mend="choose 'mean' or 'last-token'")
        if layers < 1:
            raise InputError(f"layers is {layers}", mend="give the number of hidden layers of the backbone")
        if layer_weight_mode == "mean" and zero_init_output:
            raise InputError(
                "zero_init_output has no effect with layer_weight_mode 'mean'", mend="leave one of the two out"
            )
        self.embedding_dimension = embedding_dimension
        self.layers = layers
        self.layer_summary = layer_summary
        self.layer_weight_mode = layer_weight_mode
        self.zero_init_output = zero_init_output
        self.feed_forward_multiple = feed_forward_multiple
        self.attention: LatentQueryAttention | None = None
        if layer_weight_mode == "mean":
            self.latents, self.heads, self.head_dimension = latents, heads, head_dimension
        else:
            self.attention = LatentQueryAttention(
                embedding_dimension,
                latents=latents,
                heads=heads,
                head_dimension=head_dimension,
                feed_forward_multiple=feed_forward_multiple,
                zero_init_output=zero_init_output,
            )
            sizes = self.attention.sizes
            self.latents, self.heads, self.head_dimension = sizes["latents"], sizes["heads"], sizes["head_dimension"]
        # Neutral starts for the modes that are not published: one for factors, equal parts for the mixture.
        self.layer_weights = nn.Parameter(
            {
                "add": lambda: torch.randn(layers, embedding_dimension),
                "mul": lambda: torch.ones(layers, embedding_dimension),
                "scalar": lambda: torch.ones(layers, 1),
                "mean": lambda: torch.zeros(layers),
            }[layer_weight_mode]()
        )

    def on_model_ready(self, model: Any) -> None:
        """Ask the backbone for all hidden layers; sentence-transformers calls this once the model is put together."""
        backbone = model.transformers_model
        if backbone is not None:
            backbone.config.output_hidden_states = True

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add ``sentence_embedding``, shape (b, d), to the features; reads ``all_layer_embeddings`` and the mask."""
        rows = self.summaries(features)  # (b, L, d)
        everything = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
        if self.attention is None:
            pooled = torch.einsum("l,bld->bd", self.layer_weights.softmax(dim=0), rows)
        else:
            weighted = rows + self.layer_weights if self.layer_weight_mode == "add" else rows * self.layer_weights
            pooled = self.attention(weighted, everything)
            if self.zero_init_output:
                pooled = pooled + rows.mean(dim=1)
        features["sentence_embedding"] = F.normalize(pooled, dim=-1)
        return features

    def summaries(self, features: dict[str, Any]) -> Tensor:
        """Return one summary a hidden layer, shape (b, L, d), without the embedding output h_0.

        Raises:
            InputError: The backbone gave no hidden layers, or another number of them than this module was built for.
        """
        states = features.get("all_layer_embeddings")
        if states is None:
            raise InputError(
                "the backbone hands over no hidden layers",
                where="multi-layer pooling",
                mend="put the model together with embedworks.encoders.build, or set output_hidden_states in its config",
            )
        if len(states) != self.layers + 1:
            raise InputError(
                f"the backbone has {len(states) - 1} hidden layers, this pooling was built for {self.layers}",
                where="multi-layer pooling",
                mend="build the pooling for this backbone",
            )
        summarise = masked_mean if self.layer_summary == "mean" else last_token
        return torch.stack([summarise(*padded_states(layer, features)) for layer in states[1:]], dim=1)
