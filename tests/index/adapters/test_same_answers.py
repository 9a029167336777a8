"""What passes and what is found on a server is what passes and is found in the index, for any filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index import Index
from embedworks.index.adapters import Adapter, MilvusCollection, PgvectorCollection

QUERY = random_generator(4, "adapters", "query").standard_normal(8)
ODD = '"odd ""name"" in 100%"'
TEXT = st.sampled_from(["", "a", "ab", "b%", "a_b", "it's", 'say "x"', "a\\b", "a\nb", "é", "e\u0301", "\U0001f600"])
QUOTED = TEXT.map(lambda text: "'{}'".format(text.replace("'", "''")))
WHOLE = st.sampled_from(
    ["-4", "-3", "0", "1", "2", "0.5", "9223372036854775807", "-9223372036854775808", "-9223372036854775807", "1e30"]
)
MOMENT = st.sampled_from(
    ["'2026-01-01'", "'2026-01-01T09:00:00'", "'2026-01-01T10:00:00.000001+01:00'", "'1969-07-20T20:17:00'"]
)
VALUES = {
    "words": WHOLE,
    ODD: WHOLE,
    "weight": st.sampled_from(["-1.5", "0", "0.5", "2e0", "1e300", "5e-324", "-1e-300", "-9223372036854775808"]),
    "kind": QUOTED,
    "text": st.sampled_from(["'text 1'", "'text 4'", "'t'"]),
    "id": st.sampled_from(["'item-007'", "'item-200'", "'x'"]),
    "date": st.sampled_from(["'2026-01-01'", "DATE '2026-01-03'", "'0001-01-01'", "'9999-12-31'"]),
    "seen": MOMENT,
    "noted": MOMENT,
}
LIKE = st.sampled_from(
    ["'%'", "''", "'a'", "'a%'", "'%b'", "'%a%b%'", "'%%'", "'%é%'", "'%it''s%'", "'A%'", "'%\"%'"]
) | st.just("'%\n%'")


@st.composite
def _predicates(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(sorted(VALUES)))
    value = VALUES[name]
    negated = draw(st.sampled_from(["", "not "]))
    form = draw(st.sampled_from(["compare", "compare", "in", "between", "null", "like", "true", "contains"]))
    if form == "compare":
        return f"{name} {draw(st.sampled_from(['=', '!=', '<', '<=', '>', '>=']))} {draw(value)}"
    if form == "in":
        return f"{name} {negated}in ({', '.join(draw(st.lists(value, min_size=1, max_size=4)))})"
    if form == "between":
        return f"{name} {negated}between {draw(value)} and {draw(value)}"
    if form == "null":
        return f"{draw(st.sampled_from([name, 'tags', 'open']))} is {negated}null"
    if form == "like":
        return f"{draw(st.sampled_from(['kind', 'text', 'id']))} {negated}like {draw(LIKE)}"
    if form == "true":
        return f"{negated}open" if draw(st.booleans()) else f"open {draw(st.sampled_from(['=', '!=']))} true"
    return f"tags {negated}contains {draw(QUOTED)}"


FILTERS = st.recursive(
    _predicates(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: "({}) {} ({})".format(*parts)),
        inner.map(lambda part: f"not ({part})"),
    ),
    max_leaves=8,
)


def _same(index: Index, collection: Adapter, where: str | None, k: int) -> None:
    ours = index.search(QUERY, k=k, where=where, exact=True)
    theirs = collection.search(QUERY, k=k, where=where)
    assert list(theirs.hits) == list(ours.hits)
    assert (theirs.passing, theirs.rows, theirs.approximate) == (ours.passing, ours.rows, False)
    assert len(theirs.hits) == min(k, theirs.passing)


@given(FILTERS, st.sampled_from([1, 7, 400]))
@example("words = 1 and words is null", 7)
@example("weight >= -9223372036854775808 and not (weight = -9223372036854775808)", 400)
def test_postgres_answers_like_the_index(original: Index, in_postgres: PgvectorCollection, where: str, k: int) -> None:
    _same(original, in_postgres, where, k)


@settings(max_examples=60)
@given(FILTERS, st.sampled_from([7, 400]))
@example("words = -9223372036854775808 or not words in (-9223372036854775808, 3)", 400)
@example("weight >= -9223372036854775808 and not (weight = -9223372036854775808)", 400)
@example("not (words > -9223372036854775808)", 400)
@example("words < -9223372036854775808 or words <= -9223372036854775808", 400)
def test_milvus_answers_like_the_index(original: Index, in_milvus: MilvusCollection, where: str, k: int) -> None:
    _same(original, in_milvus, where, k)


@pytest.mark.parametrize("pattern", ["a_b", "_", "a\\%", "%\\", "it's_%"])
def test_like_with_underscore_and_backslash(
    original: Index, in_postgres: PgvectorCollection, in_milvus: MilvusCollection, pattern: str
) -> None:
    quoted = pattern.replace("'", "''")
    for where in (f"kind like '{quoted}'", f"not (kind like '{quoted}')"):
        _same(original, in_postgres, where, 400)
        with pytest.raises(InputError, match="Milvus cannot answer LIKE with") as caught:
            in_milvus.search(QUERY, where=where)
        assert "\n" not in str(caught.value)


def test_a_backslash_is_a_plain_character(original: Index, in_postgres: PgvectorCollection) -> None:
    every = original.search(QUERY, k=400, exact=True).hits
    for pattern, head in (("a\\b%", "a\\b"), ("a\\%", "a\\")):
        wanted = sum((hit.attributes["kind"] or "").startswith(head) for hit in every)
        assert in_postgres.count(f"kind like '{pattern}'") == wanted > 0


def test_ties_at_the_last_place_go_by_id(
    original: Index, in_postgres: PgvectorCollection, in_milvus: MilvusCollection
) -> None:
    # Forty rows share one vector, so more of them than the first request holds tie at the k-th place.
    vectors = np.stack([item.vector for item in original.get([f"item-{row:03d}" for row in range(400)])])
    distinct, counts = np.unique(vectors, axis=0, return_counts=True)
    assert counts.max() > 40
    tied = distinct[counts.argmax()]
    for k in (1, 5, 39, 40, 41):
        ours = list(original.search(tied, k=k, exact=True).hits)
        assert list(in_postgres.search(tied, k=k).hits) == ours
        assert list(in_milvus.search(tied, k=k).hits) == ours


def test_a_filter_that_none_or_all_pass(
    original: Index, in_postgres: PgvectorCollection, in_milvus: MilvusCollection
) -> None:
    for where in (
        None,
        "words = 0.5",
        "not (words = 0.5)",
        "id is null",
        "id is not null",
        "words is null or words < 1e30",
    ):
        for k in (3, 1000):
            _same(original, in_postgres, where, k)
            _same(original, in_milvus, where, k)


@pytest.mark.parametrize(
    "where",
    [
        "kind = 'x''; drop table papers; --'",
        "kind = 'x\" or 1 == 1 or \"'",
        "kind = '\\\" or str_kind == \\\"'",
        "kind in ('a'') or true or (''a')",
        "tags contains '{a}'",
        "tags contains '\"]) or true or array_contains(set_tags, [\"'",
        "kind like '%'' or ''1''=''1'",
        "kind = '%s %(name)s %% {0} {words}'",
        '"odd ""name"" in 100%" = 1 and kind = \'$1\'',
    ],
)
def test_values_are_never_read_as_code(
    original: Index, in_postgres: PgvectorCollection, in_milvus: MilvusCollection, where: str
) -> None:
    for condition in (where, f"not ({where})"):
        _same(original, in_postgres, condition, 400)
        try:
            _same(original, in_milvus, condition, 400)
        except InputError as error:
            assert "LIKE" in str(error)  # noqa: PT017 - only a pattern may be refused
    assert in_postgres.count() == in_milvus.count() == len(original)


@pytest.mark.parametrize(
    "where", ["1 = 1", "words = 1; select 1", "pg_sleep(9) is null", '"words"" or true" = 1', "nope = 1"]
)
def test_what_the_index_refuses_is_refused(
    in_postgres: PgvectorCollection, in_milvus: MilvusCollection, where: str
) -> None:
    for collection in (in_postgres, in_milvus):
        with pytest.raises(InputError):
            collection.search(QUERY, where=where)


def test_a_filter_that_cannot_be_sent_is_refused(in_postgres: PgvectorCollection) -> None:
    for where in ("kind = 'a\x00b'", "kind in ('a', '\x00')", "tags contains '\x00'", "kind like '\x00%'"):
        with pytest.raises(InputError, match=r"U\+0000|cannot be read|refused|allowed"):
            in_postgres.search(QUERY, where=where)
