"""NHQ: one graph under a distance that adds up vectors and attributes; the one structure that may violate a filter.

Paper: NHQ (NeurIPS 2023, arXiv 2203.13601). Its fusion formula is not at hand; the additive form stands here:

    fused = vector_weight * squared distance + label_weight * number of labels that differ

Between two rows the number is the larger count of labels that one has and the other has not: 0 or 1 for an attribute
with one value a row. Between a query and a row it is the number of wanted labels the row has not; where any of several
labels will do, 0 or 1. Since a near row with the wrong label can come before a far one with the right label, the answer
may hold rows that fail; ``refilter`` drops those, and then fewer than k may be left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, progress_bar
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.filters import Everything, LabelColumn, Labels, RowFilter
from embedworks.index.structures.kernels import compiled, distance, insert
from embedworks.index.structures.labelled_vamana import check_rows
from embedworks.index.structures.prefilter import scan
from embedworks.index.structures.structure import Arrays, Counters, Found, Structure, Vectors, checked_vectors
from embedworks.index.structures.vamana import Adjacency, LabelSets, check_settings, packed
from embedworks.index.structures.workspace import Workspace, checked_query, fixed

_AT_ONCE: Final = 1024
"""Rows inserted between two looks at the progress bar, and at Ctrl-C."""
_ROWS: Final = 0
_EVERY: Final = 1
_ANY: Final = 2


class FusionGraph(Structure):
    """A navigable small world built and searched under the fused distance (NHQ-NSW).

    A row is linked both ways with the rows that a search for it found, as far as they lie in different directions: the
    choice of HNSW, all distances fused. A list that outgrows twice the degree is chosen from again.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: The graph.
        labels: Labels by row.
        start: The row all searches start from.
        facts: Settings.

    Example:
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"colour": ["red", "red", "blue"]}))
        >>> vectors = np.eye(3, dtype=np.float32)
        >>> graph = FusionGraph.build(vectors, attributes.column("colour"), attribute="colour", label_weight=9.0)
        >>> graph.search(vectors[0], 1, attributes.labels("colour", ["blue"]), beam=10).rows.tolist()
        [2]
    """

    kind: ClassVar[str] = "nhq"
    may_violate: ClassVar[bool] = True

    def __init__(
        self, vectors: Vectors, graph: Adjacency, labels: LabelSets, start: int, facts: Mapping[str, Any]
    ) -> None:
        super().__init__(fixed(vectors))
        self.graph = graph
        self.labels = labels
        self.start = start
        self._facts = dict(facts)
        self._workspace = Workspace(len(vectors))

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        labels: LabelColumn,
        *,
        attribute: str,
        degree: int = 20,
        beam: int = 100,
        vector_weight: float = 1.0,
        label_weight: float = 1.0,
        refilter: bool = False,
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Build it.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            labels: Labels of each row.
            attribute: Name of the attribute the labels are of.
            degree: Rows that a new row is linked with; a list holds at most twice as many.
            beam: Size of the candidate list of the searches (ef).
            vector_weight: Weight of the squared distance, which lies between 0 and 4.
            label_weight: Weight of a differing label.
            refilter: Whether to drop rows that fail from an answer.
            seed: Seed of the order of insertion.
            progress: Whether to show a bar.

        Raises:
            InputError: The vectors, the labels or a setting cannot be used.
        """
        check_settings(alpha=1.0, degree=degree, beam=beam)
        for name, weight in (("vector_weight", vector_weight), ("label_weight", label_weight)):
            if not (np.isfinite(weight) and weight > 0):
                raise InputError(f"{name} is {weight}", where="settings", mend="give a positive number")
        rows = checked_vectors(vectors)
        check_rows(labels, len(rows))
        sets = LabelSets(fixed(labels.starts), fixed(labels.codes))
        order = random_generator(seed, "order of insertion").permutation(len(rows))
        room = 2 * degree + 1
        ids = np.full(len(rows) * room, -1, dtype=np.int32)
        begins = np.arange(len(rows), dtype=np.int64) * room
        ends, marks = begins.copy(), np.zeros(len(rows), dtype=np.int32)
        weights = np.float32(vector_weight), np.float32(label_weight)
        with progress_bar("linking rows", len(rows), unit="rows", enabled=progress) as advance:
            for first in range(0, len(rows), _AT_ONCE):
                part = fixed(order[first : first + _AT_ONCE])
                _insert_rows(
                    fixed(rows), sets.starts, sets.codes, *weights, ids, begins, ends,
                    part, int(order[0]), marks, first, room, degree, beam,
                )  # fmt: skip
                advance(len(part))
        graph = packed(ids, begins, ends)
        facts = {
            "attribute": attribute,
            "degree": degree,
            "beam": beam,
            "vector_weight": vector_weight,
            "label_weight": label_weight,
            "refilter": refilter,
            "seed": seed,
            "start": int(order[0]),
        }
        return cls(rows, graph, sets, int(order[0]), facts)

    def supports(self, where: RowFilter) -> bool:
        """Return whether the filter asks for labels of the attribute, or for nothing."""
        form = where.form
        return isinstance(form, Everything) or (isinstance(form, Labels) and form.attribute == self._facts["attribute"])

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k rows with the least fused distance that were found, by their squared distance.

        Rows among them may fail the filter, unless the structure was built to drop those.
        """
        self.refuse_unsupported(where)
        asked = checked_query(query, self.vectors.shape[1], k)
        beam = min(max(beam, k), self.rows)
        rows, distances = np.empty(beam, dtype=np.int32), np.empty(beam, dtype=np.float32)
        form = where.form
        size, computed, hops = _search(
            self.vectors, self.labels.starts, self.labels.codes,
            np.float32(self._facts["vector_weight"]), np.float32(self._facts["label_weight"]),
            self.graph.ids, self.graph.starts[:-1], self.graph.starts[1:],
            asked, fixed(np.array(form.codes if isinstance(form, Labels) else (), dtype=np.int32)),
            _EVERY if isinstance(form, Labels) and form.every else _ANY, self.start,
            rows, distances, np.empty(beam, dtype=np.bool_), self._workspace.seen, self._workspace.stamps(1),
        )  # fmt: skip
        chosen = rows[:size].astype(np.int64)
        failed = ~where.mask[chosen]
        if self._facts["refilter"]:
            chosen = chosen[~failed]
        counters = Counters(int(computed), int(hops), int(failed.sum()))
        found, plain = scan(self.vectors, asked, chosen[:k], min(k, len(chosen)))
        return Found(found, plain, counters)

    def arrays(self) -> Arrays:
        """Return the graph and the labels."""
        return {
            "starts": self.graph.starts,
            "ids": self.graph.ids,
            "label_starts": self.labels.starts,
            "label_codes": self.labels.codes,
        }

    def facts(self) -> dict[str, Any]:
        """Return the settings, and where searches begin."""
        return {**self._facts, "start": self.start}

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return it over the same vectors."""
        graph = Adjacency(fixed(arrays["starts"]), fixed(arrays["ids"]))
        labels = LabelSets(fixed(arrays["label_starts"]), fixed(arrays["label_codes"]))
        return cls(vectors, graph, labels, facts["start"], facts)


