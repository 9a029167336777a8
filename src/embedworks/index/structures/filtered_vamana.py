"""FilteredVamana: one graph, grown so that the rows of every label can be searched on their own.

Paper: Filtered-DiskANN (WWW 2023), algorithms 1 to 4. Every inserted row is searched for among the rows that share a
label with it, and a neighbour is pruned only where another one serves the same labels.
"""

from __future__ import annotations

from typing import ClassVar, Self

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.labelled_vamana import LabelledVamana, closed_sets, find_starts
from embedworks.index.structures.structure import Vectors, checked_vectors
from embedworks.index.structures.vamana import Rule, check_settings, filtered_vamana


class FilteredVamana(LabelledVamana):
    """Filtered-DiskANN's graph that is built row by row.

    Example:
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"tags": [["a"], ["a", "b"], ["b"], None]}))
        >>> vectors = np.eye(4, dtype=np.float32)
        >>> graph = FilteredVamana.build(vectors, attributes.column("tags"), attribute="tags")
        >>> graph.search(vectors[0], 3, attributes.labels("tags", ["b"]), beam=10).rows.tolist()
        [1, 2]
    """

    kind: ClassVar[str] = "filtered-vamana"

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        labels: LabelColumn,
        *,
        attribute: str,
        degree: int = 96,
        beam: int = 90,
        alpha: float = 1.2,
        samples: int = 25,
        rule: Rule = "paper",
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Build it.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            labels: Labels of each row.
            attribute: Name of the attribute the labels are of.
            degree: Most out-neighbours of a row (R).
            beam: Size of the candidate list of the searches (L).
            alpha: RobustPrune's factor, on squared distances.
            samples: Rows drawn of each label to choose its start from (tau).
            rule: A kept neighbour s may drop c from the list of p under the paper's F_p & F_c <= F_s or the code's
                F_c <= F_s.
            seed: Seed of the starts and of the order of insertion.
            progress: Whether to show a bar.

        Raises:
            InputError: The vectors, the labels or a setting cannot be used.
        """
        check_settings(alpha=alpha, degree=degree, beam=beam, samples=samples)
        rows = checked_vectors(vectors)
        sets, count = closed_sets(labels, len(rows))
        start_of = find_starts(sets, count, samples=samples, seed=seed)
        order = random_generator(seed, "order of insertion").permutation(len(rows))
        graph = filtered_vamana(
            rows, sets, start_of, order, degree=degree, beam=beam, alpha=alpha, rule=rule, progress=progress
        )
        facts = {
            "attribute": attribute,
            "degree": degree,
            "beam": beam,
            "alpha": alpha,
            "samples": samples,
            "rule": rule,
            "seed": seed,
        }
        return cls._reachable(rows, graph, sets, start_of, facts)
