"""The model as the routes see it: texts go in, vectors and token counts come out, within the server's limits."""

from __future__ import annotations

import asyncio
import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from embedworks.foundation.protocols import Encoder
from embedworks.serving.batching import BadItemError, EncodingQueue, QueueClosedError, QueueFullError, Vectors
from embedworks.serving.counting import TokenCounter
from embedworks.serving.errors import ApiError
from embedworks.serving.settings import ServerSettings

_COUNTED_INLINE = 4_000  # characters whose tokens are counted on the event loop: under a millisecond
_REMEMBERED_QUERIES = 1_024


@dataclass(frozen=True)
class Encoded:
    """Vectors of one request, and what reading its texts took.

    Args:
        vectors: Float32, shape (texts, dimension).
        tokens: Tokens the model read, special tokens included.
        truncated: Number of texts of which the model read only the beginning.
    """

    vectors: Vectors
    tokens: int
    truncated: int


class ModelService:
    """Encodes for many clients at once through one queue.

    Args:
        encoder: Any encoder; one that shows ``model.tokenizer`` is counted in exact tokens.
        settings: Limits.
    """

    def __init__(self, encoder: Encoder, settings: ServerSettings) -> None:
        self.name = settings.model_name or str(getattr(encoder, "name", "") or "embedworks")
        self.dimension = encoder.dimension
        self.counter = TokenCounter(encoder)
        self.queue = EncodingQueue(
            _steady_encode(encoder),
            dimension=encoder.dimension,
            batch_tokens=settings.batch_tokens,
            queue_tokens=settings.queue_tokens,
        )
        self._settings = settings
        self._queries: OrderedDict[str, Vectors] = OrderedDict()

    async def encode(self, texts: Sequence[str], *, truncate: bool = True, urgent: bool = False) -> Encoded:
        """Encode the texts of one request.

        Args:
            texts: Texts, checked already to be valid Unicode.
            truncate: Whether the model may read only the beginning of a text that is too long for it.
            urgent: Whether to overtake bulk requests.

        Raises:
            ApiError: A limit is exceeded, the queue is full or closed, or a text cannot be encoded.
        """
        if sum(map(len, texts)) <= _COUNTED_INLINE:
            counts = self.counter.count(texts)
        else:
            counts = await asyncio.to_thread(self.counter.count, texts)
        read = self.counter.read(counts)
        long = [position for position, (count, kept) in enumerate(zip(counts, read, strict=True)) if count > kept]
        if long and not truncate:
            raise ApiError(
                422,
                f"item {long[0]} has {counts[long[0]]} tokens and the model reads {self.counter.max_length}; "
                "shorten it, or allow truncate",
                code="text_too_long",
                parameter="input",
            )
        if sum(read) > self._settings.request_tokens:
            raise ApiError(
                413,
                f"{sum(read):,} tokens in one request, {self._settings.request_tokens:,} are allowed; "
                "send fewer texts at once",
                code="too_many_tokens",
                parameter="input",
            )
        try:
            vectors = await self.queue.encode(texts, read, urgent=urgent)
        except QueueFullError as error:
            raise ApiError(
                429,
                f"the model is busy; try again in {error.retry_after_s} s",
                code="queue_full",
                headers={"retry-after": str(error.retry_after_s)},
            ) from error
        except QueueClosedError as error:
            raise ApiError(503, "the server is stopping", code="stopping") from error
        except BadItemError as error:
            raise ApiError(
                500, f"{error}; leave this item out", code="item_failed", parameter=f"input.{error.position}"
            ) from error
        return Encoded(vectors, sum(read), len(long))

    async def query_vector(self, text: str) -> Vectors:
        """Return the vector of a search query, shape (dimension,); a query asked before is not encoded again."""
        known = self._queries.get(text)
        if known is None:
            known = (await self.encode([text], urgent=True)).vectors[0]
            self._queries[text] = known
            if len(self._queries) > _REMEMBERED_QUERIES:
                self._queries.popitem(last=False)
        else:
            self._queries.move_to_end(text)
        return known

    async def answers(self) -> bool:
        """Return whether the model turns a text into a vector within the time that /ready allows."""
        try:
            async with asyncio.timeout(self._settings.ready_timeout_s):
                encoded = await self.encode(["ready"], urgent=True)
        except (TimeoutError, ApiError):
            return False
        return bool(np.isfinite(encoded.vectors).all())


def _steady_encode(encoder: Encoder) -> Callable[[list[str]], Vectors]:
    """Return the encoder's call in float32 where it has a choice of precision.

    Which texts share a batch depends on who else is asking; in float32 that moves a vector by less than 1e-6, in half
    precision by enough to change a ranking.
    """
    encode: Callable[..., Vectors] = encoder.encode
    return partial(encode, precision="float32") if "precision" in inspect.signature(encode).parameters else encode


def check_unicode(text: str, *, parameter: str) -> None:
    """Refuse text that JSON can carry but UTF-8 cannot: lone surrogates, which tokenisers fail on.

    Raises:
        ApiError: The text holds one.
    """
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ApiError(
            422,
            f"{parameter} holds a lone surrogate at character {error.start}, which is not valid Unicode; remove it",
            code="invalid_unicode",
            parameter=parameter,
        ) from error
