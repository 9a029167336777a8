"""What a search costs on this machine and over these rows, and how much it finds; measured when the lists are made.

Stored rows stand for queries, each left out of its own answer. Filters pass random rows, and, as filters do that shun
the query, random ones of the lists that are further from it than most; the lower recall of the two counts. The time is
that of random rows. Under another filter it is another one, and what it can be at most is known: that of a scan and a
look at every list.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index.codes import Codes
from embedworks.index.partition import Partition
from embedworks.index.stored_vectors import StoredRows, as_compiled, read_rows

SHARES: Final = (1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
MARGINS: Final = (*(round(0.25 + 0.025 * step, 3) for step in range(19)), 0.75, 0.8, 0.9, 1.0)
_QUERIES: Final = 200
_ANSWER: Final = 10


@dataclass(frozen=True)
class Calibration:
    """Costs and recall.

    Args:
        scan_nanoseconds: Of one row of a scan over codes, at the share of passing rows where that is least.
        fixed_nanoseconds: Of a scan of a single row.
        lists_nanoseconds: Of a search list by list, by margin and by share of passing rows as in :data:`SHARES`.
        recall: Its recall@10, likewise, under the worse of two kinds of filter.
    """

    scan_nanoseconds: float
    fixed_nanoseconds: float
    lists_nanoseconds: dict[str, list[float]]
    recall: dict[str, list[float]]

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Calibration:
        """Return what was stored as JSON."""
        return cls(**document)

    @cached_property
    def margins(self) -> list[float]:
        """The margins that were measured, ascending."""
        return sorted(map(float, self.recall))

    def margin(self, wanted_recall: float) -> float | None:
        """Return the least margin of a recall@10, whatever share of the rows passes; None where no margin has it."""
        return next((margin for margin in self.margins if min(self.recall[str(margin)]) >= wanted_recall), None)

    def scan_cost(self, rows: int) -> float:
        """Return the nanoseconds of a scan of some rows."""
        return self.fixed_nanoseconds + self.scan_nanoseconds * rows

    def lists_cost(self, margin: float, share: float) -> float:
        """Return the nanoseconds of a search list by list that are to be expected."""
        return float(np.exp(_between(np.log(self.lists_nanoseconds[str(margin)]), share)))

    def lists_recall(self, margin: float, share: float) -> float:
        """Return the recall@10 to expect."""
        return _between(np.asarray(self.recall[str(margin)]), share)


def _between(values: NDArray[np.float64], share: float) -> float:
    """Interpolate between the measured shares, on their logarithm."""
    return float(np.interp(np.log(max(share, SHARES[-1])), np.log(SHARES[::-1]), values[::-1]))


def calibrate(partition: Partition, codes: Codes, vectors: StoredRows, *, seed: int = 0) -> Calibration:
    """Measure.

    Args:
        partition: Just made.
        codes: Of its rows.
        vectors: Its rows as they are stored, shape (n, d).
        seed: Of queries and filters.
    """
    from embedworks.index.scanning import best_of_lists, best_rows
    from embedworks.index.scoring import encode_query

    generator = random_generator(seed, "calibration")
    chosen = np.sort(generator.choice(len(vectors), size=min(_QUERIES, len(vectors)), replace=False))
    queries = read_rows(vectors[chosen])
    compiled, lists = as_compiled(vectors), partition.compiled

    def scanned(query: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> tuple[set[int], int]:
        begun = time.perf_counter_ns()
        found, _, _ = best_rows(codes.values, codes.bounds, compiled, rows, query, codes.encoded(query), k)
        return set(found[:k].tolist()), time.perf_counter_ns() - begun

    def listed(query: NDArray[np.float64], rows: NDArray[np.int64], margin: float) -> tuple[set[int], int]:
        offsets = rows.searchsorted(partition.starts)
        begun = time.perf_counter_ns()
        found = best_of_lists(
            codes.values, codes.bounds, compiled, rows, lists, offsets, query, codes.encoded(query),
            encode_query(query), _ANSWER, margin,
        )  # fmt: skip
        return set(found[0][:_ANSWER].tolist()), time.perf_counter_ns() - begun

    everything = np.arange(len(vectors))
    scanned(queries[0], everything, _ANSWER)  # compiled now, if it was not before
    listed(queries[0], everything, MARGINS[0])
    by_margin: dict[str, list[float]] = {str(margin): [] for margin in MARGINS}
    recall: dict[str, list[float]] = {str(margin): [] for margin in MARGINS}
    scans: list[list[tuple[int, int]]] = []
    sizes = np.diff(partition.starts)
    for share in SHARES:
        some = generator.random(len(vectors)) < share
        scans.append([])
        shared, taken = np.empty((2, len(MARGINS), len(queries))), np.empty((2, len(MARGINS), len(queries)))
        for place, query in enumerate(queries):
            number = max(1, round(share * len(sizes)))
            far = np.argsort(partition.means @ query.astype(np.float32))[: max(number, len(sizes) // 2)]
            chosen_lists = np.zeros(len(sizes), dtype=np.bool_)
            chosen_lists[generator.permutation(far)[:number]] = True
            for kind, passing in enumerate((some, np.repeat(chosen_lists, sizes))):
                others = passing.copy()
                others[: _ANSWER + 1] = True
                others[chosen[place]] = False
                rows = np.flatnonzero(others)
                truth, nanoseconds = scanned(query, rows, _ANSWER)
                scans[-1].append((nanoseconds, len(rows)))
                for position, margin in enumerate(MARGINS):
                    found, taken[kind, position, place] = listed(query, rows, margin)
                    shared[kind, position, place] = len(found & truth) / len(truth)
        found_shares = shared.mean(axis=2)
        for position, margin in enumerate(MARGINS):
            by_margin[str(margin)].append(float(np.median(taken[0, position])))
            recall[str(margin)].append(float(found_shares[:, position].min()))
    fixed = float(np.median([scanned(query, everything[:1], 1)[1] for query in queries]))
    return Calibration(
        scan_nanoseconds=max(0.1, min(float(np.median([(one - fixed) / rows for one, rows in of])) for of in scans)),
        fixed_nanoseconds=fixed,
        lists_nanoseconds=by_margin,
        recall=recall,
    )
