"""Mining against a slow oracle that ranks one pair at a time, and the exclusions one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.data import Corpus, Labelled, Pairs
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


def test_naive_and_ceiling_are_there_to_compare_with():
    angles = {"q": 0.0, "p": 60.0, "nearer": 50.0, "as near": 61.0, "further": 65.0}  # cosines .5, .643, .485, .423
    pairs = Pairs.from_columns(["q"], ["p"])
    corpus = Corpus.from_columns([1, 2, 3], ["nearer", "as near", "further"])

    def mine(**options):
        mined, report = mine_hard_negatives(pairs, planar(angles), corpus=corpus, **options)
        return mined.negatives[0], report.too_near

    assert mine(rule="none") == (["nearer", "as near", "further"], 0)
    assert mine(rule="none", range_min=1) == (["as near", "further"], 0)  # shifted by one rank
    assert mine(rule="ceiling", margin=0.5) == (["as near", "further"], 1)
    assert mine(rule="ceiling", margin=-1.0) == ([], 3)


def test_without_a_range_the_rule_comes_first_and_the_nearest_of_the_rest_are_taken():
    angles = {"q": 0.0, "p": 20.0} | {f"near {n}": 1.0 + n / 10 for n in range(60)}
    angles |= {"far a": 50.0, "far b": 60.0, "far c": 70.0}
    pairs = Pairs.from_columns(["q"], ["p"])
    corpus = Corpus.from_columns(range(63), [name for name in angles if name not in ("q", "p")])
    options = {"corpus": corpus, "negatives_per_query": 2}
    ranged, report = mine_hard_negatives(pairs, planar(angles), **options)
    assert ranged.negatives == [[]]  # the nearest fifty are all too near
    assert report.too_near == 50
    whole, report = mine_hard_negatives(pairs, planar(angles), range_max=None, **options)
    assert whole.negatives == [["far a", "far b"]]
    assert report.too_near == 60
    assert report.with_none == 0


@given(
    angles=st.lists(st.integers(0, 180), min_size=2, max_size=14),
    count=st.integers(1, 4),
    rule=st.sampled_from(["percentage", "absolute", "ceiling", "none"]),
    block=st.integers(1, 6),
)
def test_without_a_range_it_equals_a_range_over_all(angles, count, rule, block):
    names = [f"d{n}" for n in range(len(angles))]
    table = {"q": 0.0, "p": 45.0} | dict(zip(names, map(float, angles), strict=True))
    options = {"corpus": Corpus.from_columns(names, names), "negatives_per_query": count, "rule": rule, "margin": 0.8}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hard_negatives, "_DOCUMENT_BLOCK", block)
        pairs = Pairs.from_columns(["q"], ["p"])
        first, whole = mine_hard_negatives(pairs, planar(table), range_max=None, **options)
        second, ranged = mine_hard_negatives(pairs, planar(table), range_max=len(angles), **options)
    assert first == second
    assert whole == ranged


def test_a_pair_whose_positive_is_outranked_is_left_out():
    angles = {"q": 0.0, "r": 90.0, "p": 10.0, "s": 130.0} | {f"d{n}": 100.0 + n for n in range(5)}  # r's are nearer r
    pairs = Pairs.from_columns(["q", "r"], ["p", "s"], query_ids=["1", "2"], tasks=["t", "u"])
    corpus = Corpus.from_columns(range(5), [f"d{n}" for n in range(5)])
    for within, kept in ((1, ["q"]), (5, ["q"]), (6, ["q", "r"]), (None, ["q", "r"])):
        options = {"corpus": corpus, "positive_within": within, "rule": "none", "negatives_per_query": 1}
        mined, report = mine_hard_negatives(pairs, planar(angles), **options)
        assert mined.queries == kept
        assert len(mined.negatives) == len(mined.tasks) == len(mined.query_ids) == len(kept)
        assert (report.rows, report.outranked) == (2, 2 - len(kept))
    only = Pairs.from_columns(["r"], ["s"])
    with pytest.raises(InputError, match="no positive lies within the nearest 3 texts"):
        mine_hard_negatives(only, planar(angles), corpus=corpus, positive_within=3)


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


def test_classes_tell_the_false_negative_rate_and_the_rule_lowers_it():
    # Two classes on an arc, steps of 10 degrees within and of 30 between: the nearest other text is of the own class.
    angles = {"a0": 0.0, "a1": 10.0, "a2": 20.0, "b0": 50.0, "b1": 60.0, "b2": 70.0}
    classes = Labelled.from_columns(list(angles), [name[0] for name in angles])
    pairs = Pairs.from_columns(["a0", "b2"], ["a2", "b0"])
    corpus = Corpus.from_columns(list(angles), list(angles))
    options = {"corpus": corpus, "negatives_per_query": 2, "classes": classes}
    naive, report = mine_hard_negatives(pairs, planar(angles), rule="none", **options)
    assert naive.negatives == [["a1", "b0"], ["b1", "a2"]]
    assert report.false_negative_rate == 0.5
    aware, report = mine_hard_negatives(pairs, planar(angles), **options)
    assert aware.negatives == [["b0", "b1"], ["a2", "a1"]]
    assert report.false_negative_rate == 0.0


def test_no_mined_negatives_have_no_false_negative_rate():
    angles = {"q": 0.0, "p": 40.0, "d": 1.0}
    pairs = Pairs.from_columns(["q"], ["p"], query_ids=["1"])
    corpus = Corpus.from_columns(["1"], ["d"])
    labels = Labelled.from_columns(["q", "d"], ["x", "y"])
    for given_labels in ({"relevant": {"1": {"1"}}}, {"classes": labels}):
        _, report = mine_hard_negatives(pairs, planar(angles), corpus=corpus, **given_labels)
        assert report.false_negative_rate is None


def test_a_text_of_several_classes_is_false_where_they_share_one_and_a_text_of_none_is_refused():
    angles = {"q": 0.0, "p": 1.0, "d": 40.0}
    corpus = Corpus.from_columns(["1"], ["d"])
    classes = Labelled.from_columns(["q", "d", "d"], ["x", "y", "x"])
    _, report = mine_hard_negatives(Pairs.from_columns(["q"], ["p"]), planar(angles), corpus=corpus, classes=classes)
    assert report.false_negative_rate == 1.0
    for text, kind in (("q", "mined negative"), ("d", "query")):
        with pytest.raises(InputError, match=f"the {kind} of pair 1 has no class"):
            mine_hard_negatives(
                Pairs.from_columns(["q"], ["p"]),
                planar(angles),
                corpus=corpus,
                classes=Labelled.from_columns([text], ["x"]),
            )


def test_positives_without_likeness_are_counted():
    angles = {"q": 0.0, "p": 120.0, "r": 10.0}
    _, report = mine_hard_negatives(Pairs.from_columns(["q", "q"], ["p", "r"]), planar(angles))
    assert report.positives_not_above_zero == 1


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
        {"rule": "ceiling", "margin": 1.1}, {"range_max": None, "sampling": "random"}, {"positive_within": 0},
        {"range_max": None, "range_min": 1}, {"relevant": {}, "classes": Labelled.from_columns(["a", "b"], [0, 1])},
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
