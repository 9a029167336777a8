"""Mining against a slow oracle that ranks one pair at a time, and the exclusions one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.data import Corpus, Pairs
from embedworks.foundation import InputError, NonFiniteError
from embedworks.training import hard_negatives, mine_hard_negatives


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors from letters; whole numbers in few dimensions, so that ties are common."""
    vectors = np.zeros((len(texts), 5), dtype=np.float32)
    for row, text in enumerate(texts):
        for letter in text:
            vectors[row, ord(letter) % 5] += 1
    return vectors


def planar(angles: dict[str, float]):
    """An encoder that puts each text at an angle in degrees."""

    def encode_angles(texts: Sequence[str]) -> NDArray[np.float32]:
        radians = np.radians([angles[text] for text in texts])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)

    return encode_angles


def oracle(pairs: Pairs, candidates: list[str], ids, rule, margin, low, high, count) -> list[list[str]]:
    def cosine(a: str, b: str) -> np.float32:
        x, y = (v / np.linalg.norm(v) for v in (encode([a])[0], encode([b])[0]))
        return np.float32(x @ y)

    mined = []
    for row, (query, positive) in enumerate(zip(pairs.queries, pairs.positives, strict=True)):
        same = [r for r, other in enumerate(pairs.queries) if other == query or (
            pairs.query_ids is not None and pairs.query_ids[r] == pairs.query_ids[row])]  # fmt: skip
        known_texts = {pairs.positives[r] for r in same} | {query}
        known_ids = {pairs.positive_ids[r] for r in same} if pairs.positive_ids is not None else set()
        allowed = [c for c in candidates if c not in known_texts and not (ids[c] & known_ids)]
        ranked = sorted(allowed, key=lambda c: -cosine(query, c))[low:high]  # stable: ties by place
        p = float(cosine(query, positive))
        bound = p - (1 - margin) * abs(p) if rule == "percentage" else p - margin
        mined.append([c for c in ranked if cosine(query, c) < bound][:count])
    return mined


WORD = st.text(alphabet="abcde", min_size=1, max_size=4)


@given(
    rows=st.lists(st.tuples(WORD, WORD, st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=12),
    documents=st.lists(st.tuples(WORD, st.integers(0, 30)), max_size=15, unique_by=lambda item: item[1]),
    rule=st.sampled_from(["percentage", "absolute"]),
    low=st.integers(0, 2),
    width=st.integers(1, 6),
    count=st.integers(1, 4),
    with_ids=st.booleans(),
    block=st.integers(1, 7),
)
def test_equal_to_the_oracle(rows, documents, rule, low, width, count, with_ids, block):
    queries, positives, query_ids, positive_ids = (list(column) for column in zip(*rows, strict=True))
    given_ids = {"query_ids": query_ids, "positive_ids": positive_ids} if with_ids else {}
    pairs = Pairs.from_columns(queries, positives, **given_ids)
    corpus = None
    texts, identifiers = positives, [str(i) for i in positive_ids] if with_ids else [""] * len(positives)
    if documents:
        corpus = Corpus.from_columns([i for _, i in documents], [t for t, _ in documents])
        texts, identifiers = corpus.texts, corpus.ids
    candidates = list(dict.fromkeys(texts))
    ids = {c: {i for t, i in zip(texts, identifiers, strict=True) if t == c} for c in candidates}
    margin = 0.9 if rule == "percentage" else 0.1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hard_negatives, "_QUERY_BLOCK", block)
        patch.setattr(hard_negatives, "_DOCUMENT_BLOCK", block)
        mined, report = mine_hard_negatives(
            pairs, encode, corpus=corpus, negatives_per_query=count, rule=rule, margin=margin, range_min=low,
            range_max=low + width,
        )  # fmt: skip
    wanted = oracle(pairs, candidates, ids, rule, margin, low, low + width, count)
    assert [sorted(map(_vector, row)) for row in mined.negatives] == [sorted(map(_vector, row)) for row in wanted]
    assert report.with_too_few == sum(len(row) < count for row in wanted)
    assert report.with_none == sum(not row for row in wanted)
    assert (mined.queries, mined.positives, mined.query_ids) == (pairs.queries, pairs.positives, pairs.query_ids)


def _vector(text: str) -> tuple[float, ...]:
    """Texts of one direction score alike up to rounding, so which of them is taken is left open here."""
    vector = encode([text])[0]
    return tuple(np.round(vector / np.linalg.norm(vector), 5).tolist())


def test_exact_ties_are_broken_by_place_whatever_the_blocks(monkeypatch):
    pairs = Pairs.from_columns(["q"], ["p"])
    corpus = Corpus.from_columns(range(9), [f"d{n}" for n in range(9)])
    angles = {"q": 0.0, "p": 10.0} | {f"d{n}": 40.0 if n != 5 else 30.0 for n in range(9)}
    for block in (1, 2, 3, 4, 100):
        monkeypatch.setattr(hard_negatives, "_DOCUMENT_BLOCK", block)
        mined, _ = mine_hard_negatives(pairs, planar(angles), corpus=corpus, negatives_per_query=4, range_max=4)
        assert mined.negatives == [["d5", "d0", "d1", "d2"]]


