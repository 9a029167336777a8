"""Token counts, exact where the encoder shows its tokeniser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embedworks.foundation import InputError

_CHARACTERS_PER_TOKEN = 4  # the usual figure for English text, for encoders that show no tokeniser


class TokenCounter:
    """Counts the tokens a model reads, with a copy of its tokeniser.

    The copy matters: the model's own tokeniser is reconfigured at every call (padding, truncation) and raises when
    two threads use it at once; the copy is never changed after construction.

    Args:
        encoder: An encoder; one with ``model.tokenizer`` (sentence-transformers) is counted exactly.
    """

    def __init__(self, encoder: object) -> None:
        model = getattr(encoder, "model", None)
        backend = getattr(getattr(model, "tokenizer", None), "backend_tokenizer", None)
        self._tokenizer: Any = None
        if backend is not None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(backend.to_str())
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()
        limit = getattr(model, "max_seq_length", None)
        self.max_length: int | None = limit if isinstance(limit, int) else None
        """Most tokens the model reads of one text, or None if it does not say."""

    @property
    def exact(self) -> bool:
        """Whether counts come from the model's tokeniser, not from a rule of thumb."""
        return self._tokenizer is not None

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, special tokens included, before truncation."""
        if self._tokenizer is None:
            return [1 + len(text) // _CHARACTERS_PER_TOKEN for text in texts]
        return [len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts))]

    def read(self, counts: Sequence[int]) -> list[int]:
        """Return how many tokens the model reads of texts with ``counts`` tokens."""
        limit = self.max_length
        return list(counts) if limit is None else [min(count, limit) for count in counts]

    def decode(self, token_ids: Sequence[int]) -> str:
        """Return the text of token ids.

        Raises:
            InputError: The encoder shows no tokeniser, or an id is not in its vocabulary.
        """
        if self._tokenizer is None:
            raise InputError("this model takes no token ids", where="input", mend="send the texts themselves")
        size = self._tokenizer.get_vocab_size()
        if not all(0 <= token_id < size for token_id in token_ids):
            raise InputError(f"a token id is not between 0 and {size - 1}", where="input", mend="send the texts")
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=True)
        return text
