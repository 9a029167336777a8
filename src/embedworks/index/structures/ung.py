"""UNG: a Vamana graph for every set of labels, joined along the label navigating graph, so that no filter is checked.

Paper: UNG (SIGMOD 2025). A search that starts in the minimal supersets of the wanted labels can only reach rows that
have them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import progress_bar
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.filters import Everything, LabelColumn, Labels, RowFilter
from embedworks.index.structures.labelled_vamana import check_rows
from embedworks.index.structures.reach import connect_strongly
from embedworks.index.structures.structure import Arrays, Found, Structure, Vectors, checked_vectors
from embedworks.index.structures.ung_cross_edges import cross_edges
from embedworks.index.structures.ung_label_graph import LabelGroups
from embedworks.index.structures.vamana import (
    Adjacency,
    LabelSets,
    best_passing,
    check_settings,
    medoid,
    search_graph,
    vamana,
)
from embedworks.index.structures.workspace import Workspace, checked_query, fixed

_NO_LABELS: Final = LabelSets(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))


class UnifiedNavigatingGraph(Structure):
    """The unified navigating graph: native for "has all of these labels".

    "Any of these labels" is one search per label; no filter starts in all minimal sets. Rows without labels are the
    group of the empty set: it leads to every other group and is reached when no filter is set, and only then.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        groups: The rows by set of labels.
        graph: Edges within the groups and along the label navigating graph.
        entries: Rows to start from by group, as a graph from groups to rows.
        facts: Settings.

    Example:
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"tags": [["a"], ["a", "b"], ["b"], None]}))
        >>> vectors = np.eye(4, dtype=np.float32)
        >>> graph = UnifiedNavigatingGraph.build(vectors, attributes.column("tags"), attribute="tags")
        >>> graph.search(vectors[0], 3, attributes.labels("tags", ["b"]), beam=10).rows.tolist()
        [1, 2]
        >>> graph.search(vectors[0], 3, attributes.labels("tags", ["a", "b"]), beam=10).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "ung"

    def __init__(
        self,
        vectors: Vectors,
        groups: LabelGroups,
        graph: Adjacency,
        entries: Adjacency,
        facts: Mapping[str, Any],
    ) -> None:
        super().__init__(fixed(vectors))
        self.groups = groups
        self.graph = graph
        self.entries = entries
        self._facts = dict(facts)
        self._workspace = Workspace(len(vectors))
        self._entries_of = lru_cache(maxsize=4096)(self._find_entries)

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        labels: LabelColumn,
        *,
        attribute: str,
        degree: int = 32,
        beam: int = 100,
        alpha: float = 1.2,
        cross_degree: int = 6,
        entry_points: int = 16,
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Build it.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            labels: Labels of each row.
            attribute: Name of the attribute the labels are of.
            degree: Most out-neighbours of a row within its group (R); groups of at most so many rows are complete.
            beam: Size of the candidate list of the searches (L).
            alpha: RobustPrune's factor, on squared distances.
            cross_degree: Out-neighbours of a row in larger sets (delta).
            entry_points: Rows a search starts from in each group (sigma): the medoid, and others at random.
            seed: Seed of the orders of insertion and of the entry points.
            progress: Whether to show a bar.

        Raises:
            InputError: The vectors, the labels or a setting cannot be used.
        """
        check_settings(alpha=alpha, degree=degree, beam=beam, cross_degree=cross_degree, entry_points=entry_points)
        rows = checked_vectors(vectors)
        check_rows(labels, len(rows))
        groups = LabelGroups.of(labels)
        grouped = rows[groups.members]  # rows of a group lie together; below, a row is its place in this order
        sources, targets, medoids, entries = [], [], [], []
        with progress_bar("building groups", len(rows), unit="rows", enabled=progress) as advance:
            for group in range(len(groups)):
                first, last = groups.member_starts[group : group + 2].tolist()
                part = grouped[first:last]
                start = medoid(part)
                random = random_generator(seed, "group", group)
                graph = _group_graph(part, start, random, degree=degree, beam=beam, alpha=alpha)
                others = random.permutation(len(part))
                sources.append(first + graph.sources)
                targets.append(first + graph.ids)
                medoids.append(first + start)
                entries.append(first + np.concatenate([[start], others[others != start]])[:entry_points])
                advance(len(part))
        inside = Adjacency.from_edges(len(rows), np.concatenate(sources), np.concatenate(targets))
        from_rows, to_rows = cross_edges(
            grouped,
            inside,
            groups,
            np.array(medoids, dtype=np.int32),
            degree=cross_degree,
            beam=beam,
            progress=progress,
        )
        graph = Adjacency.from_edges(
            len(rows),
            groups.members[np.concatenate([inside.sources, from_rows])],
            groups.members[np.concatenate([inside.ids, to_rows])],
        )
        starting = Adjacency.from_edges(
            len(groups),
            np.repeat(np.arange(len(groups)), [len(chosen) for chosen in entries]),
            groups.members[np.concatenate(entries)],
        )
        facts = {
            "attribute": attribute,
            "labels": len(labels.names),
            "degree": degree,
            "beam": beam,
            "alpha": alpha,
            "cross_degree": cross_degree,
            "entry_points": entry_points,
            "seed": seed,
        }
        return cls(rows, groups, graph, starting, facts)

    def supports(self, where: RowFilter) -> bool:
        """Return whether the filter asks for labels of the attribute, or for nothing."""
        form = where.form
        return isinstance(form, Everything) or (isinstance(form, Labels) and form.attribute == self._facts["attribute"])

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows found; exact where no candidate list was full."""
        self.refuse_unsupported(where)
        asked = checked_query(query, self.vectors.shape[1], k)
        if isinstance(where.form, Labels) and not where.form.every:
            wanted = [frozenset([code]) for code in where.form.codes]
        else:
            wanted = [frozenset(where.form.codes if isinstance(where.form, Labels) else ())]
        found = [self._search_groups(asked, self._entries_of(labels), beam=max(beam, k)) for labels in wanted]
        return best_passing(found, k, where.mask)

    def search_equal(self, query: Vectors, k: int, labels: tuple[int, ...], *, beam: int) -> Found:
        """Return the k nearest rows found whose set of labels is exactly this one.

        Args:
            query: A vector of length 1, float32, shape (d,).
            k: How many are wanted.
            labels: Numbers of the labels.
            beam: Size of the candidate list.
        """
        asked = checked_query(query, self.vectors.shape[1], k)
        group = self.groups.find(frozenset(labels))
        found = (
            [self._search_groups(asked, self.entries.of(group), beam=max(beam, k), only=group)] if group >= 0 else []
        )
        return best_passing(found, k, np.ones(self.rows, dtype=np.bool_))

    def _search_groups(
        self, query: Vectors, entries: NDArray[np.int32], *, beam: int, only: int | None = None
    ) -> Found:
        """Search from some rows; ``only`` keeps the search from leaving one group."""
        labels, wanted = (_NO_LABELS, _NO_LABELS.codes) if only is None else (self._group_labels, np.array([only]))
        return search_graph(
            self.vectors, query, self.graph, labels, wanted.astype(np.int32), entries, self._workspace, beam=beam
        )

    @cached_property
    def _group_labels(self) -> LabelSets:
        return LabelSets(fixed(np.arange(self.rows + 1, dtype=np.int64)), fixed(self.groups.group_of))

    def _find_entries(self, labels: frozenset[int]) -> NDArray[np.int32]:
        groups = self.groups.minimal_supersets(labels, proper=False)
        return np.concatenate([np.zeros(0, dtype=np.int32), *(self.entries.of(group) for group in groups)])

    def arrays(self) -> Arrays:
        """Return the graph, the groups and their entries; the label navigating graph is needed for building only."""
        return {
            "starts": self.graph.starts,
            "ids": self.graph.ids,
            "set_starts": self.groups.set_starts,
            "set_codes": self.groups.set_codes,
            "member_starts": self.groups.member_starts,
            "members": self.groups.members,
            "entry_starts": self.entries.starts,
            "entries": self.entries.ids,
        }

    def facts(self) -> dict[str, Any]:
        """Return the settings."""
        return self._facts

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return it over the same vectors."""
        groups = LabelGroups(
            facts["labels"],
            *(fixed(arrays[name]) for name in ("set_starts", "set_codes", "member_starts", "members")),
        )
        graph = Adjacency(fixed(arrays["starts"]), fixed(arrays["ids"]))
        return cls(vectors, groups, graph, Adjacency(fixed(arrays["entry_starts"]), fixed(arrays["entries"])), facts)


def _group_graph(
    part: Vectors, start: int, random: np.random.Generator, *, degree: int, beam: int, alpha: float
) -> Adjacency:
    rows = len(part)
    if rows <= degree:
        sources, targets = np.nonzero(~np.eye(rows, dtype=np.bool_))
        return Adjacency.from_edges(rows, sources, targets)
    graph = vamana(part, start, random.permutation(rows), degree=degree, beam=beam, alpha=alpha)
    return connect_strongly(part, graph, start, degree=degree)
