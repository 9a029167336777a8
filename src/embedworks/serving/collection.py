"""What is known of an index as a whole: its attributes, what to try on it, and the values to filter by."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from embedworks.foundation.randomness import random_generator
from embedworks.serving.model_service import ModelService
from embedworks.serving.plain_values import plain_value
from embedworks.serving.protocols import SearchIndex
from embedworks.serving.report import ComparisonReport
from embedworks.serving.settings import ServerSettings

Kind = Literal["string", "boolean", "number", "date", "set", "other"]

_EXAMPLES = 5
_PROBES = 24
_EXAMPLE_WORDS = (4, 9)
_EXAMPLE_CHARACTERS = 64
_LISTED_VALUES = 50  # of one facet, the most frequent ones
_REMEMBERED_FACETS = 256


class Collection:
    """Describes an index to the page.

    Args:
        index: The index.
        model: The model that serves it.
        settings: Title and example queries.
        comparison: An evaluation to show.
        papers: What the page must know of the papers view, or None for an index without dates.
    """

    def __init__(
        self,
        index: SearchIndex,
        model: ModelService,
        settings: ServerSettings,
        comparison: ComparisonReport | None,
        *,
        papers: dict[str, Any] | None = None,
    ) -> None:
        self._index = index
        self._model = model
        self._settings = settings
        self._comparison = comparison
        self._papers = papers
        self._examples: tuple[str, ...] | None = settings.examples or None
        self._kinds = {field.name: attribute_kind(field.type) for field in index.schema}
        self._facet = lru_cache(_REMEMBERED_FACETS)(self._counted_facet)

    def warm_up(self) -> None:
        """Do once what the page asks first: the parser of filters and the lists of the facets take a while to load."""
        self.description()
        self.facets([], None)
        if self._kinds:
            name = next(iter(self._kinds)).replace('"', '""')
            self._passing(f'"{name}" is not null')

    def description(self) -> dict[str, Any]:
        """Return what ``/about`` answers."""
        if self._examples is None:
            self._examples = example_queries(self._index)
        return {
            "title": self._settings.title,
            "entries": len(self._index),
            "model": self._model.name,
            "dimension": self._model.dimension,
            "attributes": [{"name": name, "kind": kind} for name, kind in self._kinds.items()],
            "examples": list(self._examples),
            "comparison": None if self._comparison is None else _comparison_document(self._comparison),
            "papers": self._papers,
        }

    def facets(self, names: list[str], where: str | None) -> dict[str, Any]:
        """Return what ``/facets`` answers.

        Args:
            names: Attributes; empty means all that can be chosen from.
            where: Filter that the counted entries pass.

        Raises:
            InputError: An attribute or the filter is unknown to the index.
        """
        chosen = names or [name for name, kind in self._kinds.items() if kind != "other"]
        return {
            "entries": self._passing(where),
            "facets": [self._facet(name, where, len(self._index)) for name in chosen],
        }

    def _passing(self, where: str | None) -> int:
        if where is None:
            return len(self._index)
        direction = np.zeros(self._index.dimension, dtype=np.float32)
        direction[0] = 1
        return self._index.search(direction, k=1, where=where, mode="vector").passing

    def _counted_facet(self, name: str, where: str | None, _entries: int) -> dict[str, Any]:
        kind = self._kinds.get(name, "other")
        counts = self._index.facets(name, where=where)
        document: dict[str, Any] = {"name": name, "kind": kind}
        if kind in ("number", "date"):
            # Whole or not, a number is chosen by a range; NaN has no place in one.
            known = [value for value in counts if value == value]
            smallest, largest = (min(known), max(known)) if known else (None, None)
            return document | {"smallest": plain_value(smallest), "largest": plain_value(largest)}
        frequent = list(islice(counts.items(), _LISTED_VALUES))
        values = [{"value": plain_value(value), "count": count} for value, count in frequent]
        return document | {"values": values, "distinct": len(counts)}


def attribute_kind(kind: pa.DataType) -> Kind:
    """Return how an attribute of an Arrow type is chosen from."""
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        return "string"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "date"
    return "set" if types.is_list(kind) or types.is_large_list(kind) else "other"


def example_queries(index: SearchIndex) -> tuple[str, ...]:
    """Take a few short first sentences from entries in different parts of the space, to be tried as queries.

    Args:
        index: The index; its entries nearest to fixed random directions are looked at.

    Returns:
        At most five; none if no entry begins with a short sentence.
    """
    if len(index) == 0:
        return ()
    generator = random_generator(0, "example-queries")
    found: dict[str, None] = {}
    for _ in range(_PROBES):
        direction = generator.standard_normal(index.dimension).astype(np.float32)
        direction /= np.linalg.norm(direction)
        hits = index.search(direction, k=5, mode="vector").hits
        sentences = (first_sentence(hit.text or "") for hit in hits)
        sentence = next((sentence for sentence in sentences if sentence and sentence not in found), None)
        if sentence:
            found[sentence] = None
        if len(found) == _EXAMPLES:
            break
    return tuple(found)


def first_sentence(text: str) -> str | None:
    """Return the first sentence of a text if it is short and plain enough to be typed as a query.

    Example:
        >>> first_sentence("Return the angle of a complex number. Works element-wise.")
        'Return the angle of a complex number'
        >>> first_sentence("Too short.") is None
        True
    """
    sentence = re.split(r"[.!?]\s|\n", text.strip(), maxsplit=1)[0].strip().rstrip(".")
    least, most = _EXAMPLE_WORDS
    words = sentence.split()
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9 ,'-]*", sentence) is not None
    return sentence if plain and least <= len(words) <= most and len(sentence) <= _EXAMPLE_CHARACTERS else None


def _comparison_document(comparison: ComparisonReport) -> dict[str, Any]:
    return {
        "title": comparison.title,
        "caption": comparison.caption,
        "columns": list(comparison.columns),
        "rows": [list(row) for row in comparison.rows],
        "pictures": {theme: f"comparison/{path.name}" for theme, path in comparison.pictures.items()},
    }
