"""MaxSim against loops over every pair of vectors, in blocks or not."""

from __future__ import annotations

import numpy as np
import pytest

from embedworks.evaluation import score_run
from embedworks.evaluation.late_interaction import TOKEN_SCORES, late_interaction_run, max_sim_run, max_sim_scores
from embedworks.foundation import InputError


def _texts(sizes: list[int], seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((size, 5)) for size in sizes]


def _slow(queries: list[np.ndarray], documents: list[np.ndarray]) -> np.ndarray:
    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    return np.array(
        [[sum(max(cosine(a, b) for b in document) for a in query) for document in documents] for query in queries]
    )


@pytest.mark.parametrize("columns", [1, 4, 100])
def test_scores_equal_loops(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedworks.evaluation.late_interaction._COLUMNS_AT_ONCE", columns)
    queries, documents = _texts([1, 3, 2], 0), _texts([4, 1, 6, 2], 1)
    assert np.allclose(max_sim_scores(queries, documents), _slow(queries, documents), atol=2e-6)


def test_a_run_orders_by_score_and_ties_by_id() -> None:
    document = np.eye(5)[:2]
    run = max_sim_run(["q"], [np.eye(5)[:1]], ["c", "a", "b"], [document, document, np.eye(5)[3:]], k=2)
    assert run == {"q": {"a": 1.0, "c": 1.0}}
    assert list(run["q"]) == ["a", "c"]


def test_what_does_not_fit_is_refused() -> None:
    assert max_sim_scores([], _texts([1], 0)).shape == (0, 1)
    with pytest.raises(InputError, match="document 1"):
        max_sim_scores(_texts([1], 0), [np.ones((1, 5)), np.ones((0, 5))])
    with pytest.raises(InputError, match="one dimension"):
        max_sim_scores(_texts([1], 0), [np.ones((2, 4))])
    with pytest.raises(InputError, match="one id a text"):
        max_sim_run([], _texts([1], 0), ["a"], _texts([1], 0), k=1)
    with pytest.raises(InputError, match="k is 0"):
        max_sim_run(["q"], _texts([1], 0), ["a"], _texts([1], 0), k=0)


@pytest.mark.parametrize("name", sorted(TOKEN_SCORES))
@pytest.mark.parametrize("at_once", [1, 2, 512])
def test_every_score_ranks(name: str, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedworks.evaluation.late_interaction._QUERIES_AT_ONCE", at_once)
    queries, documents = _texts([1, 3, 2], 0), _texts([4, 1, 6, 2], 1)
    scores = TOKEN_SCORES[name](queries, documents)
    ids = ["d", "b", "a", "c"]
    run = late_interaction_run(["x", "y", "z"], queries, ids, documents, k=3, scores=TOKEN_SCORES[name])
    for row, query in enumerate("xyz"):
        expected = sorted(range(4), key=lambda column, row=row: (-scores[row, column], ids[column]))[:3]
        assert list(run[query].items()) == [(ids[column], scores[row, column]) for column in expected]
    relevance = {query: {next(iter(run[query])): 1} for query in run}
    assert score_run(run, relevance, metrics=["mrr@10"]).means == {"mrr@10": 1.0}
