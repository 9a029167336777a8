"""A suite of text tasks that judges an encoder by one pass over all texts.

Similarity, classification, clustering and retrieval, each by the protocol that MTEB made common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from embedworks.data import Corpus, Judged, Labelled, ScoredPairs
from embedworks.evaluation.classification import evaluate_classification
from embedworks.evaluation.clustering import evaluate_clustering
from embedworks.evaluation.encoding import RememberingEncoder
from embedworks.evaluation.result import Result
from embedworks.evaluation.retrieval import evaluate_retrieval
from embedworks.evaluation.sts import evaluate_sts
from embedworks.foundation.protocols import Encoder


@dataclass(frozen=True)
class TextSuite:
    """Named tasks over texts.

    Args:
        sts: Pairs with gold scores.
        labelled: Training and test texts with classes; classified, and the test texts clustered.
        judged: Retrieval sets.
        draws: Training draws of the classification (8 examples a label each).
        clusterings: Clusterings, each from another initialisation.
    """

    sts: Mapping[str, ScoredPairs] = field(default_factory=dict)
    labelled: Mapping[str, tuple[Labelled, Labelled]] = field(default_factory=dict)
    judged: Mapping[str, Judged] = field(default_factory=dict)
    draws: int = 10
    clusterings: int = 10

    def texts(self) -> list[str]:
        """Return every distinct text that any task asks for, but training texts no draw may take."""
        found: dict[str, None] = {}
        for pairs in self.sts.values():
            found.update(dict.fromkeys([*pairs.a, *pairs.b]))
        for _, test in self.labelled.values():
            found.update(dict.fromkeys(test.texts))
        for judged in self.judged.values():
            found.update(dict.fromkeys([*judged.corpus.texts, *judged.query_texts]))
        return list(found)

    def judge(self, encoder: Encoder, *, system: str, progress: bool = False) -> list[Result]:
        """Judge an encoder on every task; each text is encoded once, as an item, whatever its role.

        Args:
            encoder: Gives the vectors.
            system: Name of the encoder in the results.
            progress: Whether to show progress while encoding.

        Returns:
            A result a task, in the order similarity, classification, clustering, retrieval.
        """
        remembered = RememberingEncoder(encoder)
        remembered.encode(self.texts(), progress=progress)
        results = [
            evaluate_sts(remembered, pairs, system=system, data_set=name, progress=progress)
            for name, pairs in self.sts.items()
        ]
        for name, (train, test) in self.labelled.items():
            results.append(
                evaluate_classification(
                    remembered, train, test, system=system, data_set=name, draws=self.draws, progress=progress
                )
            )
            results.append(
                evaluate_clustering(
                    remembered, test, system=system, data_set=name, seeds=self.clusterings, progress=progress
                )
            )
        results += [
            evaluate_retrieval(remembered, judged, system=system, data_set=name, progress=progress)
            for name, judged in self.judged.items()
        ]
        return results

    def sample(self, *, sets: int, pairs: int, labels: int, queries: int, documents: int) -> TextSuite:
        """Return a small part of the suite, always the same one, for trials where minutes count.

        Args:
            sets: Largest number of similarity sets.
            pairs: Pairs kept of each.
            labels: Labels kept of each labelled set, the first by name.
            queries: Judged queries kept of each retrieval set.
            documents: Documents kept beside those relevant to a kept query.
        """
        return replace(
            self,
            sts={name: _first_pairs(found, pairs) for name, found in list(self.sts.items())[:sets]},
            labelled={
                name: (_of_labels(train, labels), _of_labels(test, labels))
                for name, (train, test) in self.labelled.items()
            },
            judged={name: _part_of_judged(found, queries, documents) for name, found in self.judged.items()},
        )


def _first_pairs(found: ScoredPairs, count: int) -> ScoredPairs:
    return ScoredPairs.from_columns(found.a[:count], found.b[:count], found.scores[:count])


def _of_labels(found: Labelled, labels: int) -> Labelled:
    kept = set(sorted(set(found.labels))[:labels])
    rows = [(text, label) for text, label in zip(found.texts, found.labels, strict=True) if label in kept]
    return Labelled.from_columns([text for text, _ in rows], [label for _, label in rows])


def _part_of_judged(found: Judged, queries: int, documents: int) -> Judged:
    relevant = {query: {d: g for d, g in grades.items() if g > 0} for query, grades in found.relevance.items()}
    kept = [query for query in found.query_ids if relevant.get(query)][:queries]
    wanted = {document for query in kept for document in relevant[query]}
    ids = found.corpus.ids
    others = [document for document in ids if document not in wanted][:documents]
    rows = np.flatnonzero(np.isin(np.asarray(ids, dtype=object), [*wanted, *others]))
    texts, text_of = found.corpus.texts, dict(zip(found.query_ids, found.query_texts, strict=True))
    return Judged.from_columns(
        Corpus.from_columns([ids[row] for row in rows], [texts[row] for row in rows]),
        kept,
        [text_of[query] for query in kept],
        {query: relevant[query] for query in kept},
    )
