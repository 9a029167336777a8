"""A word to the person while the compiled code of a search is made: seconds that a machine takes once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from embedworks.cli.output import notice

_LINE = "Compiling the search for this processor; this takes a few seconds"
_LOGGER = logging.getLogger(__name__)


@contextmanager
def compilation_announced() -> Iterator[None]:
    """Say one line on standard error if code is compiled in the block.

    The compiler itself tells that it begins; it does not where it finds the code in its cache. Where standard error is
    no terminal, the line goes to the log alone, at level INFO.
    """
    from numba.core import event

    class OneLine(event.Listener):
        said = False

        def on_start(self, event: Any) -> None:
            if not self.said:
                self.said = True
                _LOGGER.info(_LINE)
                if sys.stderr.isatty():
                    notice(_LINE)

        def on_end(self, event: Any) -> None:
            """Say nothing more."""

    with event.install_listener("numba:compile", OneLine()):
        yield
