"""The six steps of the demonstration, each with its time: read, judge set, train, judge, index, answer."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedworks.demonstration.judging import Judgement, choose_hybrid, judge
from embedworks.demonstration.report import write_report
from embedworks.foundation.randomness import random_generator

if TYPE_CHECKING:
    from embedworks.data import Corpus, DocumentationRetrieval, Judged, Pairs
    from embedworks.evaluation import FusionChoice
    from embedworks.index import Answer, Index

INDEX_NAME, MODEL_NAME, REPORT_NAME = "documentation.index", "model", "report"

QUERIES: tuple[tuple[str, str], ...] = (
    ("retry a request when the connection fails", "kind = 'function' and words > 20"),
    ("pad sequences of different lengths to a tensor", "package in ('torch', 'transformers') and kind <> 'class'"),
    ("parse a date from text", "package = 'python' and words between 10 and 200"),
)
"""What the last step asks: a text and a filter each."""

_VALIDATION_SHARE = 0.12
_TOKENS_READ = 64
"""Longest text in judging and in the index, in tokens."""


@dataclass(frozen=True)
class Plan:
    """How much of everything the demonstration does; the defaults fit five minutes on two cores."""

    max_entries: int = 14_000
    """Largest number of docstrings read."""
    training_minutes: float = 2.0
    """Wall time of training."""
    training_tokens: int = 40
    """Longest text in training, in tokens: the start of a docstring says most, and more steps fit the time."""
    seed: int = 0
    """Seed of splits and training."""


@dataclass
class Demonstration:
    """What the demonstration did and found; ``seconds`` has an entry a step."""

    folder: Path
    corpus: Corpus
    retrieval: DocumentationRetrieval
    training: dict[str, Any]
    choice: FusionChoice
    functions: Judgement
    package: Judgement
    index: Index
    answers: list[tuple[str, str, Answer]]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def index_path(self) -> Path:
        """Where the index lies."""
        return self.folder / INDEX_NAME

    @property
    def report_path(self) -> Path:
        """Where the comparison lies, as a table and as pictures."""
        return self.folder / REPORT_NAME


def demonstrate(
    folder: Path, plan: Plan | None = None, *, progress: bool = False, announce: Callable[[str], None] = lambda _: None
) -> Demonstration:
    """Run the main job in a folder of its own; what an earlier run left there is replaced.

    Args:
        folder: Where the model, the index and the report go.
        plan: How much of everything.
        progress: Whether to show progress on standard error.
        announce: Called with a line at the start of each step.

    Returns:
        Everything that was made and measured.
    """
    from embedworks.data import documentation_retrieval, read_documentation
    from embedworks.encoders import load
    from embedworks.methods import contrastive

    plan = plan or Plan()
    for name in (INDEX_NAME, MODEL_NAME, f"{MODEL_NAME}.training", REPORT_NAME):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}

    @contextmanager
    def step(name: str, line: str) -> Iterator[None]:
        announce(line)
        start = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - start, 2)

    with step("read", "1  Reading the documentation of the packages installed here"):
        corpus = read_documentation(max_entries=plan.max_entries, progress=progress)
    with step("build", "2  Building a judged retrieval set: split by function, one whole package held out"):
        retrieval = documentation_retrieval(corpus, seed=plan.seed)
        train, validation = _validation_split(retrieval.train, seed=plan.seed)
    with step("train", f"3  Training on {len(train):,} pairs with mined hard negatives"):
        config = contrastive.Config(
            max_minutes=plan.training_minutes,
            epochs=4.0,
            learning_rate=1e-4,
            batch_size=64,
            max_tokens=plan.training_tokens,
            seed=plan.seed,
        )
        tuned = contrastive.fit(train, config, out=folder / MODEL_NAME, progress=progress)
    with step("judge", "4  Judging BM25, the untuned encoder, the tuned encoder and the hybrid"):
        untuned = load("minilm")
        for encoder in (untuned, tuned):
            encoder.model.max_seq_length = _TOKENS_READ
        choice = choose_hybrid(tuned, validation)
        judgements = [
            judge(untuned, tuned, choice, judged, data_set=name, progress=progress)
            for judged, name in (
                (retrieval.held_out_functions, "held-out functions"),
                (retrieval.held_out_package, f"held-out package ({retrieval.package})"),
            )
        ]
        write_report(folder / REPORT_NAME, judgements)
    with step("index", f"5  Indexing {len(corpus):,} entries on disk, and asking three questions"):
        index = _index(corpus, tuned, folder, choice.weight, progress=progress)
        answers = _ask(index, tuned)
    return Demonstration(
        folder=folder,
        corpus=corpus,
        retrieval=retrieval,
        training=tuned.training_settings,
        choice=choice,
        functions=judgements[0],
        package=judgements[1],
        index=index,
        answers=answers,
        seconds=seconds,
    )


def _validation_split(pairs: Pairs, *, seed: int) -> tuple[Pairs, Judged]:
    """Keep some training documents from the encoder, to choose the hybrid's weight where it has not been trained.

    Chosen on its own training pairs, the weight would trust the encoder more than new text deserves.
    """
    import pyarrow as pa

    from embedworks.data import Corpus, Judged, Pairs

    query_ids, positive_ids = pairs.query_ids, pairs.positive_ids
    assert query_ids is not None
    assert positive_ids is not None
    documents = sorted(set(positive_ids))
    chosen = random_generator(seed, "validation documents").permutation(len(documents))
    kept_out = {documents[place] for place in chosen[: round(_VALIDATION_SHARE * len(documents))]}
    rows = list(zip(pairs.queries, pairs.positives, query_ids, positive_ids, strict=True))
    train = [row for row in rows if row[3] not in kept_out]
    held = [row for row in rows if row[3] in kept_out]
    texts = {document: text for _, text, _, document in held}
    queries = {query: text for text, _, query, _ in held}
    relevance: dict[str, dict[str, int]] = {}
    for _, _, query, document in held:
        relevance.setdefault(query, {})[document] = 1
    return (
        Pairs.from_columns(*_columns(train, 2), query_ids=_column(train, 2), positive_ids=_column(train, 3)),
        Judged(
            Corpus.from_columns(list(texts), list(texts.values())),
            pa.table({"id": list(queries), "text": list(queries.values())}),
            relevance,
        ),
    )


def _columns(rows: Sequence[tuple[str, ...]], count: int) -> list[list[str]]:
    return [_column(rows, place) for place in range(count)]


def _column(rows: Sequence[tuple[str, ...]], place: int) -> list[str]:
    return [row[place] for row in rows]


def _index(corpus: Corpus, tuned: Any, folder: Path, weight: float, *, progress: bool) -> Index:
    from embedworks.data import Corpus
    from embedworks.index import Fusion, build_index

    # The name is what people often search for, and the docstring seldom holds it.
    texts = [f"{name}\n{text}" for name, text in zip(corpus.ids, corpus.texts, strict=True)]
    attributes = {name: corpus.attributes[name].to_pylist() for name in corpus.attributes.column_names}
    named = Corpus.from_columns(corpus.ids, texts, attributes)
    vectors = tuned.encode(texts, progress=progress)
    index = build_index(named, vectors, folder / INDEX_NAME, model=str((folder / MODEL_NAME).resolve()))
    index.set_fusion(Fusion(method="score", vector_weight=weight))
    return index


def _ask(index: Index, tuned: Any) -> list[tuple[str, str, Answer]]:
    def asked(text: str, where: str) -> tuple[str, str, Answer]:
        return text, where, index.search(tuned.encode([text])[0], text=text, k=3, where=where, mode="hybrid")

    # What a process does once is not what a search takes: the filter parser is loaded, the scan is compiled.
    index.search(tuned.encode([QUERIES[0][0]])[0], text=QUERIES[0][0], where="words >= 0", mode="hybrid")
    return [asked(text, where) for text, where in QUERIES]
