"""The picture: figures and names are in it, its bytes repeat, nothing is cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedworks.evaluation import Comparison, Result, compare
from embedworks.evaluation.picture import write_comparison_picture
from embedworks.foundation import InputError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def comparisons() -> list[Comparison]:
    generator = np.random.default_rng(0)

    def made(data_set: str, units: int, systems: list[str]) -> Comparison:
        results = []
        for number, system in enumerate(systems):
            values = np.clip(generator.random(units) * 0.5 + 0.1 * number, 0, 1).tolist()
            results.append(
                Result(
                    system=system,
                    data_set=data_set,
                    task="retrieval",
                    metrics={"ndcg@10": sum(values) / units},
                    primary="ndcg@10",
                    unit_ids=[str(unit) for unit in range(units)],
                    per_unit={"ndcg@10": values},
                    data_hash="h",
                )
            )
        return compare(results, resamples=200)

    systems = ["BM25", "cost in $ or $$", "tuned", "a system with a name that is much too long to be written out"]
    return [made("Held-out functions", 150, systems), made("Held-out package", 40, systems[:2])]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["svg", "png"])
def test_bytes_repeat_and_are_of_the_kind(comparisons: list[Comparison], tmp_path: Path, kind: str, theme) -> None:
    for name in ("first", "second"):
        write_comparison_picture(comparisons, tmp_path / f"{name}.{kind}", theme=theme)
    content = (tmp_path / f"first.{kind}").read_bytes()
    assert content == (tmp_path / f"second.{kind}").read_bytes()
    assert content.startswith(PNG if kind == "png" else b"<?xml")


def test_nothing_is_drawn_at_or_beyond_the_edge(comparisons: list[Comparison], tmp_path: Path) -> None:
    """A border of the surface's colour stands all around: no label is cut off, not even a long name."""
    import matplotlib.image

    write_comparison_picture(comparisons, tmp_path / "picture.png")
    pixels = matplotlib.image.imread(tmp_path / "picture.png")[:, :, :3]
    for edge in (pixels[:6], pixels[-6:], pixels[:, :6], pixels[:, -6:]):
        np.testing.assert_array_equal(edge, 1.0)
    assert pixels.min() < 0.5


def test_labels_do_not_overlap(comparisons: list[Comparison], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    boxes = []

    def measured(figure: Figure, sink, **_options) -> None:
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        for axes in figure.axes:
            shown = [text for text in (*axes.texts, *axes.get_xticklabels()) if text.get_text()]
            boxes.extend((text.get_text(), text.get_window_extent(renderer)) for text in shown)
        sink.write(b"drawn")

    monkeypatch.setattr(Figure, "savefig", measured)
    write_comparison_picture(comparisons, tmp_path / "picture.png")
    names = [name for name, _ in boxes]
    assert "Held-out functions" in names
    assert any(name.startswith("a system with a name") and name.endswith("…") for name in names)
    for row, (first_name, first) in enumerate(boxes):
        for second_name, second in boxes[row + 1 :]:
            assert not first.overlaps(second), f"{first_name!r} overlaps {second_name!r}"


def test_bad_requests_are_refused(comparisons: list[Comparison], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no comparison"):
        write_comparison_picture([], tmp_path / "picture.svg")
    with pytest.raises(InputError, match=r"use \.svg or \.png"):
        write_comparison_picture(comparisons, tmp_path / "picture.gif")
    with pytest.raises(InputError, match="is no theme"):
        write_comparison_picture(comparisons, tmp_path / "picture.svg", theme="blue")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
