from __future__ import annotations

from itertools import islice

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.encoders.engine import texts as engine_texts
from embedworks.encoders.engine.texts import digest_of_all, draw, text_count, text_windows


@given(
    texts=st.lists(st.sampled_from("abcdefgh"), max_size=60),
    size=st.integers(1, 30),
    remembered=st.integers(0, 10),
)
def test_windows_give_every_row_its_text(texts: list[str], size: int, remembered: int) -> None:
    known: dict[int, str] = {}
    start = 0
    for window in text_windows(texts, size=size, remembered=remembered):
        assert window.start == start
        assert 1 <= window.count <= size
        start = window.stop
        assert len(set(window.fresh)) == len(window.fresh)
        known |= dict(zip(window.fresh_rows.tolist(), window.fresh, strict=True))
        for target, source in window.copies.tolist():
            assert source < target
            known[target] = known[source]
    assert [known[row] for row in range(len(texts))] == texts


@given(texts=st.lists(st.sampled_from("abcdefgh"), max_size=60), size=st.integers(1, 30))
def test_every_text_is_fresh_once_while_it_is_remembered(texts: list[str], size: int) -> None:
    fresh = [text for window in text_windows(texts, size=size) for text in window.fresh]
    assert fresh == list(dict.fromkeys(texts))


def test_what_is_remembered_is_bounded() -> None:
    texts = [*"abc", *"abc", *"abc"]
    windows = list(text_windows(texts, size=4, remembered=2))
    assert [window.fresh for window in windows] == [["a"], ["b", "c"], ["c"]]  # only a and b are known again


def test_long_texts_close_a_window_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_texts, "WINDOW_CHARACTERS", 10)
    texts = ["x" * 4 + str(row) for row in range(6)]
    assert [window.count for window in text_windows(texts, size=100)] == [2, 2, 2]


def test_the_first_window_is_a_quarter() -> None:
    windows = list(text_windows((f"text {row}" for row in range(50)), size=20))
    assert [window.count for window in windows] == [5, 20, 20, 5]


def test_nothing_is_drawn_ahead() -> None:
    drawn: list[int] = []

    def texts() -> object:
        for row in range(100):
            drawn.append(row)
            yield f"text {row}"

    next(text_windows(texts(), size=20))
    assert len(drawn) == 5


def test_digests_tell_texts_orders_and_borders_apart() -> None:
    digests = {digest_of_all(texts) for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab", "c", ""], [])}
    assert len(digests) == 5
    assert digest_of_all(pa.array(["ab", "c"])) == digest_of_all(("ab", "c"))
    ends = {list(text_windows(texts, size=8))[-1].digest for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"])}
    assert len(ends) == 3


def test_arrow_columns_are_drawn_in_slices() -> None:
    column = pa.chunked_array([[f"a{row}" for row in range(5000)], [], ["b"]])
    assert text_count(column) == 5001
    assert list(islice(draw(column), 4998, None)) == ["a4998", "a4999", "b"]
    assert text_count(iter(["a"])) is None
