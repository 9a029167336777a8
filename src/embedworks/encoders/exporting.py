"""Export: a model folded into modules that any sentence-transformers loads, checked by loading it there."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from embedworks.encoders.instructed_transformer import InstructedTransformer
from embedworks.encoders.library_bars import without_library_bars
from embedworks.encoders.lora import with_merged_lora
from embedworks.encoders.model_card import needs_embedworks
from embedworks.encoders.multi_layer import MultiLayerTrainablePooling
from embedworks.encoders.pooling import stock_pooling
from embedworks.encoders.text_encoder import TextEncoder
from embedworks.encoders.token_query_pooling import LatentAttentionPooling, SelfAttentionPooling
from embedworks.encoders.trainable_pooler import LastLayerTrainablePooling
from embedworks.foundation import InputError, StorageError, staged_directory

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_TOLERANCE: Final = 1e-5
_PROBES: Final = (
    "word",
    "a sentence of a few words, and a comma",
    "A longer text, so that its neighbours in the batch are padded: " + "one two three four five " * 4,
)


def export(encoder: TextEncoder, path: str | Path) -> None:
    """Save an encoder with stock sentence-transformers modules only, and verify the copy.

    Mean, last-token, weighted-mean and cls pooling are stock already. Adapters are merged into the weights.
    Multi-layer pooling with ``layer_weight_mode="mean"`` becomes WeightedLayerPooling, Pooling and Normalize: a convex
    mixture of layers, and either summary, are linear, so they may change places. Instructions that are left out of the
    pooling become ``Pooling(include_prompt=False)`` where no token can merge over the instruction's end (BERT's words);
    stock modules know them by the prompt then, and no longer within the texts. What was written is loaded with
    ``SentenceTransformer(path)`` and compared with the encoder on sample texts, plain and under each prompt, to 1e-5
    before it is put in place.

    Args:
        encoder: The encoder.
        path: Where the directory is to stand; it must not exist.

    Raises:
        InputError: Something stands at ``path``, or a module has no stock form (the message says why).
        StorageError: The written copy gives other vectors.
    """
    target = Path(path).expanduser()
    stock = TextEncoder(
        _folded(with_merged_lora(encoder.model)),
        name=encoder.name,
        base_model=encoder.base_model,
        training_settings=encoder.training_settings,
    )
    metadata = {
        "kind": "text-encoder",
        "base_model": encoder.base_model,
        "dimension": encoder.dimension,
        "training_settings": encoder.training_settings,
    }
    with staged_directory(target, metadata=metadata) as staging:
        stock.write_files(staging, name=target.name)
        _verify(encoder, staging)


def _folded(model: SentenceTransformer) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    modules = [part for module in model for part in _stock_form(module)]
    if isinstance(model[0], InstructedTransformer):
        modules = _without_the_prompt(model[0], modules, [prompt or "" for prompt in model.prompts.values()])
    folded = SentenceTransformer(
        modules=modules,
        prompts={name: prompt or "" for name, prompt in model.prompts.items()},
        default_prompt_name=model.default_prompt_name,
        similarity_fn_name=model.similarity_fn_name,
        truncate_dim=model.truncate_dim,
    )
    if needs_embedworks(folded):
        raise InputError(
            "a module within a router has no stock form",
            where="export",
            mend="save it, and load it with embedworks.load",
        )
    return folded


def _stock_form(module: Any) -> list[Any]:
    if isinstance(module, MultiLayerTrainablePooling) and module.layer_weight_mode == "mean":
        return _mixture_of_layers(module)
    if isinstance(module, MultiLayerTrainablePooling | LastLayerTrainablePooling):
        raise InputError(
            f"{type(module).__name__} cannot be folded: its latents attend with a softmax and pass a gated "
            "feed-forward layer each before they are averaged, and no stock module computes either",
            where="export",
            mend="save the model and load it with embedworks.load",
        )
    if isinstance(module, LatentAttentionPooling | SelfAttentionPooling):
        raise InputError(
            f"{type(module).__name__} cannot be folded: its tokens attend with a softmax and pass a feed-forward layer "
            "each before they are averaged, and no stock module computes either",
            where="export",
            mend="save the model and load it with embedworks.load",
        )
    return [module]


def _without_the_prompt(first: InstructedTransformer, modules: list[Any], prompts: list[str]) -> list[Any]:
    """Return the modules with stock means of leaving out a prompt, which count its tokens on their own."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    tokenizer: Any = first.tokenizer
    splitter = type(tokenizer.backend_tokenizer.pre_tokenizer).__name__
    if splitter != "BertPreTokenizer" or any(prompt and not prompt[-1].isspace() for prompt in prompts):
        raise InputError(
            "stock modules count the tokens of an instruction on its own, which is wrong where tokens merge over its "
            "end, as they can with this tokenizer",
            where="export",
            mend="save the model and load it with embedworks.load",
        )
    if any(isinstance(module, Pooling) and module.pooling_mode == "weightedmean" for module in modules):
        raise InputError(
            "stock weighted-mean pooling counts places from the instruction, this model from the text",
            where="export",
            mend="save the model and load it with embedworks.load",
        )
    stock = copy.copy(first)
    stock.__class__ = Transformer  # the same parts, without what is ours
    changed: list[Any] = [stock]
    for module in modules[1:]:
        if isinstance(module, Pooling):
            module = Pooling(module.embedding_dimension, module.pooling_mode, include_prompt=False)
        changed.append(module)
    return changed


def _mixture_of_layers(module: MultiLayerTrainablePooling) -> list[Any]:
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import WeightedLayerPooling

    shares = module.layer_weights.detach().softmax(dim=0).clone()
    mixture = WeightedLayerPooling(
        module.embedding_dimension,
        num_hidden_layers=module.layers,
        layer_start=1,  # h_0, the embedding output, is not used
        layer_weights=torch.nn.Parameter(shares),
    )
    return [mixture, stock_pooling(module.layer_summary, module.embedding_dimension), Normalize()]


def _verify(encoder: TextEncoder, directory: Path) -> None:
    from sentence_transformers import SentenceTransformer

    with without_library_bars():
        written = SentenceTransformer(str(directory), local_files_only=True, device=str(encoder.model.device))
    prompts = {None, *(prompt for prompt in encoder.model.prompts.values() if prompt)}
    difference = max(
        float((_vectors(encoder.model, prompt) - _vectors(written, prompt)).abs().max()) for prompt in prompts
    )
    if not difference <= _TOLERANCE:
        raise StorageError(
            f"the exported copy differs from the encoder by {difference:.1e}, more than {_TOLERANCE:.0e}",
            where="export",
            mend="save the model and load it with embedworks.load, and report this",
        )


def _vectors(model: SentenceTransformer, prompt: str | None) -> torch.Tensor:
    was_training = model.training
    model.eval()
    with torch.no_grad():
        features = {
            name: value.to(model.device) if isinstance(value, torch.Tensor) else value
            for name, value in model.preprocess(list(_PROBES), prompt=prompt).items()
        }
        vectors: torch.Tensor = model(features)["sentence_embedding"]
    model.train(was_training)
    return vectors
