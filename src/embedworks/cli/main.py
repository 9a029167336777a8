"""From words to a verb, and from what goes wrong to one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from embedworks import __version__
from embedworks.cli.add import add
from embedworks.cli.bench import bench
from embedworks.cli.compact import compact
from embedworks.cli.compare import compare
from embedworks.cli.data import data
from embedworks.cli.delete import delete
from embedworks.cli.demo import demo
from embedworks.cli.encode import encode
from embedworks.cli.evaluate import evaluate
from embedworks.cli.fit import fit_verb
from embedworks.cli.index import index
from embedworks.cli.inspect import inspect
from embedworks.cli.methods import methods
from embedworks.cli.output import notice
from embedworks.cli.reproduce import reproduce
from embedworks.cli.search import search
from embedworks.cli.serve import serve
from embedworks.cli.verify import verify
from embedworks.foundation import EmbedworksError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def verbs(arguments: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Return the verbs by name; ``fit`` takes the settings of the method that the arguments name."""
    return {
        "demo": demo,
        "methods": methods,
        "data": data,
        "fit": fit_verb(arguments),
        "encode": encode,
        "index": index,
        "search": search,
        "add": add,
        "delete": delete,
        "compact": compact,
        "verify": verify,
        "evaluate": evaluate,
        "compare": compare,
        "inspect": inspect,
        "serve": serve,
        "reproduce": reproduce,
        "bench": bench,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the person's ends with one line and exit code 2, never a traceback."""
    # Weights load in well under a second; a library's own bars would only mix with ours.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        sys.stdout.write(f"embedworks {__version__}\n")
        return
    try:
        _dispatch(given)
    except EmbedworksError as error:
        notice(f"embedworks: {error}")
        sys.exit(getattr(error, "exit_code", EXIT_BAD_INPUT))
    except OSError as error:
        if error.filename is None:
            raise
        notice(f"embedworks: {error.filename}: {error.strerror}; check the path and your rights to it")
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        notice("embedworks: interrupted")
        sys.exit(EXIT_INTERRUPTED)


def _dispatch(arguments: Sequence[str]) -> None:
    import tyro

    tyro.extras.subcommand_cli_from_dict(
        verbs(arguments),
        prog="embedworks",
        description="Learn, compress, search, judge and explain embeddings. `embedworks VERB --help` tells more.",
        args=arguments or ["--help"],
        config=(tyro.conf.OmitArgPrefixes,),
    )
