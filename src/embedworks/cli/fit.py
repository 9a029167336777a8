"""``embedworks fit``: train a method on one's own pairs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_METHOD = "contrastive"


def fit_verb(arguments: Sequence[str]) -> Callable[..., None]:
    """Return the verb with the settings of the method that the arguments name, so that each setting is a flag.

    Raises:
        InputError: The arguments name a method that does not exist.
    """
    from embedworks.methods import find_method

    name = _named_method(arguments) if list(arguments[:1]) == ["fit"] else DEFAULT_METHOD
    config_type = find_method(name).Config

    def fit(
        data: tyro.conf.Positional[Path],
        config: Any,
        *,
        out: Path,
        method: str = DEFAULT_METHOD,
        json: JsonTarget = None,
    ) -> None:
        """Train a method on your own data; the flags below --json are the chosen method's settings.

        Args:
            data: File with columns query and positive, and optionally negatives; Parquet, CSV, JSONL or Arrow.
            config: The method's settings.
            out: Directory to save the model to; must not exist.
            method: Which method to train; ``embedworks methods`` lists them.
            json: Where to write a summary as JSON; - is standard output.
        """
        from embedworks import api

        model = api.fit(data, method=method, config=config, out=out, progress=True)
        document = {
            "method": method,
            "out": str(out),
            "config": asdict(config),
            "dimension": model.dimension,
            "training": getattr(model, "training_settings", None),
        }

        def render(console: Console) -> None:
            console.print(f"Trained [bold]{method}[/bold], {model.dimension} dimensions, saved to [bold]{out}[/bold]")
            console.print(f"Next: embedworks index items.parquet --model {out} --out my.index")

        emit(document, json_target=json, render=render)

    # tyro reads the signature: the settings of the method named on the command line become its flags.
    signature = inspect.signature(fit)
    config = signature.parameters["config"].replace(annotation=config_type, default=config_type())
    fit.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[config if entry.name == "config" else entry for entry in signature.parameters.values()]
    )
    fit.__annotations__["config"] = config_type
    return fit


def _named_method(arguments: Sequence[str]) -> str:
    for position, argument in enumerate(arguments):
        if argument == "--method":
            if position + 1 == len(arguments):
                raise InputError("--method needs the name of a method", mend="see: embedworks methods")
            return arguments[position + 1]
        if argument.startswith("--method="):
            return argument.split("=", 1)[1]
    return DEFAULT_METHOD
