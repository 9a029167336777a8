"""What a person is told when something is wrong: one line that says what, where, and how to mend it."""

from __future__ import annotations


class EmbedworksError(Exception):
    """Base of every error this library raises on purpose.

    The command line prints it as one line and exits with code 2; a traceback means a bug of ours.

    Args:
        what: What is wrong, without a full stop.
        where: The file, row, column, argument or request part it was found in.
        mend: What the person can do about it.

    Example:
        >>> print(InputError("column 'text' is missing", where="items.csv", mend="rename the column that holds it"))
        items.csv: column 'text' is missing; rename the column that holds it
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        self.what = what
        self.where = where
        self.mend = mend
        message = f"{where}: {what}" if where else what
        super().__init__(" ".join(f"{message}; {mend}".split()) if mend else " ".join(message.split()))


class InputError(EmbedworksError, ValueError):
    """Something a person or a client passed in cannot be used as it is."""


class StorageError(EmbedworksError):
    """Something stored (an index, a model, a checkpoint) is damaged, foreign or unsafe to read."""


class MissingExtraError(EmbedworksError, ImportError):
    """An optional library is needed and not installed.

    Args:
        library: The import name of what is missing.
        extra: The extra of embedworks that brings it.
        needed_for: What the person tried to do.
    """

    def __init__(self, library: str, *, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the library {library!r}, which is not installed",
            mend=f"install it with: pip install 'embedworks[{extra}]'",
        )


class NonFiniteError(EmbedworksError):
    """A loss, a gradient or a vector is NaN or infinite."""
