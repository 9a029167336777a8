"""The bridge to mteb, both ways and offline: our encoders run in mteb, our judged sets become mteb tasks."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.data import Judged, ScoredPairs
from embedworks.evaluation.encoding import Role, encode_items
from embedworks.evaluation.retrieval import counting_queries
from embedworks.foundation import InputError, MissingExtraError
from embedworks.foundation.protocols import Encoder

_REVISION = "local"


def mteb_encoder(encoder: Encoder, *, name: str = "embedworks/encoder") -> Any:
    """Wrap an encoder so that ``mteb.evaluate`` takes it.

    mteb's own prompts are not used: what the encoder puts before a query or a document is the encoder's affair.

    Args:
        encoder: Anything with ``dimension`` and ``encode``; ``encode_query`` and ``encode_document`` are used where
            it has them and mteb says what a text is.
        name: Name in mteb's results, as ``organisation/model``.

    Returns:
        An object of mteb's ``EncoderProtocol``.

    Raises:
        MissingExtraError: mteb is not installed.
        InputError: The name holds no slash.

    Example:
        ``mteb.evaluate(mteb_encoder(load("minilm")), [mteb_task(judged, name="Mine")], cache=None)``
    """
    _require_mteb()
    if name.count("/") != 1:
        raise InputError(f"the name {name!r}", where="mteb_encoder", mend="write it as organisation/model")
    models = _module("mteb.models.model_meta")
    meta = models.ModelMeta(
        loader=None,
        name=name,
        revision=_REVISION,
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=encoder.dimension,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=[],
        similarity_fn_name=models.ScoringFunction.COSINE,
        use_instructions=False,
        training_datasets=None,
    )
    return _MtebEncoder(encoder, meta)


class _MtebEncoder:
    """What mteb asks of a model, answered by one of our encoders."""

    def __init__(self, encoder: Encoder, meta: Any) -> None:
        self._encoder = encoder
        self._meta = meta

    @property
    def mteb_model_meta(self) -> Any:
        """Metadata of the model."""
        return self._meta

    def encode(
        self, inputs: Iterable[Mapping[str, list[str]]], *, prompt_type: Any = None, **_context: Any
    ) -> NDArray[np.float32]:
        """Encode the texts of all batches at once, shape (texts, d).

        Args:
            inputs: Batches with a list of texts under ``"text"``.
            prompt_type: mteb's ``query`` or ``document``, or nothing.
            _context: What else mteb says of the task; a vector does not depend on it.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        role: Role = {"query": "query", "document": "document"}.get(  # type: ignore[assignment]
            getattr(prompt_type, "value", prompt_type), "item"
        )
        return encode_items(self._encoder, texts, role=role)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine of every vector of the one with every vector of the other."""
        return _module("mteb.similarity_functions").cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine of each vector of the one with the same row of the other."""
        return _module("mteb.similarity_functions").pairwise_cos_sim(embeddings1, embeddings2)


def mteb_task(record: Judged | ScoredPairs, *, name: str, description: str = "", language: str = "eng-Latn") -> Any:
    """Make an mteb task of a record: retrieval (nDCG@10) of a judged set, STS (Spearman) of scored pairs.

    mteb gives the figures that we give, except where documents tie: it orders equal scores by descending id, as
    trec_eval does, and we by ascending id.

    Args:
        record: The data; nothing is downloaded or written.
        name: Name of the task.
        description: What the task is, for mteb's records; the name by default.
        language: Language and script as mteb writes them.

    Returns:
        An instance of mteb's ``AbsTaskRetrieval`` or ``AbsTaskSTS``.

    Raises:
        MissingExtraError: mteb is not installed.
        InputError: The record is of another kind, or a judged set without a relevant document.
    """
    _require_mteb()
    if isinstance(record, Judged):
        return _retrieval_task(record, name, description or name, language)
    if isinstance(record, ScoredPairs):
        return _sts_task(record, name, description or name, language)
    raise InputError(f"{type(record).__name__} makes no mteb task", where=name, mend="give Judged or ScoredPairs")


def _retrieval_task(judged: Judged, name: str, description: str, language: str) -> Any:
    from datasets import Dataset

    query_ids = counting_queries(judged)
    if not query_ids:
        raise InputError("no query has a relevant document", where=name, mend="give at least one grade above 0")
    text_of = dict(zip(judged.query_ids, judged.query_texts, strict=True))
    split = {
        "corpus": Dataset.from_dict({"id": judged.corpus.ids, "text": judged.corpus.texts}),
        "queries": Dataset.from_dict({"id": query_ids, "text": [text_of[query_id] for query_id in query_ids]}),
        "relevant_docs": {query_id: dict(judged.relevance[query_id]) for query_id in query_ids},
        "top_ranked": None,
    }

    metadata = _metadata(name, description, language, kind="Retrieval", main_score="ndcg_at_10")
    return _task(
        _module("mteb.abstasks.retrieval").AbsTaskRetrieval, {"default": {"test": split}}, {"metadata": metadata}
    )


def _sts_task(pairs: ScoredPairs, name: str, description: str, language: str) -> Any:
    from datasets import Dataset, DatasetDict

    scores = pairs.scores
    split = Dataset.from_dict({"sentence1": pairs.a, "sentence2": pairs.b, "score": scores})

    metadata = _metadata(name, description, language, kind="STS", main_score="cosine_spearman")
    attributes = {"metadata": metadata, "min_score": min(scores), "max_score": max(scores)}
    return _task(_module("mteb.abstasks.sts").AbsTaskSTS, DatasetDict({"test": split}), attributes)


def _task(base: type, dataset: Any, attributes: dict[str, Any]) -> Any:
    """Return an instance of a subclass of mteb's task class that holds its data already."""

    def load_data(self: Any, **_options: Any) -> None:
        self.dataset = dataset
        self.data_loaded = True

    return type(f"Local{base.__name__}", (base,), {**attributes, "load_data": load_data})()


def _metadata(name: str, description: str, language: str, *, kind: str, main_score: str) -> Any:
    return _module("mteb.abstasks.task_metadata").TaskMetadata(
        name=name,
        description=description,
        dataset={"path": _REVISION, "revision": _REVISION},
        type=kind,
        eval_splits=["test"],
        eval_langs=[language],
        main_score=main_score,
    )


def _module(name: str) -> Any:
    """Import a module of mteb; untyped, so that type checking gives the same with and without the extra."""
    return importlib.import_module(name)


def _require_mteb() -> None:
    if importlib.util.find_spec("mteb") is None:
        raise MissingExtraError("mteb", extra="mteb", needed_for="the bridge to mteb")
