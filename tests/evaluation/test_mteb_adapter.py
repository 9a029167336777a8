"""mteb, offline, gives our encoders and our data the same figures as our own protocols."""

from __future__ import annotations

import importlib.util
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from embedworks.data import Corpus, Judged, Labelled, ScoredPairs
from embedworks.evaluation.mteb_adapter import mteb_encoder, mteb_task
from embedworks.evaluation.retrieval import evaluate_retrieval
from embedworks.evaluation.sts import evaluate_sts
from embedworks.foundation import InputError, MissingExtraError

installed = pytest.mark.skipif(importlib.util.find_spec("mteb") is None, reason="the extra mteb is not installed")
# Third parties warn about one another: mteb calls names that sentence-transformers and datasets have deprecated.
quiet = pytest.mark.filterwarnings("ignore")


@pytest.mark.slow
@installed
@quiet
def test_retrieval_in_mteb_equals_ours() -> None:
    import mteb

    # Random vectors, so that no scores tie: mteb orders ties by descending id, as trec_eval does, and we by ascending.
    encoder = SimpleNamespace(
        dimension=16,
        encode=lambda texts: np.stack(
            [np.random.default_rng(zlib.crc32(text.encode())).normal(size=16) for text in texts]
        ).astype(np.float32),
    )
    documents, queries = [f"d{number}" for number in range(40)], [f"q{number}" for number in range(15)]
    relevance = {
        query: {documents[(7 * row + 3 * step) % 40]: step + 1 for step in range(3)}
        for row, query in enumerate(queries[:-1])
    }
    corpus = Corpus.from_columns(documents, [f"text {name}" for name in documents])
    judged = Judged.from_columns(corpus, queries, [f"question {name}" for name in queries], relevance)
    task = mteb_task(judged, name="ToyRetrieval")
    found = mteb.evaluate(
        mteb_encoder(encoder, name="toy/words"), [task], cache=None, co2_tracker=False, show_progress_bar=False
    )
    scores = found.task_results[0].scores["test"][0]
    ours = evaluate_retrieval(encoder, judged, system="words").metrics
    assert 0 < ours["ndcg@10"] < 1
    assert scores["main_score"] == scores["ndcg_at_10"] == pytest.approx(ours["ndcg@10"], abs=1e-5)
    assert scores["recall_at_10"] == pytest.approx(ours["recall@10"], abs=1e-5)
    assert scores["map_at_10"] == pytest.approx(ours["map@10"], abs=1e-5)


@pytest.mark.slow
@installed
@quiet
def test_sts_in_mteb_equals_ours(encoder, scored_pairs: ScoredPairs) -> None:
    import mteb

    task = mteb_task(scored_pairs, name="ToySts")
    found = mteb.evaluate(
        mteb_encoder(encoder, name="toy/words"), [task], cache=None, co2_tracker=False, show_progress_bar=False
    )
    scores = found.task_results[0].scores["test"][0]
    ours = evaluate_sts(encoder, scored_pairs, system="words").metrics
    assert scores["main_score"] == pytest.approx(ours["spearman"], abs=1e-6)
    assert scores["cosine_pearson"] == pytest.approx(ours["pearson"], abs=1e-6)


@pytest.mark.slow
@installed
@quiet
def test_roles_reach_the_encoder_and_other_records_are_refused(encoder, labelled: tuple[Labelled, Labelled]) -> None:
    asked = []

    class Roles:
        dimension = 64
        encode = staticmethod(encoder.encode)

        def encode_query(self, texts):
            asked.extend(texts)
            return encoder.encode(texts)

    model = mteb_encoder(Roles(), name="toy/roles")
    assert model.encode([{"text": ["a"]}, {"text": ["b"]}], prompt_type="query").shape == (2, 64)
    model.encode([{"text": ["c"]}])
    assert asked == ["a", "b"]
    assert model.mteb_model_meta.embed_dim == 64
    with pytest.raises(InputError, match="Labelled makes no mteb task"):
        mteb_task(labelled[0], name="Toy")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="organisation/model"):
        mteb_encoder(encoder, name="words")


def test_without_mteb_the_extra_is_named(encoder, judged: Judged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'embedworks\[mteb\]'"):
        mteb_encoder(encoder)
    with pytest.raises(MissingExtraError):
        mteb_task(judged, name="Toy")
