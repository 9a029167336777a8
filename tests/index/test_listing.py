"""Rows by date against a slow reading of the same rows, and what a second process commits."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from embedworks.foundation import InputError
from embedworks.index import Index

FIRST = date(2026, 1, 1)


def _filled(path: Path, days: list[date | None], *, start: int = 0) -> Index:
    index = Index.create(path, dimension=4)
    _add(index, days, start=start)
    return index


def _add(index: Index, days: list[date | None], *, start: int = 0) -> None:
    generator = np.random.default_rng(start)
    index.add(
        [f"p{start + place:04d}" for place in range(len(days))],
        generator.standard_normal((len(days), 4)),
        texts=[f"text {place}" for place in range(len(days))],
        attributes={"day": days, "odd": [place % 2 == 1 for place in range(len(days))]},
    )


@pytest.fixture
def days() -> list[date | None]:
    chosen = np.random.default_rng(3).integers(0, 12, 200)
    return [None if day == 11 else FIRST + timedelta(days=int(day)) for day in chosen]


@pytest.mark.parametrize(("k", "start"), [(1, 0), (7, 0), (7, 30), (200, 0), (500, 150), (10, 500)])
@pytest.mark.parametrize("where", [None, "odd = true", "odd = true and odd = false"])
def test_newest_is_the_sorted_order(tmp_path: Path, days: list[date | None], where: str | None, k: int, start: int):
    index = _filled(tmp_path / "a.index", days)
    index.delete(["p0003", "p0004"])
    listing = index.listing()
    rows = [(day, f"p{place:04d}") for place, day in enumerate(days) if place not in (3, 4)]
    if where is not None:
        rows = [row for row in rows if int(row[1][1:]) % 2 == 1] if where == "odd = true" else []
    expected = sorted(rows, key=lambda row: (-(row[0] or date.min).toordinal(), row[1]))[start : start + k]
    found = listing.newest(listing.rows(where), "day", k=k, start=start)
    assert [(entry.attributes["day"], entry.id) for entry in listing.entries(found)] == expected
    assert listing.ids(found) == [row[1] for row in expected]


def test_days_are_counted(tmp_path: Path, days: list[date | None]) -> None:
    listing = _filled(tmp_path / "a.index", days).listing()
    found = listing.days(listing.rows("odd = true"), "day")
    counted = Counter(days[1::2])
    assert dict(found) == counted
    dated = [day for day, _ in found if day is not None]
    assert dated == sorted(dated, reverse=True)
    assert found[-1][0] is None
    assert listing.days(listing.rows("odd = true and odd = false"), "day") == []


def test_timestamps_are_dates_too(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "a.index", dimension=2)
    moments = [datetime(1969, 12, 31, 23), datetime(2026, 1, 2, 1), datetime(2026, 1, 2, 23, 59)]
    index.add(["a", "b", "c"], np.ones((3, 2)), attributes={"when": moments})
    listing = index.listing()
    assert listing.ids(listing.newest(listing.rows(), "when", k=9)) == ["c", "b", "a"]
    assert listing.days(listing.rows(), "when") == [(date(2026, 1, 2), 2), (date(1969, 12, 31), 1)]


def test_rows_among_ids_and_their_vectors(tmp_path: Path, days: list[date | None]) -> None:
    index = _filled(tmp_path / "a.index", days)
    listing = index.listing()
    rows = listing.rows("odd = true", among={"p0001", "p0002", "p0005", "nobody"})
    assert listing.ids(rows) == ["p0001", "p0005"]
    np.testing.assert_array_equal(listing.vectors(rows), [item.vector for item in index.get(["p0001", "p0005"])])
    assert len(listing.rows(among=())) == 0


def test_an_attribute_without_dates_is_refused(tmp_path: Path, days: list[date | None]) -> None:
    listing = _filled(tmp_path / "a.index", days).listing()
    with pytest.raises(InputError, match="holds no dates but bool"):
        listing.newest(listing.rows(), "odd", k=1)
    with pytest.raises(InputError, match="did you mean 'day'"):
        listing.days(listing.rows(), "dai")
    with pytest.raises(InputError):
        listing.rows("dai = 3")


def test_a_refresh_shows_what_another_writer_did(tmp_path: Path, days: list[date | None]) -> None:
    reader = _filled(tmp_path / "a.index", days[:5])
    before = reader.listing()
    assert reader.refresh() is False
    _add(Index.open(tmp_path / "a.index"), days[5:9], start=5)
    assert len(reader) == 5
    assert reader.refresh() is True
    assert len(reader) == 9
    assert reader.listing().generation > before.generation
    assert len(before.rows()) == 5
