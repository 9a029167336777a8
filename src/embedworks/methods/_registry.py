"""The registry is the folder: every module here whose name has no leading underscore is a method."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from embedworks.foundation import InputError
from embedworks.methods._report import Report, Scale


class Method(Protocol):
    """What a method's module offers.

    ``Config`` is a frozen dataclass whose defaults are the published values and which has a ``small()`` preset.
    """

    SUMMARY: str
    """One line: what the method is for."""
    PAPER: str
    """Where it was published, or "" for a plain default."""
    Config: type[Any]
    """The method's settings."""

    @staticmethod
    def fit(data: Any, config: Any, *, out: Path | None, progress: bool) -> Any:
        """Train on the user's own data and return the fitted model (saved to ``out`` where given)."""
        ...

    @staticmethod
    def reproduce(scale: Scale, *, progress: bool) -> Report:
        """Run the paper's comparison and return what was found."""
        ...


@dataclass(frozen=True)
class MethodCard:
    """A line of the list of methods."""

    name: str
    summary: str
    paper: str


def method_names() -> list[str]:
    """Return the names of all methods, sorted; a module ``a_b`` is the method ``a-b``."""
    folder = str(Path(__file__).parent)
    return sorted(found.name.replace("_", "-") for found in pkgutil.iter_modules([folder]) if found.name[0] != "_")


def find_method(name: str) -> Method:
    """Return a method's module by the method's name.

    Raises:
        InputError: There is no such method.
    """
    names = method_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(names)}"
        raise InputError(f"there is no method {name!r}", mend=hint)
    return cast("Method", importlib.import_module(f"embedworks.methods.{name.replace('-', '_')}"))


def method_cards() -> list[MethodCard]:
    """Return a card for every method."""
    cards = []
    for name in method_names():
        method = find_method(name)
        cards.append(MethodCard(name=name, summary=method.SUMMARY, paper=method.PAPER))
    return cards
