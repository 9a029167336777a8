"""How a text is cut into terms: the token pattern and the English stop words that bm25s uses by default."""

from __future__ import annotations

TOKEN_PATTERN = r"(?u)\b\w\w+\b"  # noqa: S105 - tokens of text, nothing secret

# Lucene's list, which is the list of bm25s; a test compares the two, so that a search need not import bm25s.
_STOPWORDS = """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this
    to was will with
"""
ENGLISH_STOPWORDS = tuple(_STOPWORDS.split())
