"""A corpus goes into an index that exists; what cannot go in is refused before minutes are spent on its vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index.index import Index
from embedworks.index.intake import checked_attributes

if TYPE_CHECKING:
    from embedworks.data import Corpus


class Added(NamedTuple):
    """How many rows came into an index, and how many of them took the place of old ones."""

    rows: int
    replaced: int


def add_corpus(
    index: Index,
    corpus: Corpus,
    vectors: NDArray[np.floating] | Callable[[], NDArray[np.floating]],
    *,
    replace: bool = False,
    source: str = "corpus",
) -> Added:
    """Add the rows of a corpus in one commit: all of them, or none where one does not fit.

    Args:
        index: The index; goes on to its last commit first.
        corpus: Ids, texts and attributes.
        vectors: One vector a row, shape (rows, dimension); or what makes them, called once the rows are known to fit.
        replace: Whether a row whose id the index has takes the place of the old one, which is otherwise refused.
        source: What an error calls the corpus, such as its file.

    Returns:
        How many rows came in, and how many of them in the place of old ones.

    Raises:
        InputError: An id is in the index already, or vectors or attributes do not fit; nothing has changed.
        StorageError: Another writer is at work, or the disk refused.
    """
    index.refresh()
    listing, attributes = index.listing(), corpus.attributes
    known = listing.rows(among=corpus.ids)
    if len(known) and not replace:
        more = f" (and {len(known) - 1:,} more)" if len(known) > 1 else ""
        what = f"the id {listing.ids(known[:1])[0]!r}{more} is in the index already"
        mend = "leave it out, or put the new row in its place with --replace (in Python: replace=True)"
        raise InputError(what, where=source, mend=mend)
    checked_attributes(attributes, len(corpus), index.schema)
    rows = vectors() if callable(vectors) else vectors
    # The index checks everything once more, alone with its last commit: the vectors may have taken long.
    index.add(corpus.ids, rows, texts=corpus.texts, attributes=attributes, replace=replace)
    return Added(len(corpus), replaced=len(known))
