"""diskannpy's FilteredVamana, in a process of its own: it pins an old NumPy, so it cannot share ours."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.engines.engine import Block, Engine, K, Search
from embedworks.evaluation.filtered.papers import PaperSet
from embedworks.foundation import StorageError

INTERPRETER = "EMBEDWORKS_DISKANN_PYTHON"
"""Environment variable: path of a Python that has diskannpy."""


class DiskAnn(Engine):
    """One label a query. It is given a label for each random subset too, but no ranges, nor several conditions."""

    name: ClassVar[str] = "diskannpy"
    install: ClassVar[str] = (
        f"python -m venv diskann && diskann/bin/pip install diskannpy, then set {INTERPRETER}=diskann/bin/python"
    )

    @classmethod
    def missing(cls) -> str | None:
        """Return how to install it where the variable names no interpreter."""
        return None if os.environ.get(INTERPRETER) else cls.install

    def supports(self, where: Filter) -> bool:
        """Return whether it is a single label, or a random subset."""
        return len(where.conditions) == 1 and (
            where.conditions[0].kind != "between" or where.conditions[0].attribute == "draw"
        )

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Write vectors and labels for the other process, which builds."""
        filters = {f.where: f for cell in cells for f in cell.filters if self.supports(f)}
        labels: list[list[str]] = [[] for _ in range(len(papers))]
        self._label = {}
        for number, (text, where) in enumerate(filters.items()):
            self._label[text] = f"label{number}"
            for row in where.rows:
                labels[row].append(f"label{number}")
        np.save(folder / "vectors.npy", papers.vectors)
        # A row has to have a label. One that all rows share would make the build keep too few edges for the others.
        (folder / "labels.json").write_text(json.dumps([names or ["none"] for names in labels]), encoding="utf-8")
        self._folder, self._rows = folder, len(papers)
        worker = Path(__file__).with_name("diskann_worker.py")
        self._process = subprocess.Popen(  # noqa: S603 - the interpreter the person named
            [os.environ[INTERPRETER], str(worker), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()

    def settings(self) -> list[list[str]]:
        """Along the size of the candidate list."""
        return [[str(beam) for beam in (10, 16, 24, 32, 48, 64, 100, 150, 250, 500)]]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Return a search that only says what it would ask; :meth:`ask` sends many at once."""

        def asked(_query: NDArray[np.float32]) -> list[int]:
            return []

        asked.said = {"label": self._label[where.where], "beam": int(setting)}  # type: ignore[attr-defined]
        return asked

    def ask(self, searches: Sequence[Search], queries: NDArray[np.float32], turns: Sequence[int]) -> Block:
        """Send the queries over and let the other process take the time."""
        np.save(self._folder / "queries.npy", queries)
        asked: list[Any] = [getattr(searches[turn], "said") for turn in turns]  # noqa: B009 - an attribute of a function
        document = self._answer({"k": K, "asked": asked})
        rows = [[row for row in found if 0 <= row < self._rows] for found in document["rows"]]
        return Block(rows, document["cpu"], document["wall"])

    def close(self) -> None:
        """End the other process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=30)

    def _answer(self, asked: dict[str, Any] | None = None) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if asked is not None:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):  # the library prints there as well
                document: dict[str, Any] = json.loads(line)
                return document
        raise StorageError("ended before it answered", where="diskannpy", mend="run it by hand to see why")