def test_the_percentage_rule_refuses_what_is_nearly_as_near_as_the_positive():
    angles = {"q": 0.0, "p": 60.0, "nearer": 50.0, "as near": 61.0, "further": 65.0}  # cosines .5, .643, .485, .423
    pairs = Pairs.from_columns(["q"], ["p"])
    corpus = Corpus.from_columns([1, 2, 3], ["nearer", "as near", "further"])
    mined, report = mine_hard_negatives(pairs, planar(angles), corpus=corpus)
    assert mined.negatives == [["further"]]
    assert report.too_near == 2
    assert report.mean_positive_score == pytest.approx(0.5, abs=1e-6)
    assert report.mean_negative_score == pytest.approx(np.cos(np.radians(65)), abs=1e-6)
    for margin, wanted in ((0.01, ["as near", "further"]), (0.05, ["further"]), (0.1, [])):
        mined, _ = mine_hard_negatives(pairs, planar(angles), corpus=corpus, rule="absolute", margin=margin)
        assert mined.negatives == [wanted]


def test_a_negative_positive_score_does_not_let_nearer_texts_through():
    angles = {"q": 0.0, "p": 120.0, "nearer": 119.0, "further": 150.0}  # cosines -.5, -.485, -.866
    mined, _ = mine_hard_negatives(
        Pairs.from_columns(["q"], ["p"]), planar(angles), corpus=Corpus.from_columns([1, 2], ["nearer", "further"])
    )
    assert mined.negatives == [["further"]]


def test_other_positives_of_the_query_by_text_or_id_and_duplicates_are_never_negatives():
    angles = {"q": 0.0, "q again": 1.0, "p": 5.0, "p2": 40.0, "p3": 41.0, "copy": 42.0, "other": 43.0}
    pairs = Pairs.from_columns(
        ["q", "q", "q again", "other"], ["p", "p2", "p3", "other"],
        query_ids=["1", "2", "1", "9"], positive_ids=["a", "b", "c", "d"],
    )  # fmt: skip
    corpus = Corpus.from_columns(["a", "b", "x", "c", "y"], ["p", "p2", "p2", "copy", "other"])
    mined, _ = mine_hard_negatives(pairs, planar(angles), corpus=corpus)
    # Row 0: p2 by its query text, copy by id c of its query id; only "other" is left.
    assert mined.negatives[0] == ["other"]
    assert "p2" not in mined.negatives[1]
    assert mined.negatives[3] == ["p"]  # p2 and copy are as near as its positive, which is the query itself


def test_random_sampling_is_seeded_and_stays_in_the_range():
    names = [f"d{n}" for n in range(40)]
    angles = {"q": 0.0, "p": 1.0} | {name: 30.0 + n for n, name in enumerate(names)}
    pairs, corpus = Pairs.from_columns(["q"], ["p"]), Corpus.from_columns(range(40), names)

    def mine(**changes):
        options = {"negatives_per_query": 5, "range_min": 10, "range_max": 30, "sampling": "random"} | changes
        return mine_hard_negatives(pairs, planar(angles), corpus=corpus, **options)[0].negatives[0]

    assert mine() == mine()
    assert mine(seed=1) != mine()
    assert set(mine()) <= set(names[10:30])
    assert len(set(mine())) == 5
    assert mine() == sorted(mine(), key=names.index)
    assert mine(sampling="top") == names[10:15]


def test_labels_tell_the_false_negative_rate():
    angles = {"q": 0.0, "p": 5.0, "d1": 40.0, "d2": 41.0, "d3": 42.0}
    pairs = Pairs.from_columns(["q"], ["p"], query_ids=["1"])
    corpus = Corpus.from_columns(["1", "2", "3"], ["d1", "d2", "d3"])
    _, report = mine_hard_negatives(pairs, planar(angles), corpus=corpus, relevant={"1": {"2"}})
    assert report.false_negative_rate == pytest.approx(1 / 3)
    assert mine_hard_negatives(pairs, planar(angles), corpus=corpus)[1].false_negative_rate is None
    with pytest.raises(InputError, match="no query_id"):
        mine_hard_negatives(Pairs.from_columns(["q"], ["p"]), planar(angles), corpus=corpus, relevant={})


def test_instructions_are_encoded_with_the_query():
    seen: list[str] = []

    def remember(texts: Sequence[str]) -> NDArray[np.float32]:
        seen.extend(texts)
        return encode(texts)

    mine_hard_negatives(Pairs.from_columns(["a"], ["b"], instructions=["find: "]), remember)
    assert seen == ["find: a", "b"]


@pytest.mark.parametrize(
    "changes",
    [
        {"negatives_per_query": 0}, {"rule": "share"}, {"sampling": "best"}, {"range_min": 5, "range_max": 5},
        {"range_min": -1}, {"margin": 0.0}, {"margin": 1.1}, {"rule": "absolute", "margin": -0.1},
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(changes):
    with pytest.raises(InputError, match="mining of hard negatives"):
        mine_hard_negatives(Pairs.from_columns(["a"], ["b"]), encode, **changes)


def test_an_encoder_that_fails_is_named():
    pairs = Pairs.from_columns(["a"], ["b"])
    with pytest.raises(NonFiniteError, match="vector of text 0"):
        mine_hard_negatives(pairs, lambda texts: np.full((len(texts), 2), np.nan, dtype=np.float32))
    with pytest.raises(InputError, match="one vector a text"):
        mine_hard_negatives(pairs, lambda texts: np.ones((3, 2), dtype=np.float32))
