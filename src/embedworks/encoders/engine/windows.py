"""Windows of texts prepared in a second thread, one ahead of the forward passes.

What is held: the window that computes and the one being prepared (their texts, token ids and, for a file, mapped rows),
and the digests of at most 262,144 texts. Memory therefore does not grow with the number of texts. The tokenizer works
outside the interpreter lock, so preparing and computing overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from embedworks.encoders.engine.texts import TextWindow, text_windows
from embedworks.encoders.engine.tokens import TextTokenizer, TokenWindow
from embedworks.foundation import InputError


@dataclass(frozen=True)
class PreparedWindow:
    """A window ready to compute; ``tokens`` is None where nothing is to be computed."""

    texts: TextWindow
    tokens: TokenWindow | None


def prepared_windows(
    texts: Iterable[Any], tokenizer: TextTokenizer, *, size: int, finished: Mapping[int, str]
) -> Iterator[PreparedWindow]:
    """Yield windows in order; the next is prepared while one is used.

    Args:
        texts: The texts.
        tokenizer: Turns fresh texts into token ids.
        size: Texts a window.
        finished: Windows an earlier run finished: their last row plus one, and the digest of all texts up to it. Their
            texts are read, not tokenised.

    Raises:
        InputError: A text is none, or a finished window was of other texts.
    """
    done = max(finished, default=0)
    windows = text_windows(texts, size=size)

    reached = 0

    def prepare() -> PreparedWindow | None:
        nonlocal reached
        window = next(windows, None)
        if window is None:
            if reached < done:
                raise InputError(
                    f"the texts end at row {reached}, the unfinished run came to row {done}",
                    where="texts",
                    mend="run it again with the same texts, or pass overwrite to begin anew",
                )
            return None
        reached = window.stop
        if window.start < done:
            if finished.get(window.stop) != window.digest:
                raise InputError(
                    f"rows {window.start} to {window.stop - 1} are other texts than those of the unfinished run",
                    where="texts",
                    mend="run it again with the same texts, or pass overwrite to begin anew",
                )
            return PreparedWindow(window, None)
        return PreparedWindow(window, tokenizer(window.fresh, window.fresh_rows) if window.fresh else None)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedworks-tokens") as worker:
        upcoming = worker.submit(prepare)
        while (window := upcoming.result()) is not None:
            upcoming = worker.submit(prepare)
            yield window
