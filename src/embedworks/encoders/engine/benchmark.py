"""How fast the engine is, as a ratio to ``SentenceTransformer.encode`` in the same run on the same texts.

Every arm gives its vectors, and they are compared first: float32 arms to 1e-5 with the library's own, half precision by
cosine; an arm that fails has no time. Rounds interleave the arms in random order. A round encodes whole batches of
the library's own making, drawn over all lengths, so that its padding is that of the full set and not that of a small
one. Ratios are of processor time on one thread, per round, with a bootstrap interval of their median; beside them
stands what a person waits for: the ratio of wall time on two threads, over all the texts in each round, since in a
short round threads with batches of their own run out of work one after the other.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from embedworks.encoders.engine.benchmark_arms import (
    Timing,
    Vectors,
    Work,
    flops,
    librarys_padding,
    roofline,
    timed,
    token_lengths,
)
from embedworks.encoders.engine.benchmark_texts import mixed_texts
from embedworks.encoders.engine.destination import ArrayDestination, FileDestination, rows_digest
from embedworks.encoders.engine.engine import DEFAULT_WINDOW, encode_texts
from embedworks.encoders.engine.journal import JournalHeader, WindowRecord
from embedworks.encoders.engine.precision import LEAST_COSINE, native_bfloat16
from embedworks.encoders.engine.report import EncodeReport, Settled
from embedworks.foundation import LOCAL_FILES, environment, progress_bar
from embedworks.foundation.randomness import random_generator

if TYPE_CHECKING:
    from rich.table import Table
    from sentence_transformers import SentenceTransformer

LIBRARY: Final = "SentenceTransformer.encode"
LIBRARY_BEST: Final = "SentenceTransformer.encode, best batch size"
OURS: Final = "embedworks float32"
OURS_HALF: Final = "embedworks bfloat16"
BOUND: Final = "matrix products alone, float32"
BOUND_HALF: Final = "matrix products alone, bfloat16"

_DEFAULT_ROWS: Final = 32
_SWEPT_ROWS: Final = (4, 8, 16, 64)
_BATCHES_A_ROUND: Final = 4
_TWO_THREAD_ROUNDS: Final = 3
_WARM_UP_TEXTS: Final = 128
_TOLERANCE: Final = 1e-5
_RESAMPLES: Final = 2000
_ASSEMBLED: Final = (100_000, 384)
_ASSEMBLED_ROWS_A_BATCH: Final = 8
_MEMORY_TEXTS: Final = 64


def run(*, rounds: int = 7, texts: int = 2000, seed: int = 0, progress: bool = False) -> dict[str, Any]:
    """Measure.

    Args:
        rounds: How many times every arm runs on one thread.
        texts: How many texts the rounds draw from.
        seed: Decides texts, batches and order.
        progress: Whether to show a progress bar.

    Returns:
        A JSON document: what was measured on, and per arm seconds, ratios with their 90 % interval, tokens a second,
        share of the bound, padding, agreement with the library.
    """
    model = _packaged_model()
    pool, source = mixed_texts(texts, seed=seed)
    lengths = token_lengths(model, pool)
    by_text = dict(zip(pool, lengths, strict=True))
    draws = _draws(pool, rounds=rounds + 1, seed=seed)
    order = random_generator(seed, "benchmark", "order")
    half = native_bfloat16()
    total = (rounds + 1) * (6 if half else 4) + len(_SWEPT_ROWS) + _TWO_THREAD_ROUNDS * (3 if half else 2)
    with progress_bar("measuring", total, unit="runs", enabled=progress) as advance, _threads(1):
        best_rows = _best_rows(model, draws[0], advance)
        arms = _arms(model, best_rows=best_rows, half=half)
        timings: dict[str, list[Timing]] = {name: [] for name in arms}
        agreement: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
        for number, drawn in enumerate(draws):
            results: dict[str, Vectors | None] = {}
            for name in order.permutation(list(arms)):
                timing, results[str(name)] = timed(arms[str(name)], drawn)
                if number:  # the first round warms up, and is compared only
                    timings[str(name)].append(timing)
                advance(1)
            _compare(results, agreement)
        tokens = [int(sum(by_text[text] for text in drawn)) for drawn in draws[1:]]
        work = [flops(model, np.asarray([by_text[text] for text in drawn])) for drawn in draws[1:]]
        padding = _padding(model, draws[1:], by_text, best_rows=best_rows)
        bound = {OURS: BOUND, OURS_HALF: BOUND_HALF}
        measured = {
            name: _summary(
                name,
                timings,
                agreement[name],
                tokens=tokens,
                work=work,
                padding=padding.get(name),
                bound=bound.get(name, BOUND if name not in (BOUND, BOUND_HALF) else None),
                seed=seed,
            )
            for name in arms
        }
        two_threads = _two_threads(model, pool, half=half, seed=seed, advance=advance)
    seconds_a_text = float(np.median([t.wall / len(draws[0]) for t in timings[OURS_HALF if half else OURS]]))
    return {
        "benchmark": "encode",
        "model": "all-MiniLM-L6-v2",
        "seed": seed,
        "rounds": rounds,
        "texts": {
            "source": source,
            "count": len(pool),
            "a_round": len(draws[0]),
            "tokens": {
                "mean": float(lengths.mean()),
                "p50": float(np.median(lengths)),
                "p95": float(np.percentile(lengths, 95)),
                "longest": int(lengths.max()),
            },
        },
        "environment": environment(),
        "native_bfloat16": half,
        "best_batch_size_of_the_library": best_rows,
        "one_thread": measured,
        "two_threads": two_threads,
        "assembly": _assembly(seconds_a_text, fastest=OURS_HALF if half else OURS),
        "memory": _memory(pool, half=half),
    }


def table(figures: dict[str, Any]) -> Table:
    """Return the figures as a table for a terminal."""
    from rich.table import Table as RichTable

    shown = RichTable(
        title=f"{figures['model']}, {figures['texts']['source']}, {figures['rounds']} rounds",
        caption=(
            "times as fast, median and 90 % interval; two threads: wall time over all texts, one: processor time; "
            f"assembling {figures['assembly']['vectors']:,} vectors: "
            f"{figures['assembly']['in_memory']['share_of_encoding']:.2%} of encoding them"
        ),
    )
    for column in ("arm", "two threads", "one thread", "tokens/s"):
        shown.add_column(column, justify="left" if column == "arm" else "right", no_wrap=column != "arm")
    for name, arm in figures["one_thread"].items():
        shown.add_row(
            name,
            _shown_ratio((figures["two_threads"] or {}).get(name, {}).get("ratio")),
            "other vectors" if arm["agrees"] is False else _shown_ratio(arm.get("ratio")),
            f"{arm['tokens_a_second']:,.0f}" if "tokens_a_second" in arm else "-",
        )
    return shown


def _shown_ratio(ratio: dict[str, Any] | None) -> str:
    return "-" if ratio is None else f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


def _packaged_model() -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    from embedworks.encoders.backbone import packaged_minilm
    from embedworks.encoders.library_bars import without_library_bars

    with without_library_bars():
        return SentenceTransformer(str(packaged_minilm()), device="cpu")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before, parallelism = torch.get_num_threads(), os.environ.get("TOKENIZERS_PARALLELISM")
    said_every_time = logging.getLogger("embedworks.encoders.engine.engine")
    level = said_every_time.level
    said_every_time.setLevel(logging.ERROR)  # that texts are cut, which they are for every arm
    torch.set_num_threads(count)
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if count == 1 else "true"
    try:
        yield
    finally:
        torch.set_num_threads(before)
        said_every_time.setLevel(level)
        if parallelism is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = parallelism


def _draws(pool: list[str], *, rounds: int, seed: int) -> list[list[str]]:
    """Draw whole batches of the library's for each round: one of every stretch of lengths."""
    ordered = sorted(pool, key=len, reverse=True)
    batches = [ordered[start : start + _DEFAULT_ROWS] for start in range(0, len(ordered), _DEFAULT_ROWS)]
    stretches = np.array_split(np.arange(len(batches)), min(_BATCHES_A_ROUND, len(batches)))
    generator = random_generator(seed, "benchmark", "draws")
    chosen = [[int(generator.choice(stretch)) for stretch in stretches] for _ in range(rounds)]
    return [[text for index in indices for text in batches[index]] for indices in chosen]


