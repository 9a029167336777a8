"""The verbs a person types.

Comes in: words. Goes out: calls of ``embedworks.api``, a table or a JSON document, an exit code.
Start reading at ``main``.
"""

from embedworks.cli.main import main

__all__ = ["main"]
