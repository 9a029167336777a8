"""One progress bar for all long work: count, rate and time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


@contextmanager
def progress_bar(description: str, total: int, *, unit: str, enabled: bool) -> Iterator[Advance]:
    """Show how far a piece of work is; in a pipe or a log only the finished line is written.

    Args:
        description: What is being done, as a verb phrase.
        total: Number of units in the whole work.
        unit: Name of one unit, in the plural ("texts", "steps").
        enabled: Whether to show anything.

    Yields:
        A function that takes the number of units just finished.
    """
    if not enabled:
        yield lambda _finished: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.1f} {unit}/s", style="progress.data.speed")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(description, total=total)
        yield lambda finished: bars.advance(task, finished)
