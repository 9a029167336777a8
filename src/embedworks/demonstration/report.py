"""The comparison as files: a table for the page, and its picture in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedworks.foundation.files import LOCAL_FILES

if TYPE_CHECKING:
    from embedworks.demonstration.judging import Judgement

METRICS = {"ndcg@10": "nDCG@10", "recall@10": "recall@10", "mrr@10": "MRR@10"}


def score_rows(judgement: Judgement) -> list[dict[str, Any]]:
    """Return a row a system: its three metrics, and its difference in nDCG@10 to the untuned encoder, in points."""
    rows = []
    for result in judgement.results:
        compared = judgement.all_systems.row(result.system)
        row: dict[str, Any] = {"system": result.system}
        row |= {label: round(100 * result.metrics[metric], 2) for metric, label in METRICS.items()}
        row |= {
            "difference": None if compared.difference is None else round(100 * compared.difference, 2),
            "difference_low": None if compared.difference_low is None else round(100 * compared.difference_low, 2),
            "difference_high": None if compared.difference_high is None else round(100 * compared.difference_high, 2),
            "p_holm": compared.p_holm,
            "wilcoxon_p_holm": compared.wilcoxon_p_holm,
        }
        rows.append(row)
    return rows


def write_report(folder: Path, judgements: Sequence[Judgement]) -> None:
    """Write ``comparison.json``, ``results.json`` and the pictures into a folder.

    Args:
        folder: Made if it does not exist.
        judgements: One for every judged set.
    """
    from embedworks.evaluation import write_results
    from embedworks.evaluation.picture import write_comparison_picture

    folder.mkdir(parents=True, exist_ok=True)
    write_results(folder / "results.json", [result for judgement in judgements for result in judgement.results])
    comparisons = [judgement.all_systems for judgement in judgements]
    for theme in ("light", "dark"):
        write_comparison_picture(comparisons, folder / f"comparison-{theme}.svg", theme=theme)
    units = " and ".join(f"{comparison.units:,} queries on {comparison.data_set}" for comparison in comparisons)
    LOCAL_FILES.replace_json(
        folder / "comparison.json",
        {
            "title": "How good is it?",
            "caption": f"{units}; nobody trained on any of them. Differences in nDCG@10 to the untuned encoder with "
            "95 % intervals, paired over queries; p after Holm's correction.",
            "columns": ["judged on", "system", *METRICS.values(), "difference", "95 %", "p"],
            "rows": [
                [judgement.all_systems.data_set, row["system"], *(row[label] for label in METRICS.values()),
                 *_difference_cells(row)]
                for judgement in judgements
                for row in score_rows(judgement)
            ],
        },
    )  # fmt: skip


def _difference_cells(row: dict[str, Any]) -> list[str | None]:
    from embedworks.evaluation import format_p

    if row["difference"] is None:
        return ["baseline", None, None]
    interval = f"{row['difference_low']:+.1f} to {row['difference_high']:+.1f}"
    return [f"{row['difference']:+.2f}", interval, format_p(row["p_holm"])]
