"""``embedworks inspect depth``: which rows are central, and whether two files of vectors are alike."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit, notice

if TYPE_CHECKING:
    from rich.console import Console

    from embedworks.analysis import DepthTest

_ENDS = 10  # rows named at either end of the order
_SAMPLED_ROWS = 1000  # of each file, for the tests that look at pairs or deal rows out anew
_FEWEST_FOR_COMPANIONS = 4


def inspect_depth(
    first: tyro.conf.Positional[Path],
    second: tyro.conf.Positional[Path | None] = None,
    *,
    distance: Literal["cosine", "chord", "angular"] = "cosine",
    json: JsonTarget = None,
) -> None:
    """Rank the rows of a file from central to outlying; with a second file, test whether the two are alike.

    Args:
        first: Vectors as ``embedworks encode`` writes them: .npy, one row a text.
        second: Vectors of other texts, by the same model.
        distance: Cosine takes one pass over the rows; chord and angular take all pairs.
        json: Where to write the answer as JSON; - is standard output.
    """
    files = [first] if second is None else [first, second]
    vectors = [_read(path) for path in files]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        document = _answer(files, vectors, distance)
    for text in dict.fromkeys(str(entry.message) for entry in caught):
        notice(f"embedworks: {text}")

    def render(console: Console) -> None:
        _render(console, document)

    emit(document, json_target=json, render=render)


def _read(path: Path) -> NDArray[Any]:
    from embedworks.analysis.unit_rows import UnitRows
    from embedworks.data import read_vectors

    vectors = read_vectors(path)
    UnitRows(vectors, name=str(path))  # refuses a bad row by the file's name
    return vectors


def _answer(files: list[Path], vectors: list[NDArray[Any]], distance: Any) -> dict[str, Any]:
    from embedworks.analysis import compare_corpora, depths

    document: dict[str, Any] = {"question": "depth", "distance": distance}
    if len(files) == 1:
        document["corpus"] = _ranking(files[0], depths(vectors[0], distance=distance, progress=True))
        return document
    compared = compare_corpora(*vectors, distance=distance, progress=True)
    for name, path, test in (
        ("first", files[0], compared.second_in_first),
        ("second", files[1], compared.first_in_second),
    ):
        document[name] = _ranking(path, test.reference_depths)
    samples = [_sample(matrix, number) for number, matrix in enumerate(vectors)]
    document["second_in_first"] = _test(compared.second_in_first, samples[0], samples[1], distance)
    document["first_in_second"] = _test(compared.first_in_second, samples[1], samples[0], distance)
    document["companions"] = _companions(samples[0], samples[1])
    return document


def _ranking(path: Path, text_depths: NDArray[np.float64]) -> dict[str, Any]:
    from embedworks.analysis import centre_outward_order

    order = centre_outward_order(text_depths)
    return {
        "path": str(path),
        "rows": len(text_depths),
        "median_row": int(order[0]),
        "mean_depth": float(text_depths.mean()),
        "deepest": [{"row": int(row), "depth": float(text_depths[row])} for row in order[:_ENDS]],
        "most_outlying": [{"row": int(row), "depth": float(text_depths[row])} for row in order[::-1][:_ENDS]],
    }


def _sample(vectors: NDArray[Any], number: int) -> NDArray[Any]:
    from embedworks.foundation.randomness import random_generator

    if len(vectors) <= _SAMPLED_ROWS:
        return vectors
    rows = random_generator(0, "inspect depth", number).permutation(len(vectors))[:_SAMPLED_ROWS]
    return np.asarray(vectors[np.sort(rows)])


def _test(test: DepthTest, reference: NDArray[Any], other: NDArray[Any], distance: Any) -> dict[str, Any]:
    from embedworks.analysis import depth_permutation_test

    permuted = depth_permutation_test(reference, other, distance=distance)
    return {
        "q": test.q,
        "q_pooled": test.q_pooled,
        "w": test.rank_sum.w,
        "p_one_sided": test.rank_sum.p_one_sided,
        "p_two_sided": test.rank_sum.p_two_sided,
        "exact_p_one_sided": test.rank_sum.exact_p_one_sided,
        "exact_p_two_sided": test.rank_sum.exact_p_two_sided,
        "permutation": {
            "q": permuted.q,
            "p_one_sided": permuted.p_one_sided,
            "p_two_sided": permuted.p_two_sided,
            "permutations": permuted.permutations,
            "rows": [len(reference), len(other)],
        },
    }


def _companions(first: NDArray[Any], second: NDArray[Any]) -> dict[str, Any] | None:
    from embedworks.analysis import classifier_test, energy_test, mmd_test

    if min(len(first), len(second)) < _FEWEST_FOR_COMPANIONS:
        return None
    classifier, energy, mmd = classifier_test(first, second), energy_test(first, second), mmd_test(first, second)
    return {
        "classifier": {"auc": classifier.statistic, "p": classifier.p},
        "energy": {"distance": energy.statistic, "p": energy.p},
        "mmd": {"squared": mmd.statistic, "p": mmd.p},
        "rows": [len(first), len(second)],
    }


def _render(console: Console, document: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    for corpus in (document[name] for name in ("corpus", "first", "second") if name in document):
        console.print(
            f"[bold]{escape(corpus['path'])}[/bold]: {corpus['rows']:,} rows, median row {corpus['median_row']}"
        )
        for heading, name in (("deepest", "deepest"), ("most outlying", "most_outlying")):
            rows = ", ".join(f"{entry['row']} ({entry['depth']:.3f})" for entry in corpus[name])
            console.print(f"  {heading}: {rows}")
    if "second_in_first" not in document:
        return
    table = Table("", "Q", "W", "p < 1/2", "p two-sided", "permutation p", box=None, pad_edge=False)
    for name, label in (("second_in_first", "second in first"), ("first_in_second", "first in second")):
        entry = document[name]
        table.add_row(
            label,
            f"{entry['q']:.3f}",
            f"{entry['w']:.2f}",
            f"{entry['p_one_sided']:.2g}",
            f"{entry['p_two_sided']:.2g}",
            f"{entry['permutation']['p_two_sided']:.2g}",
        )
    console.print(table)
    console.print("Q below 1/2: more outlying than the reference; above: more concentrated around its centre.")
    companions = document["companions"]
    if companions is not None:
        console.print(
            f"Differences that depth cannot see: classifier AUC {companions['classifier']['auc']:.3f} "
            f"(p {companions['classifier']['p']:.2g}), energy p {companions['energy']['p']:.2g}, "
            f"MMD p {companions['mmd']['p']:.2g}"
        )
