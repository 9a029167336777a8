"""Vectors, texts and attributes on disk, and the nearest neighbours among those that pass a filter.

Comes in: ids, vectors [n, d], texts, attribute columns; queries and ``where`` lines in SQL form. Goes out: answers
whose hits never violate the filter. Start reading at ``index``, then ``searching`` and ``snapshot``.
"""

from embedworks.index.adding import Added, add_corpus
from embedworks.index.answers import Answer, Cost, Explanation, Fusion, Hit, Hits, Item, Mode
from embedworks.index.building import build_index
from embedworks.index.index import Index
from embedworks.index.snippet import Snippet, snippet
from embedworks.index.stored_vectors import Storage
from embedworks.index.where import GRAMMAR

__all__ = [
    "GRAMMAR",
    "Added",
    "Answer",
    "Cost",
    "Explanation",
    "Fusion",
    "Hit",
    "Hits",
    "Index",
    "Item",
    "Mode",
    "Snippet",
    "Storage",
    "add_corpus",
    "build_index",
    "snippet",
]
