"""StitchedVamana: a graph per label, laid on top of each other and pruned.

Paper: Filtered-DiskANN (WWW 2023), algorithm 5. It needs all rows at once, takes longer to build and less to search
than FilteredVamana. A label's searches start from its medoid, which is a row that has the label; the authors' code
starts from a random number that may be no row at all, and prunes without looking at labels.
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from embedworks.foundation import progress_bar
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.labelled_vamana import LabelledVamana, closed_sets, rows_by_label
from embedworks.index.structures.structure import Vectors, checked_vectors
from embedworks.index.structures.vamana import (
    Adjacency,
    Rule,
    check_settings,
    medoid,
    prune_graph,
    vamana,
)
from embedworks.index.structures.workspace import fixed


class StitchedVamana(LabelledVamana):
    """Filtered-DiskANN's graph that is made of one Vamana graph per label.

    Example:
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"tags": [["a"], ["a", "b"], ["b"], None]}))
        >>> vectors = np.eye(4, dtype=np.float32)
        >>> graph = StitchedVamana.build(vectors, attributes.column("tags"), attribute="tags")
        >>> graph.search(vectors[0], 3, attributes.labels("tags", ["b"]), beam=10).rows.tolist()
        [1, 2]
    """

    kind: ClassVar[str] = "stitched-vamana"

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        labels: LabelColumn,
        *,
        attribute: str,
        small_degree: int = 32,
        small_beam: int = 100,
        degree: int = 64,
        alpha: float = 1.2,
        rule: Rule = "paper",
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Build it.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            labels: Labels of each row.
            attribute: Name of the attribute the labels are of.
            small_degree: Most out-neighbours of a row in one label's graph (R_small).
            small_beam: Size of the candidate list of the searches (L_small).
            degree: Most out-neighbours of a row in the end (R_stitched).
            alpha: RobustPrune's factor, on squared distances.
            rule: A kept neighbour s may drop c from the list of p under the paper's F_p & F_c <= F_s or the code's
                F_c <= F_s.
            seed: Seed of the orders of insertion.
            progress: Whether to show a bar.

        Raises:
            InputError: The vectors, the labels or a setting cannot be used.
        """
        check_settings(alpha=alpha, small_degree=small_degree, small_beam=small_beam, degree=degree)
        rows = checked_vectors(vectors)
        sets, count = closed_sets(labels, len(rows))
        start_of = np.full(count, -1, dtype=np.int32)
        sources, targets = [], []
        with progress_bar("building labels", len(sets.codes), unit="rows", enabled=progress) as advance:
            for code, members in enumerate(rows_by_label(sets, count)):
                if not len(members):
                    continue
                part = rows[members]
                start = medoid(part)
                start_of[code] = members[start]
                order = random_generator(seed, "order of insertion", code).permutation(len(part))
                graph = vamana(part, start, order, degree=small_degree, beam=small_beam, alpha=alpha)
                sources.append(members[graph.sources])
                targets.append(members[graph.ids])
                advance(len(members))
        edges = np.unique(np.concatenate(sources) * len(rows) + np.concatenate(targets))
        stitched = Adjacency.from_edges(len(rows), edges // len(rows), edges % len(rows))
        graph = prune_graph(rows, sets, stitched, degree=degree, alpha=alpha, rule=rule)
        facts = {
            "attribute": attribute,
            "small_degree": small_degree,
            "small_beam": small_beam,
            "degree": degree,
            "alpha": alpha,
            "rule": rule,
            "seed": seed,
        }
        return cls._reachable(rows, graph, sets, fixed(start_of), facts)