@compiled
def _differing(label_starts, label_codes, row, wanted, manner):  # type: ignore[no-untyped-def]
    """Return how many labels differ between a row and a row's labels (_ROWS), or wanted ones (_EVERY, _ANY)."""
    common, place = 0, 0
    first, last = label_starts[row], label_starts[row + 1]
    count = last - first
    while first < last and place < wanted.shape[0]:
        if label_codes[first] == wanted[place]:
            common += 1
            first += 1
            place += 1
        elif label_codes[first] < wanted[place]:
            first += 1
        else:
            place += 1
    if manner == _ROWS:
        return max(wanted.shape[0], count) - common
    if manner == _EVERY:
        return wanted.shape[0] - common
    return min(wanted.shape[0], 1) - min(common, 1)


@compiled
def _fused(vectors, label_starts, label_codes, vector_weight, label_weight, row, query, wanted, manner):  # type: ignore[no-untyped-def]
    """Return the fused distance of a row and a query (NHQ's fusion distance, in its additive form)."""
    differing = np.float32(_differing(label_starts, label_codes, row, wanted, manner))
    return vector_weight * distance(vectors, row, query) + label_weight * differing


@compiled
def _search(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, vector_weight, label_weight, ids, begins, ends,
    query, wanted, manner, start, rows, distances, expanded, marks, mark,
):  # fmt: skip
    """Search best first under the fused distance; fills rows and distances, returns size, distances and hops."""
    marks[start] = mark
    near = _fused(vectors, label_starts, label_codes, vector_weight, label_weight, start, query, wanted, manner)
    size, _ = insert(rows, distances, expanded, 0, np.int32(start), near)
    computed, hops, place = 1, 0, 0
    while place < size:
        if expanded[place]:
            place += 1
            continue
        expanded[place] = True
        hops += 1
        node = rows[place]
        place += 1
        for slot in range(begins[node], ends[node]):
            row = ids[slot]
            if marks[row] == mark:
                continue
            marks[row] = mark
            computed += 1
            near = _fused(vectors, label_starts, label_codes, vector_weight, label_weight, row, query, wanted, manner)
            size, taken = insert(rows, distances, expanded, size, row, near)
            place = min(place, taken)
    return size, computed, hops


