"""The README.md of a saved model: what it is, what loads it, what it was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def needs_embedworks(model: SentenceTransformer) -> bool:
    """Tell whether a model holds a module that sentence-transformers does not bring, at any depth."""
    from sentence_transformers.base.modules import Module

    return any(
        isinstance(module, Module) and not type(module).__module__.startswith("sentence_transformers.")
        for module in model.modules()
    )


def model_card(
    model: SentenceTransformer,
    *,
    name: str,
    dimension: int,
    base_model: str | None,
    training_settings: Mapping[str, Any],
) -> str:
    """Return the card as Markdown with YAML front matter.

    Args:
        model: The model as it is saved.
        name: The model's name.
        dimension: Components of a vector.
        base_model: Hugging Face id of the model it was made from.
        training_settings: JSON values; left out if empty.
    """
    from huggingface_hub import ModelCardData

    own = needs_embedworks(model)
    data = ModelCardData(
        base_model=base_model,
        library_name="embedworks" if own else "sentence-transformers",
        pipeline_tag="sentence-similarity",
        tags=["sentence-transformers", "embedworks", "feature-extraction", "sentence-similarity"],
    )
    modules = "\n".join(f"{place}. `{type(module).__name__}`" for place, module in enumerate(model, start=1))
    parts = [
        f"---\n{data.to_yaml().strip()}\n---",
        f"# {name}",
        f"A text encoder: texts to vectors of {dimension} components, compared by {model.similarity_fn_name}, "
        f"at most {model.get_max_seq_length()} tokens a text.",
        "## Loading",
        _loading(name, own=own),
        f"## Modules\n\n{modules}",
    ]
    if training_settings:
        settings = json.dumps(dict(training_settings), indent=2, ensure_ascii=False, allow_nan=False)
        parts.append(f"## Training\n\n```json\n{settings}\n```")
    return "\n\n".join(parts) + "\n"


def _loading(name: str, *, own: bool) -> str:
    ours = (
        f'```python\nimport embedworks\n\nencoder = embedworks.load("{name}")\n'
        'vectors = encoder.encode(["a text"])\n```'
    )
    if own:
        return (
            "This model holds modules of embedworks, so `embedworks.load` loads it. sentence-transformers refuses "
            "modules that are not its own unless it is told `trust_remote_code=True` (and embedworks is installed).\n\n"
            f"{ours}"
        )
    return (
        "Every module is one of sentence-transformers, so it loads this model as it is, and so does embedworks.\n\n"
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{name}")\nvectors = model.encode(["a text"])\n```\n\n{ours}'
    )
