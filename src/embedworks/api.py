"""The verbs as functions: what ``embedworks fit``, ``index`` or ``search`` does in a shell, these do in Python.

Example:
    >>> import embedworks.api as ew
    >>> [card.name for card in ew.methods()][0]
    'contrastive'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embedworks.foundation import InputError, StorageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embedworks.data import Corpus, Judged, Labelled, Pairs, ScoredPairs
    from embedworks.encoders import TextEncoder
    from embedworks.encoders.engine import EncodeReport
    from embedworks.evaluation import Comparison, Result
    from embedworks.foundation.protocols import Encoder
    from embedworks.index import Added, Answer, Explanation, Index, Storage
    from embedworks.methods import MethodCard, Report

__all__ = [
    "add",
    "compare",
    "encode",
    "evaluate",
    "explain",
    "fit",
    "index",
    "load",
    "methods",
    "reproduce",
    "search",
    "serve",
]

Precision = Literal["auto", "float32", "bfloat16"]
Overflow = Literal["truncate", "chunk", "error"]
Mode = Literal["vector", "lexical", "hybrid"]


def load(name_or_path: str | Path) -> TextEncoder:
    """Open an encoder.

    Args:
        name_or_path: ``"minilm"`` for the packaged default, the directory of a saved model, or a Hugging Face id.

    Raises:
        InputError: There is no such model.
        StorageError: The directory is damaged, foreign, or holds a pickle.
    """
    from embedworks.encoders import load

    return load(name_or_path)


def fit(
    data: Pairs | str | Path,
    *,
    method: str = "contrastive",
    config: Any = None,
    out: str | Path | None = None,
    progress: bool = False,
) -> Any:
    """Train a model on one's own data.

    Args:
        data: The record the method trains on, or the path of a file that holds it.
        method: Name of a method; :func:`methods` lists them.
        config: The method's ``Config``; its defaults where ``None``.
        out: Directory to save the model to; nothing is saved where ``None``.
        progress: Whether to show progress on standard error.

    Returns:
        The fitted model; for text methods an encoder with ``encode`` and ``save``.

    Raises:
        InputError: The data, the method or the place to save cannot be used.
    """
    from embedworks.methods import find_method

    chosen = find_method(method)
    target = None if out is None else Path(out)
    if target is not None and target.exists():
        raise InputError("exists already", where=str(target), mend="choose another --out, or remove it first")
    if isinstance(data, str | Path):
        from embedworks.data import Pairs

        data = Pairs.read(Path(data))
    return chosen.fit(data, chosen.Config() if config is None else config, out=target, progress=progress)


def encode(
    model: TextEncoder | str | Path,
    texts: Sequence[str],
    *,
    out: str | Path | None = None,
    precision: Precision = "auto",
    overflow: Overflow = "truncate",
    progress: bool = False,
) -> NDArray[np.float32] | EncodeReport:
    """Turn texts into vectors, in memory or into a file.

    Args:
        model: An encoder, or what :func:`load` takes.
        texts: The texts, n of them.
        out: Path of a ``.npy`` file, float32 [n, d], written through a memory map; a killed run resumes there.
        precision: ``auto`` uses bfloat16 where the processor has it and a sample agrees with float32.
        overflow: What to do with a text longer than the model reads: ``truncate`` it and count it, ``chunk`` it
            and average, or raise an ``error``.
        progress: Whether to show progress on standard error.

    Returns:
        The vectors, float32 [n, d]; the report of the run where ``out`` is given.
    """
    encoder = load(model) if isinstance(model, str | Path) else model
    if out is None:
        return encoder.encode(texts, precision=precision, overflow=overflow, progress=progress)
    return encoder.encode_to(Path(out), texts, precision=precision, overflow=overflow, progress=progress)


def index(
    items: Corpus | str | Path,
    *,
    model: Encoder | str | Path = "minilm",
    out: str | Path,
    vectors: NDArray[np.floating] | str | Path | None = None,
    storage: Storage = "float32",
    progress: bool = False,
) -> Index:
    """Build a search index of items on disk.

    Args:
        items: A corpus, or the path of a file with columns ``id``, ``text`` and any attributes.
        model: The encoder that makes the vectors, or what :func:`load` takes.
        out: Directory of the index; must not exist.
        vectors: The items' vectors by that model, if they are there already: an array or an .npy file of shape
            (items, d), in the order of the items.
        storage: How vectors are kept: ``float32``, ``float16``, ``int8`` or ``pq``; see docs/rooms/index.md.
        progress: Whether to show progress on standard error.

    Returns:
        The open index.

    Raises:
        InputError: Something stands at ``out``, or items and vectors do not fit.
    """
    from embedworks.data import Corpus, read_vectors
    from embedworks.evaluation.encoding import encode_items
    from embedworks.index import build_index

    corpus = items if isinstance(items, Corpus) else Corpus.read(Path(items))
    target = Path(out)
    if target.exists():
        raise InputError("exists already", where=str(target), mend="choose another --out, or remove it first")
    if vectors is None:
        encoder = load(model) if isinstance(model, str | Path) else model
        rows = encode_items(encoder, corpus.texts, role="document", progress=progress)
    else:
        rows = read_vectors(vectors) if isinstance(vectors, str | Path) else vectors
    return build_index(corpus, rows, target, storage=storage, model=_reference(model), progress=progress)


def add(
    target: Index | str | Path,
    items: Corpus | str | Path,
    *,
    model: Encoder | str | Path | None = None,
    vectors: NDArray[np.floating] | str | Path | None = None,
    replace: bool = False,
    progress: bool = False,
) -> Added:
    """Put rows into an index that exists: all of them, or none where one does not fit.

    Args:
        target: An open index, or its directory.
        items: A corpus, or the path of a file that holds one, as for :func:`index`.
        model: The encoder that makes the vectors; by default the one the index was built with.
        vectors: The rows' vectors by that model, if they are there already: an array or an .npy file.
        replace: Whether a row whose id the index has takes the place of the old one, which is otherwise refused.
        progress: Whether to show progress on standard error.

    Returns:
        How many rows came in, and how many of them in the place of old ones.

    Raises:
        InputError: Something does not fit the index; nothing has changed.
        StorageError: The index names no model, is damaged, or another writer is at work.
    """
    from embedworks.data import Corpus, read_vectors
    from embedworks.evaluation.encoding import encode_items
    from embedworks.index import add_corpus

    if model is not None and vectors is not None:
        raise InputError("both a model and vectors are given", mend="leave the model out, it would encode nothing")
    opened = _opened(target)
    corpus = items if isinstance(items, Corpus) else Corpus.read(Path(items))
    rows = read_vectors(vectors) if isinstance(vectors, str | Path) else vectors

    def encoded() -> NDArray[np.float32]:
        encoder = _encoder(opened, model)
        if encoder.dimension != opened.dimension:
            what = f"the model's vectors have dimension {encoder.dimension}, the index's {opened.dimension}"
            raise InputError(what, where=str(opened.path), mend="use the model the index was built with")
        return encode_items(encoder, corpus.texts, role="document", progress=progress)

    source = "items" if isinstance(items, Corpus) else str(items)
    return add_corpus(opened, corpus, encoded if rows is None else rows, replace=replace, source=source)


def search(
    target: Index | str | Path,
    text: str,
    *,
    k: int = 10,
    where: str | None = None,
    mode: Mode = "hybrid",
    recall: float = 0.99,
    model: Encoder | str | Path | None = None,
) -> Answer:
    """Search an index by meaning, by words or by both, under a filter.

    Args:
        target: An open index, or its directory.
        text: The query.
        k: Number of hits wanted.
        where: A filter in SQL form over the attributes, such as ``"year >= 2025 and kind = 'function'"``.
        mode: ``vector``, ``lexical`` or ``hybrid``.
        recall: Least share of the true nearest entries to expect of an approximate answer; 1 makes it exact.
        model: The encoder for the query; by default the one the index was built with.

    Returns:
        The hits, how they were found, and the milliseconds it took.
    """
    opened, vector = _opened_with_query(target, text, mode=mode, model=model)
    return opened.search(vector, text=None if mode == "vector" else text, k=k, where=where, mode=mode, recall=recall)


def explain(
    target: Index | str | Path,
    text: str,
    *,
    k: int = 10,
    where: str | None = None,
    mode: Mode = "hybrid",
    recall: float = 0.99,
    model: Encoder | str | Path | None = None,
) -> Explanation:
    """Search, and say how: the plan, the selectivity, what was compared, and the milliseconds of each step.

    Args:
        target: As in :func:`search`, like the others.
        text: The query.
        k: Number of hits wanted.
        where: A filter.
        mode: ``vector``, ``lexical`` or ``hybrid``.
        recall: Least recall to expect.
        model: The encoder for the query.

    Returns:
        The explanation, with the answer in it.
    """
    opened, vector = _opened_with_query(target, text, mode=mode, model=model)
    return opened.explain(vector, text=None if mode == "vector" else text, k=k, where=where, mode=mode, recall=recall)


def _opened_with_query(
    target: Index | str | Path, text: str, *, mode: Mode, model: Encoder | str | Path | None
) -> tuple[Index, NDArray[np.float32] | None]:
    from embedworks.evaluation.encoding import encode_items

    opened = _opened(target)
    if mode == "lexical":
        return opened, None
    return opened, encode_items(_encoder(opened, model), [text], role="query")[0]


def evaluate(
    model: Encoder | str | Path,
    *,
    on: str | Path | Judged | ScoredPairs | Labelled,
    system: str | None = None,
    progress: bool = False,
) -> list[Result]:
    """Judge an encoder on a named data set or on one's own.

    Args:
        model: An encoder, or what :func:`load` takes.
        on: Name of a catalogued data set, a record, or the path of one's own judged data.
        system: Name the results carry; by default the model's.
        progress: Whether to show progress on standard error.

    Returns:
        One result a task, each with its score for every query, pair or item.
    """
    from embedworks.evaluation import evaluate

    encoder = load(model) if isinstance(model, str | Path) else model
    name = system or (str(model) if isinstance(model, str | Path) else str(getattr(model, "name", "custom")))
    return evaluate(encoder, on, system=name, progress=progress)


def compare(*runs: str | Path | Sequence[Result]) -> list[Comparison]:
    """Compare systems on the same data: paired intervals, p-values, Holm's correction.

    Args:
        runs: Files that ``evaluate --json`` wrote, or lists of results; the first is the baseline.

    Returns:
        One comparison a task that all runs share.
    """
    from embedworks.evaluation import compare_runs, read_results

    return compare_runs([read_results(Path(run)) if isinstance(run, str | Path) else list(run) for run in runs])


def methods() -> list[MethodCard]:
    """Return the methods that :func:`fit` and :func:`reproduce` know."""
    from embedworks.methods import method_cards

    return method_cards()


def reproduce(name: str, *, scale: Literal["quick", "default", "paper"] = "default", progress: bool = False) -> Report:
    """Run a published comparison and judge its claims.

    Args:
        name: Name of a method.
        scale: ``quick`` (under two minutes), ``default`` (about half an hour on two cores) or ``paper``.
        progress: Whether to show progress on standard error.
    """
    from embedworks.methods import find_method

    return find_method(name).reproduce(scale, progress=progress)


def serve(
    target: Index | str | Path,
    *,
    model: Encoder | str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    api_key_file: str | Path | None = None,
    report: str | Path | None = None,
    title: str = "embedworks",
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve an index over HTTP, with a page to search it by, until interrupted.

    Args:
        target: An open index, or its directory.
        model: The encoder; by default the one the index was built with.
        host: Address to listen on.
        port: Port to listen on.
        api_key_file: File holding the key that clients must send as a bearer token.
        report: Directory with the comparison to show on the page.
        title: Heading of the page.
        announce: Called with the page's address once the port is taken.
    """
    import torch

    from embedworks.serving import ServerSettings, serve

    opened = _opened(target)
    encoder = _encoder(opened, model)
    # One short query gains nothing from a second thread, and on busy cores waiting for it took 330 ms instead of 50.
    torch.set_num_threads(1)
    serve(
        opened,
        encoder,
        host=host,
        port=port,
        api_key_file=api_key_file,
        report=report,
        settings=ServerSettings(title=title),
        announce=announce,
    )


def index_encoder(opened: Index) -> TextEncoder:
    """Open the encoder an index was built with.

    Raises:
        StorageError: The index does not name one.
    """
    if not opened.model:
        raise StorageError(
            "the index does not say which model made its vectors", where=str(opened.path), mend="name it with --model"
        )
    return load(opened.model)


def _opened(target: Index | str | Path) -> Index:
    from embedworks.index import Index

    return Index.open(Path(target)) if isinstance(target, str | Path) else target


def _encoder(opened: Index, model: Encoder | str | Path | None) -> Encoder:
    chosen = index_encoder(opened) if model is None else model
    return load(chosen) if isinstance(chosen, str | Path) else chosen


def _reference(model: Encoder | str | Path) -> str:
    """Return what a later search can load the model by: a name, or the absolute path of a directory."""
    reference = str(model) if isinstance(model, str | Path) else str(getattr(model, "name", ""))
    return str(Path(reference).resolve()) if reference and Path(reference).is_dir() else reference