@compiled
def _choose(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, vector_weight, label_weight, candidates, distances, count, limit, kept
):
    """Keep each candidate that is nearer to the point than to any kept one, going outwards; returns the number kept."""
    size = 0
    for place in range(count):
        if size == limit:
            break
        row = candidates[place]
        wanted = label_codes[label_starts[row] : label_starts[row + 1]]
        near = False
        for other in range(size):
            between = _fused(
                vectors, label_starts, label_codes, vector_weight, label_weight,
                kept[other], vectors[row], wanted, _ROWS,
            )  # fmt: skip
            if between <= distances[place]:
                near = True
                break
        if not near:
            kept[size] = row
            size += 1
    return size


@compiled
def _insert_rows(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, vector_weight, label_weight, ids, begins, ends,
    order, start, marks, mark, room, degree, beam,
):  # fmt: skip
    size = max(beam, room)
    rows = np.empty(size, dtype=np.int32)
    distances = np.empty(size, dtype=np.float32)
    unused = np.empty(size, dtype=np.bool_)
    kept = np.empty(room, dtype=np.int32)
    for step in range(order.shape[0]):
        row = np.int32(order[step])
        if row == start:
            continue
        wanted = label_codes[label_starts[row] : label_starts[row + 1]]
        count, _, _ = _search(
            vectors, label_starts, label_codes, vector_weight, label_weight, ids, begins, ends,
            vectors[row], wanted, _ROWS, start, rows[:beam], distances[:beam], unused[:beam], marks, mark + step + 1,
        )  # fmt: skip
        count = _choose(
            vectors, label_starts, label_codes, vector_weight, label_weight, rows, distances, count, degree, kept
        )
        ids[begins[row] : begins[row] + count] = kept[:count]
        ends[row] = begins[row] + count
        for slot in range(begins[row], ends[row]):
            other = ids[slot]
            ids[ends[other]] = row
            ends[other] += 1
            if ends[other] - begins[other] < room:
                continue
            labels = label_codes[label_starts[other] : label_starts[other + 1]]
            count = 0
            for place in range(begins[other], ends[other]):
                near = _fused(
                    vectors, label_starts, label_codes, vector_weight, label_weight,
                    ids[place], vectors[other], labels, _ROWS,
                )  # fmt: skip
                count, _ = insert(rows, distances, unused, count, ids[place], near)
            count = _choose(
                vectors, label_starts, label_codes, vector_weight, label_weight, rows, distances, count, room - 1, kept
            )
            ids[begins[other] : begins[other] + count] = kept[:count]
            ends[other] = begins[other] + count
