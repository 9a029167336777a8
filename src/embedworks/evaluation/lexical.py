"""BM25 as a system to compare with: bm25s, English stop words, no stemming, ties by document id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from embedworks.evaluation.exact_search import top_k
from embedworks.foundation import InputError


class Bm25:
    """BM25 in the form of Lucene (Kamphuis et al. 2020), as bm25s computes it by default.

    ``score(q, d) = sum over the words t of q of  ln(1 + (N - df_t + 0.5) / (df_t + 0.5)) * tf / (tf + k1 * (1 - b +
    b * length_d / mean length))``. Words are runs of two or more word characters, lower case, without the 33 English
    stop words of Lucene. A word that stands twice in the query counts twice. Scores are float64.

    Args:
        ids: Document ids, no repetition.
        texts: One text a document.
        k1: Saturation of the term frequency.
        b: Strength of the length normalisation, 0 to 1.
        stop_words: Whether the English stop words are left out.

    Raises:
        InputError: Numbers of ids and texts differ, or there is no document.

    Example:
        >>> engine = Bm25(["a", "b"], ["red apple", "green pear"])
        >>> [document for document, score in engine.search(["a green apple pear"], 2)[0]]
        ['b', 'a']
    """

    def __init__(
        self, ids: Sequence[str], texts: Sequence[str], *, k1: float = 1.5, b: float = 0.75, stop_words: bool = True
    ) -> None:
        if len(ids) != len(texts) or not ids:
            raise InputError(f"{len(ids)} ids and {len(texts)} texts", where="Bm25", mend="give one text an id")
        import bm25s

        order = sorted(range(len(ids)), key=ids.__getitem__)  # columns in the order of ids: ties fall to the lower id
        self._ids = [ids[row] for row in order]
        self._stop_words = "en" if stop_words else None
        tokens = self._words([texts[row] for row in order])
        # bm25s cannot index a corpus without any word; such a corpus answers nothing.
        self._model = bm25s.BM25(k1=k1, b=b, method="lucene", dtype="float64") if any(tokens) else None
        if self._model is not None:
            self._model.index(tokens, show_progress=False)

    def search(self, texts: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """Return up to ``k`` documents a query that share a word with it, best first.

        Args:
            texts: Queries.
            k: Largest number of documents a query.

        Returns:
            Document ids with scores above zero, one list a query.
        """
        if self._model is None:
            return [[] for _ in texts]
        answers: list[list[tuple[str, float]]] = []
        for words in self._words(list(texts)):
            if not words:
                answers.append([])
                continue
            scores = np.asarray(self._model.get_scores(words), np.float64)
            columns, values = top_k(scores[None, :], k)
            answers.append(
                [
                    (self._ids[column], float(value))
                    for column, value in zip(columns[0], values[0], strict=True)
                    if value > 0
                ]
            )
        return answers

    def _words(self, texts: list[str]) -> list[list[str]]:
        import bm25s

        words: list[list[str]] = bm25s.tokenize(
            texts, stopwords=self._stop_words, return_ids=False, show_progress=False, lower=True
        )
        return words