def _best_rows(model: SentenceTransformer, texts: list[str], advance: Callable[[int], None]) -> int:
    seconds = {}
    for rows in (_DEFAULT_ROWS, *_SWEPT_ROWS):
        timing, _ = timed(_library(model, rows), texts)
        seconds[rows] = timing.cpu
        if rows != _DEFAULT_ROWS:
            advance(1)
    return min(seconds, key=lambda rows: seconds[rows])


def _library(model: SentenceTransformer, rows: int) -> Work:
    def work(texts: list[str]) -> Vectors:
        vectors: Vectors = model.encode(texts, batch_size=rows, show_progress_bar=False)
        return vectors

    return work


def _ours(model: SentenceTransformer, precision: Any) -> Work:
    return lambda texts: encode_texts(model, texts, precision=precision)[0]


def _arms(model: SentenceTransformer, *, best_rows: int, half: bool) -> dict[str, Work]:
    arms = {
        LIBRARY: _library(model, _DEFAULT_ROWS),
        LIBRARY_BEST: _library(model, best_rows),
        OURS: _ours(model, "float32"),
        BOUND: roofline(model, torch.float32),
    }
    if half:
        arms |= {OURS_HALF: _ours(model, "bfloat16"), BOUND_HALF: roofline(model, torch.bfloat16)}
    return arms


