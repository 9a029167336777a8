"""Which attributes of an index make its rows papers: a date above all, then title, authors, categories and a link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from embedworks.foundation import InputError

_TITLES = ("title", "headline", "name")
_AUTHORS = ("authors", "author")
_CATEGORIES = ("categories", "category", "subjects", "topics", "tags")
_LINKS = ("url", "link")


@dataclass(frozen=True)
class PaperAttributes:
    """The attributes that the papers view reads; those that an index does not have are None.

    Args:
        date: Dates or timestamps; the view needs it.
        title: Texts.
        authors: Sets of names, or one text.
        categories: Sets of names, or one text.
        link: Addresses of the papers themselves.
    """

    date: str
    title: str | None = None
    authors: str | None = None
    categories: str | None = None
    link: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the names as JSON values."""
        return asdict(self)


def find_attributes(schema: pa.Schema, *, date: str | None = None) -> PaperAttributes | None:
    """Find the attributes of the papers view.

    Args:
        schema: The attributes of the index.
        date: The attribute to order by; None takes the first one that holds dates, then the first with timestamps.

    Returns:
        The attributes, or None for an index without dates.

    Raises:
        InputError: ``date`` names no attribute with dates.

    Example:
        >>> find_attributes(pa.schema([("day", pa.date32()), ("title", pa.string())]))
        PaperAttributes(date='day', title='title', authors=None, categories=None, link=None)
    """
    days = [field.name for field in schema if pa.types.is_date(field.type)]
    moments = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    if date is not None and date not in days + moments:
        known = ", ".join(days + moments) or "none"
        raise InputError(f"no attribute named {date!r} holds dates", where="date attribute", mend=f"choose: {known}")
    if not days + moments:
        return None

    def first(names: tuple[str, ...], fits: Callable[[pa.DataType], bool]) -> str | None:
        found = {field.name.lower(): field.name for field in schema if fits(field.type)}
        return next((found[name] for name in names if name in found), None)

    return PaperAttributes(
        date=date or (days + moments)[0],
        title=first(_TITLES, pa.types.is_string),
        authors=first(_AUTHORS, _is_names),
        categories=first(_CATEGORIES, _is_names),
        link=first(_LINKS, pa.types.is_string),
    )


def _is_names(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_string(kind))


def names_of(value: Any) -> list[str]:
    """Return the members of a set, or one text as the only member; null is an empty list."""
    if value is None or value == "":
        return []
    return [str(member) for member in value] if isinstance(value, list | tuple) else [str(value)]


def web_link(value: Any) -> str | None:
    """Return a value if it is an address that a page may link to: http or https, and nothing that could run."""
    if not isinstance(value, str) or any(character <= " " for character in value):
        return None
    return value if value.lower().startswith(("https://", "http://")) else None
