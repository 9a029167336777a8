"""UNG's label side: the groups of rows with one set of labels, and the label navigating graph over them.

Paper: UNG (SIGMOD 2025). A group leads to its minimal supersets: the groups whose set contains its own, with no other
group's set in between. The paper finds supersets by a trie over sorted labels; here they come from the list of groups
that have a set's rarest label, which gives the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from embedworks.index.structures.filters import LabelColumn


@dataclass(frozen=True, eq=False)
class LabelGroups:
    """Rows grouped by their whole set of labels, the groups by the size of the set and then by its labels.

    Args:
        label_count: Number of labels.
        set_starts: Where each group's labels begin, int64, shape (groups + 1,).
        set_codes: The labels, ascending within a group, int32.
        member_starts: Where each group's rows begin, int64, shape (groups + 1,).
        members: The rows, ascending within a group, int64, shape (n,).
    """

    label_count: int
    set_starts: NDArray[np.int64]
    set_codes: NDArray[np.int32]
    member_starts: NDArray[np.int64]
    members: NDArray[np.int64]

    @classmethod
    def of(cls, column: LabelColumn) -> LabelGroups:
        """Group the rows; those without labels are the group of the empty set.

        Example:
            >>> column = LabelColumn(("a", "b"), np.array([0, 1, 3, 4]), np.array([0, 0, 1, 0], dtype=np.int32))
            >>> groups = LabelGroups.of(column)
            >>> [(groups.labels(group), groups.rows(group).tolist()) for group in range(len(groups))]
            [((0,), [0, 2]), ((0, 1), [1])]
        """
        rows_of: dict[tuple[int, ...], list[int]] = {}
        codes, starts = column.codes.tolist(), column.starts.tolist()
        for row in range(len(starts) - 1):
            rows_of.setdefault(tuple(codes[starts[row] : starts[row + 1]]), []).append(row)
        sets = sorted(rows_of, key=lambda labels: (len(labels), labels))
        return cls(
            len(column.names),
            _bounds([len(labels) for labels in sets]),
            np.array([code for labels in sets for code in labels], dtype=np.int32),
            _bounds([len(rows_of[labels]) for labels in sets]),
            np.array([row for labels in sets for row in rows_of[labels]], dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.set_starts) - 1

    def labels(self, group: int) -> tuple[int, ...]:
        """Return a group's labels, ascending."""
        return tuple(self.set_codes[self.set_starts[group] : self.set_starts[group + 1]].tolist())

    def rows(self, group: int) -> NDArray[np.int64]:
        """Return a group's rows, ascending."""
        return self.members[self.member_starts[group] : self.member_starts[group + 1]]

    @cached_property
    def group_of(self) -> NDArray[np.int32]:
        """The group of each row, int32, shape (n,)."""
        numbers = np.empty(len(self.members), dtype=np.int32)
        numbers[self.members] = np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.member_starts))
        return numbers

    @cached_property
    def _sets(self) -> list[frozenset[int]]:
        return [frozenset(self.labels(group)) for group in range(len(self))]

    @cached_property
    def _number(self) -> dict[frozenset[int], int]:
        return {labels: group for group, labels in enumerate(self._sets)}

    @cached_property
    def _having(self) -> list[list[int]]:
        having: list[list[int]] = [[] for _ in range(self.label_count)]
        for group, labels in enumerate(self._sets):
            for code in labels:
                having[code].append(group)
        return having

    def find(self, wanted: frozenset[int]) -> int:
        """Return the group of a set of labels, -1 where no row has exactly this set."""
        return self._number.get(wanted, -1)

    def minimal_supersets(self, wanted: frozenset[int], *, proper: bool) -> list[int]:
        """Return the groups whose set contains the wanted labels, and no other such group's set, ascending.

        Args:
            wanted: Numbers of labels, below ``label_count``.
            proper: Whether the group of the wanted set itself does not count.
        """
        if not proper and (group := self.find(wanted)) >= 0:
            return [group]
        # The rarest label has the shortest list. Groups ascend by size, so a set comes after all of its subsets.
        possible = self._having[max(wanted)] if wanted else range(len(self))
        chosen: list[int] = []
        by_rarest: dict[int, list[frozenset[int]]] = {}
        for group in possible:
            labels = self._sets[group]
            if not (wanted <= labels if not proper else wanted < labels):
                continue
            # A chosen set inside this one has its rarest label beyond the wanted ones among this one's labels.
            beyond = labels - wanted
            if any(other <= beyond for code in beyond for other in by_rarest.get(code, ())):
                continue
            chosen.append(group)
            if beyond:
                by_rarest.setdefault(max(beyond), []).append(beyond)
        return chosen

    def navigating_graph(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the label navigating graph: where each group's minimal proper supersets begin, and the supersets.

        Returns:
            int64, shape (groups + 1,), and int32, shape (edges,).
        """
        edges = [self.minimal_supersets(labels, proper=True) for labels in self._sets]
        return _bounds([len(above) for above in edges]), np.array(
            [group for above in edges for group in above], dtype=np.int32
        )


def _bounds(counts: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.array(counts, dtype=np.int64))]).astype(np.int64)
