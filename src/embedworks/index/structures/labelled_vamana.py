"""What FilteredVamana and StitchedVamana share: one graph over all rows, a start per label, and the search.

Rows without a label are given one that nobody can ask for. They have a part of the graph and a start of their own, and
are found when no filter is set, and only then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.filters import Everything, LabelColumn, Labels, RowFilter
from embedworks.index.structures.reach import connect_labels, parts
from embedworks.index.structures.structure import Arrays, Found, Structure, Vectors
from embedworks.index.structures.vamana import Adjacency, LabelSets, best_passing, search_graph
from embedworks.index.structures.workspace import Workspace, checked_query, fixed


class LabelledVamana(Structure):
    """A graph in which the rows of every label can be searched as if the others were not there.

    Answers one label, any of several labels, and no filter. For all of several labels use UNG. Parts of the graph that
    no edge joins are searched one by one: in one candidate list, the part with the nearest start would push the starts
    of the others out.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: The graph.
        labels: Labels by row; rows without one have the number after the last.
        start_of: Start of each label, int32, shape (labels + 1,), -1 where no row has it.
        part_of: Number of the part of the graph a label's rows are in, int32, shape (labels + 1,).
        facts: Settings.
    """

    def __init__(
        self,
        vectors: Vectors,
        graph: Adjacency,
        labels: LabelSets,
        start_of: NDArray[np.int32],
        part_of: NDArray[np.int32],
        facts: Mapping[str, Any],
    ) -> None:
        super().__init__(fixed(vectors))
        self.graph = graph
        self.labels = labels
        self.start_of = start_of
        self.part_of = part_of
        self._facts = dict(facts)
        self._workspace = Workspace(len(vectors))

    @classmethod
    def _reachable(
        cls,
        vectors: Vectors,
        graph: Adjacency,
        labels: LabelSets,
        start_of: NDArray[np.int32],
        facts: Mapping[str, Any],
    ) -> Self:
        whole = connect_labels(vectors, graph, labels, start_of, degree=facts["degree"])
        added = len(whole.ids) - len(graph.ids)
        part_of = parts(whole, labels, start_of)
        return cls(vectors, whole, labels, start_of, part_of, {**facts, "added_edges": added})

    def supports(self, where: RowFilter) -> bool:
        """Return whether the filter asks for one label, for any of several, or for nothing."""
        form = where.form
        if isinstance(form, Labels):
            return form.attribute == self._facts["attribute"] and (not form.every or len(form.codes) == 1)
        return isinstance(form, Everything)

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows found (FilteredGreedySearch); exact where the candidate list was not full."""
        self.refuse_unsupported(where)
        asked = checked_query(query, self.vectors.shape[1], k)
        if isinstance(where.form, Labels):
            wanted = labels = np.array(where.form.codes, dtype=np.int32)
        else:
            wanted, labels = np.zeros(0, dtype=np.int32), np.arange(len(self.start_of), dtype=np.int32)
        labels = labels[self.start_of[labels] >= 0]
        found = [
            search_graph(
                self.vectors,
                asked,
                self.graph,
                self.labels,
                wanted,
                self.start_of[labels[self.part_of[labels] == part]],
                self._workspace,
                beam=max(beam, k),
            )
            for part in np.unique(self.part_of[labels])
        ]
        return best_passing(found, k, where.mask)

    def arrays(self) -> Arrays:
        """Return the graph, the labels and the starts."""
        return {
            "starts": self.graph.starts,
            "ids": self.graph.ids,
            "label_starts": self.labels.starts,
            "label_codes": self.labels.codes,
            "start_of": self.start_of,
            "part_of": self.part_of,
        }

    def facts(self) -> dict[str, Any]:
        """Return the settings."""
        return self._facts

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return it over the same vectors."""
        graph = Adjacency(fixed(arrays["starts"]), fixed(arrays["ids"]))
        labels = LabelSets(fixed(arrays["label_starts"]), fixed(arrays["label_codes"]))
        return cls(vectors, graph, labels, fixed(arrays["start_of"]), fixed(arrays["part_of"]), facts)


def closed_sets(column: LabelColumn, rows: int) -> tuple[LabelSets, int]:
    """Return sets in which every row has a label, and the number of labels with the one added for the rest.

    Raises:
        InputError: The labels are of another number of rows.

    Example:
        >>> column = LabelColumn(("a",), np.array([0, 1, 1]), np.array([0], dtype=np.int32))
        >>> sets, labels = closed_sets(column, 2)
        >>> sets.codes.tolist(), labels
        ([0, 1], 2)
    """
    check_rows(column, rows)
    counts = np.diff(column.starts)
    closed = np.maximum(counts, 1)
    starts = np.concatenate([[0], np.cumsum(closed)]).astype(np.int64)
    codes = np.full(starts[-1], len(column.names), dtype=np.int32)
    codes[np.repeat(counts > 0, closed)] = column.codes
    return LabelSets(fixed(starts), fixed(codes)), len(column.names) + 1


def check_rows(column: LabelColumn, rows: int) -> None:
    """Refuse labels of another number of rows.

    Raises:
        InputError: They are.
    """
    if len(column.starts) != rows + 1:
        raise InputError(
            f"there are labels for {len(column.starts) - 1} rows and {rows} vectors",
            where="labels",
            mend="pass one set of labels a row",
        )


def rows_by_label(labels: LabelSets, count: int) -> list[NDArray[np.int64]]:
    """Return the rows of each label, ascending."""
    order = np.argsort(labels.codes, kind="stable")
    rows = np.repeat(np.arange(len(labels.starts) - 1), np.diff(labels.starts))[order]
    return np.split(rows, np.searchsorted(labels.codes[order], np.arange(1, count)))


def find_starts(labels: LabelSets, count: int, *, samples: int, seed: int) -> NDArray[np.int32]:
    """Choose a start for each label so that no row is the start of many (FindMedoid, Filtered-DiskANN algorithm 2).

    Args:
        labels: Labels by row.
        count: Number of labels.
        samples: Rows drawn of each label (tau); the one that is a start least often, the first of equal ones, is taken.
        seed: Seed of the draw.

    Returns:
        A row per label, -1 where no row has it, int32, shape (count,).
    """
    random = random_generator(seed, "label starts")
    load = np.zeros(len(labels.starts) - 1, dtype=np.int64)
    start_of = np.full(count, -1, dtype=np.int32)
    for code, rows in enumerate(rows_by_label(labels, count)):
        if len(rows):
            drawn = random.choice(rows, size=min(samples, len(rows)), replace=False)
            start_of[code] = drawn[np.argmin(load[drawn])]
            load[start_of[code]] += 1
    return start_of
