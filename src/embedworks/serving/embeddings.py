"""``/v1/embeddings`` and ``/v1/models``, as clients of the OpenAI interface speak them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from embedworks.foundation import InputError
from embedworks.serving.batching import Vectors
from embedworks.serving.errors import ApiError
from embedworks.serving.model_service import ModelService, check_unicode
from embedworks.serving.settings import ServerSettings

TRUNCATED_HEADER = "x-truncated-inputs"
_WRITTEN_INLINE = 8_192  # components written as JSON on the event loop: a few milliseconds


class EmbeddingRequest(BaseModel):
    """Body of ``POST /v1/embeddings``; fields of the OpenAI interface that mean nothing here are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore")

    input: Any = Field(description="A text, a list of texts, a list of token ids, or a list of such lists.")
    model: str | None = Field(default=None, description="A name that /v1/models lists; by default the one served.")
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="Numbers, or base64 of little-endian float32."
    )
    dimensions: int | None = Field(
        default=None, ge=1, description="Keep this many leading components and scale to length 1 again (Matryoshka)."
    )
    user: str | None = Field(default=None, description="Accepted and ignored.")
    truncate: bool = Field(
        default=True, description="Whether a text too long for the model is cut; if not, it is refused with 422."
    )


def embeddings_router(model: ModelService, settings: ServerSettings) -> APIRouter:
    """Return the routes.

    Args:
        model: What encodes.
        settings: Limits.
    """
    router = APIRouter(prefix="/v1", tags=["embeddings"])

    @router.post("/embeddings", summary="Turn texts into vectors")
    async def embeddings(request: EmbeddingRequest) -> Response:
        if request.model is not None and request.model != model.name:
            raise ApiError(
                404,
                f"the model {request.model[:80]!r} is not served here; use {model.name!r}",
                code="model_not_found",
                parameter="model",
            )
        if request.dimensions is not None and request.dimensions > model.dimension:
            raise ApiError(
                422,
                f"dimensions is {request.dimensions}, the model has {model.dimension}",
                code="invalid_value",
                parameter="dimensions",
            )
        texts = _texts(request.input, model, settings)
        encoded = await model.encode(texts, truncate=request.truncate)
        vectors = encoded.vectors if request.dimensions is None else _shortened(encoded.vectors, request.dimensions)
        usage = {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens}
        arguments = (vectors, request.encoding_format, model.name, usage)
        if request.encoding_format == "float" and vectors.size > _WRITTEN_INLINE:
            content = await asyncio.to_thread(_document, *arguments)
        else:
            content = _document(*arguments)
        return Response(content, media_type="application/json", headers={TRUNCATED_HEADER: str(encoded.truncated)})

    @router.get("/models", summary="List the model that is served")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model_card(model)]}

    @router.get("/models/{name:path}", summary="Describe the model that is served")
    async def one_model(name: str) -> dict[str, Any]:
        if name != model.name:
            raise ApiError(404, f"the model is not served here; use {model.name!r}", code="model_not_found")
        return _model_card(model)

    return router


def _model_card(model: ModelService) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,  # the interface wants a time; the encoder protocol knows none
        "owned_by": "embedworks",
        "dimension": model.dimension,
        "max_tokens": model.counter.max_length,
    }


def _texts(given: Any, model: ModelService, settings: ServerSettings) -> list[str]:
    """Return the texts of ``input`` in any of its four forms, checked against every limit that needs no model."""
    if isinstance(given, str):
        items: list[Any] = [given]
    elif isinstance(given, list) and given and _is_token_id(given[0]):
        items = [given]
    elif isinstance(given, list):
        items = given
    else:
        raise _wrong_input("must be a text, a list of texts, or a list of token ids")
    if not items:
        raise _wrong_input("is an empty list")
    if len(items) > settings.items:
        raise ApiError(
            413,
            f"input has {len(items):,} items, {settings.items} are allowed; send several requests",
            code="too_many_items",
            parameter="input",
        )
    characters = sum(map(len, (item for item in items if isinstance(item, str | list))))
    if characters > settings.characters:
        raise ApiError(
            413,
            f"input has {characters:,} characters, {settings.characters:,} are allowed; send fewer texts at once",
            code="too_many_characters",
            parameter="input",
        )
    texts: list[str] = []
    for position, item in enumerate(items):
        if isinstance(item, list) and item and all(map(_is_token_id, item)):
            try:
                text = model.counter.decode(item)
            except InputError as error:
                raise ApiError(422, str(error), code="invalid_value", parameter="input") from error
        elif isinstance(item, str):
            text = item
        else:
            raise _wrong_input(f"item {position} is neither a text nor a list of token ids")
        if not text:
            raise _wrong_input(f"item {position} is empty")
        check_unicode(text, parameter=f"input.{position}")
        texts.append(text)
    return texts


def _wrong_input(what: str) -> ApiError:
    return ApiError(422, f"input {what}", code="invalid_value", parameter="input")


def _is_token_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shortened(vectors: Vectors, dimensions: int) -> Vectors:
    """Keep the leading components and scale to length 1 (Matryoshka Representation Learning, section 3).

    Args:
        vectors: Shape (n, d).
        dimensions: At most d.

    Returns:
        Shape (n, dimensions); a vector whose leading components are all zero stays zero.
    """
    if dimensions == vectors.shape[1]:
        return vectors
    kept = vectors[:, :dimensions].astype(np.float64)
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    return (kept / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _document(vectors: Vectors, encoding_format: str, model_name: str, usage: dict[str, int]) -> bytes:
    rows: list[Any]
    if encoding_format == "base64":
        rows = [base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") for vector in vectors]
    else:
        rows = vectors.tolist()
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    document = {"object": "list", "data": data, "model": model_name, "usage": usage}
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii")