def _compare(results: dict[str, Vectors | None], agreement: dict[str, list[tuple[float, float]]]) -> None:
    reference = results[LIBRARY]
    assert reference is not None
    for name, vectors in results.items():
        if vectors is not None:
            cosines = (vectors * reference).sum(axis=1) / np.linalg.norm(vectors, axis=1)
            agreement[name].append((float(np.abs(vectors - reference).max()), float(cosines.min())))


def _padding(
    model: SentenceTransformer, draws: list[list[str]], by_text: dict[str, int], *, best_rows: int
) -> dict[str, float]:
    ours: EncodeReport = encode_texts(model, draws[0], precision="float32")[1]
    paddings = {
        rows: float(np.mean([librarys_padding(t, np.asarray([by_text[text] for text in t]), rows=rows) for t in draws]))
        for rows in {_DEFAULT_ROWS, best_rows}
    }
    return {
        LIBRARY: paddings[_DEFAULT_ROWS],
        LIBRARY_BEST: paddings[best_rows],
        OURS: ours.padding_ratio,
        OURS_HALF: ours.padding_ratio,
    }


def _summary(
    name: str,
    timings: dict[str, list[Timing]],
    agreement: list[tuple[float, float]],
    *,
    tokens: list[int],
    work: list[float],
    padding: float | None,
    bound: str | None,
    seed: int,
) -> dict[str, Any]:
    summary: dict[str, Any] = {"agrees": None}
    if agreement:
        difference, cosine = max(d for d, _ in agreement), min(c for _, c in agreement)
        agrees = cosine >= LEAST_COSINE if name == OURS_HALF else difference <= _TOLERANCE
        summary |= {"agrees": agrees, "largest_difference": difference, "least_cosine": cosine}
        if not agrees:
            return summary
    cpu = np.asarray([timing.cpu for timing in timings[name]])
    summary |= {
        "cpu_seconds": cpu.tolist(),
        "wall_seconds": [timing.wall for timing in timings[name]],
        "page_faults": [timing.page_faults for timing in timings[name]],
        "tokens_a_second": float(np.median(np.asarray(tokens) / cpu)),
        "gflops": float(np.median(np.asarray(work) / cpu) / 1e9),
        "ratio": _ratio(timings[LIBRARY], timings[name], seed=seed, clock="cpu"),
    }
    if padding is not None:
        summary["padding"] = padding
    if bound is not None and bound in timings:
        summary["share_of_bound"] = float(np.median([b.cpu for b in timings[bound]] / cpu))
    return summary


def _ratio(peer: list[Timing], ours: list[Timing], *, seed: int, clock: str) -> dict[str, Any]:
    """Return how many times as fast: median over rounds, with its 90 % bootstrap interval."""
    ratios = np.asarray([getattr(a, clock) / getattr(b, clock) for a, b in zip(peer, ours, strict=True)])
    generator = random_generator(seed, "benchmark", "bootstrap")
    resampled = np.median(generator.choice(ratios, size=(_RESAMPLES, len(ratios))), axis=1)
    low, high = np.quantile(resampled, [0.05, 0.95])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high), "rounds": ratios.tolist()}


def _two_threads(
    model: SentenceTransformer, texts: list[str], *, half: bool, seed: int, advance: Callable[[int], None]
) -> dict[str, Any] | None:
    if len(os.sched_getaffinity(0)) < 2:
        return None
    arms = {LIBRARY: _library(model, _DEFAULT_ROWS), OURS: _ours(model, "float32")}
    if half:
        arms[OURS_HALF] = _ours(model, "bfloat16")
    order = random_generator(seed, "benchmark", "order of two threads")
    timings: dict[str, list[Timing]] = {name: [] for name in arms}
    with _threads(2):
        for work in arms.values():
            work(texts[:_WARM_UP_TEXTS])
        for _ in range(_TWO_THREAD_ROUNDS):
            for name in order.permutation(list(arms)):
                timings[str(name)].append(timed(arms[str(name)], texts)[0])
                advance(1)
    return {
        name: {
            "wall_seconds": [timing.wall for timing in of_arm],
            "ratio": _ratio(timings[LIBRARY], of_arm, seed=seed, clock="wall"),
        }
        for name, of_arm in timings.items()
    }


def _assembly(seconds_a_text: float, *, fastest: str) -> dict[str, Any]:
    """Put 100,000 vectors in their places as the engine does, and as the library does, without computing them."""
    count, dimension = _ASSEMBLED
    projected = seconds_a_text * count
    batch = torch.rand(_ASSEMBLED_ROWS_A_BATCH, dimension)
    rows = np.random.default_rng(0).permutation(DEFAULT_WINDOW)

    def in_memory() -> None:
        destination = ArrayDestination(count, None)
        for start in range(0, count, DEFAULT_WINDOW):
            _fill(destination.window(start, min(start + DEFAULT_WINDOW, count), dimension), batch, rows)

    def in_a_file(folder: str) -> None:
        destination = FileDestination(Path(folder) / "vectors.npy", files=LOCAL_FILES)
        settled = Settled("float32", "assembly alone", None)
        destination.reopen({}, overwrite=False)  # takes the lock
        destination.begin(JournalHeader({}, dimension=dimension, batch_tokens=1, settled=settled), count=count)
        for start in range(0, count, DEFAULT_WINDOW):
            stop = min(start + DEFAULT_WINDOW, count)
            place = destination.window(start, stop, dimension)
            _fill(place, batch, rows)
            destination.acknowledge(place, WindowRecord(stop, "", rows_digest(place), 0, 0, 0, 0, 0))
        destination.finish()
        destination.close()

    def as_the_library() -> None:
        vectors: list[torch.Tensor] = []
        for _ in range(0, count, _ASSEMBLED_ROWS_A_BATCH):
            vectors.extend(batch)
        torch.stack([vectors[index] for index in np.argsort(np.arange(len(vectors)))]).numpy()

    with tempfile.TemporaryDirectory() as folder:
        seconds = {
            "in_memory": _seconds(in_memory),
            "in_a_file": _seconds(lambda: in_a_file(folder)),
            "as_the_library": _seconds(as_the_library),
        }
    return {
        "vectors": count,
        "dimension": dimension,
        "projected_encoding_seconds": projected,
        "projected_with": fastest,
        **{name: {"seconds": taken, "share_of_encoding": taken / projected} for name, taken in seconds.items()},
    }


def _fill(place: Vectors, batch: torch.Tensor, rows: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    kept = rows[rows < len(place)]
    for start in range(0, len(kept), _ASSEMBLED_ROWS_A_BATCH):
        targets = kept[start : start + _ASSEMBLED_ROWS_A_BATCH]
        place[targets] = batch[: len(targets)].cpu().numpy()


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


_MEMORY_PROGRAM: Final = """
import json, sys
from embedworks.encoders.engine.benchmark import peak_memory_work
peak_memory_work(sys.argv[1], json.loads(sys.stdin.read()))
# Not ru_maxrss, which a process inherits from the one that started it.
print(next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_memory_work(arm: str, texts: list[str]) -> None:
    """Do one arm's work in this process, whose peak memory is then measured; ``"load"`` does none."""
    model = _packaged_model()
    if arm != "load":
        _arms(model, best_rows=_DEFAULT_ROWS, half=True)[arm](texts)


def _memory(pool: list[str], *, half: bool) -> dict[str, int]:
    """Return the peak resident bytes of a fresh process an arm, on the longest texts."""
    texts = json.dumps(sorted(pool, key=len)[-_MEMORY_TEXTS:])
    peaks = {}
    for arm in ("load", LIBRARY, OURS, *([OURS_HALF] if half else [])):
        ended = subprocess.run(  # noqa: S603 - this interpreter, with a program of ours
            [sys.executable, "-c", _MEMORY_PROGRAM, arm], input=texts, capture_output=True, text=True, check=True
        )
        peaks[arm] = int(ended.stdout.split()[-1])
    return peaks
