"""Exactness: the named data sets load with the published sizes; small made-up files show the traps in each format."""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from embedworks.data import (
    CATALOGUE,
    STS_CLEAN_OF_STSB,
    Corpus,
    Judged,
    Labelled,
    ScoredPairs,
    load_data_set,
    text_sets,
)
from embedworks.data.arxiv import load_arxiv
from embedworks.data.deep import load_deep
from embedworks.foundation import InputError, StorageError

Writer = Callable[[str, str | bytes], Path]

STS_SIZES = {
    "2012.MSRpar.test": 750,
    "2012.MSRpar.train": 750,
    "2012.OnWN.test": 750,
    "2012.SMTeuroparl.test": 459,
    "2012.SMTeuroparl.train": 734,
    "2012.SMTnews.test": 399,
    "2013.FNWN.test": 189,
    "2013.OnWN.test": 561,
    "2013.headlines.test": 750,
    "2014.OnWN.test": 750,
    "2014.deft-forum.test": 450,
    "2014.deft-news.test": 300,
    "2014.headlines.test": 750,
    "2014.images.test": 750,
    "2014.tweet-news.test": 750,
    "2015.answers-forums.test": 375,
    "2015.answers-students.test": 750,
    "2015.belief.test": 375,
    "2015.headlines.test": 750,
    "2015.images.test": 750,
    "2016.answer-answer.test": 254,
    "2016.headlines.test": 249,
    "2016.plagiarism.test": 230,
    "2016.postediting.test": 244,
    "2016.question-question.test": 209,
}


def test_every_entry_is_complete() -> None:
    for name, data_set in CATALOGUE.items():
        assert data_set.name == name
        assert data_set.description
        assert data_set.licence
        assert data_set.citation
        assert len({file.name for file in data_set.files}) == len(data_set.files)
        for file in data_set.files:
            assert file.url is None or file.url.startswith("https://")
            assert file.bytes > 0
            assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert data_set.bytes == sum(file.bytes for file in data_set.files)


def test_an_unknown_name() -> None:
    with pytest.raises(InputError, match=r"no data set is named 'stsb'; did you mean 'stsb-en'.*'dbpedia-entity-5k'"):
        load_data_set("stsb")


def test_sts_benchmark(data_folder: Path) -> None:
    parts = load_data_set("stsb-en")
    assert {name: len(part) for name, part in parts.items()} == {"train": 5749, "dev": 1500, "test": 1379}
    for part in parts.values():
        assert isinstance(part, ScoredPairs)
        assert (min(part.scores), max(part.scores)) == (0.0, 5.0)


def test_sts_2012_to_2016(data_folder: Path) -> None:
    sets = load_data_set("sts12-16")
    assert {name: len(part) for name, part in sets.items()} == STS_SIZES
    assert set(STS_CLEAN_OF_STSB) < set(sets)
    assert len(STS_CLEAN_OF_STSB) == 12


def test_the_clean_sets_share_no_pair_with_the_sts_benchmark(data_folder: Path) -> None:
    def pairs(record: object) -> set[frozenset[str]]:
        assert isinstance(record, ScoredPairs)
        plain = [[" ".join(re.findall(r"\w+", text.lower())) for text in column] for column in (record.a, record.b)]
        return {frozenset(pair) for pair in zip(*plain, strict=True)}

    seen = set().union(*(pairs(part) for part in load_data_set("stsb-en").values()))
    sets = load_data_set("sts12-16")
    assert {name for name in sets if not pairs(sets[name]) & seen} >= set(STS_CLEAN_OF_STSB)
    assert len(pairs(sets["2015.headlines.test"]) & seen) > 600


def test_banking77(data_folder: Path) -> None:
    parts = load_data_set("banking77")
    train, test = parts["train"], parts["test"]
    assert isinstance(train, Labelled)
    assert isinstance(test, Labelled)
    assert (len(train), len(test)) == (10_003, 3_080)
    assert len(set(train.labels)) == len(set(test.labels)) == 77
    assert all(test.labels.count(label) == 40 for label in set(test.labels))


def test_cranfield_topics_go_by_position(data_folder: Path) -> None:
    judged = load_data_set("cranfield")["test"]
    assert isinstance(judged, Judged)
    assert len(judged.corpus) == 1398
    assert judged.query_ids == [str(number) for number in range(1, 226)]
    grades = [grade for graded in judged.relevance.values() for grade in graded.values()]
    assert {grade: grades.count(grade) for grade in set(grades)} == {0: 225, 1: 1610, 3: 1}
    assert sorted(judged.relevance, key=int) == judged.query_ids
    # with the right topics, relevant texts share far more long words with their query than with a distant one

    def long_words(text: str) -> set[str]:
        return {word for word in text.split() if len(word) > 6}

    texts = dict(zip(judged.corpus.ids, map(long_words, judged.corpus.texts), strict=True))
    words = [long_words(text) for text in judged.query_texts]
    right = wrong = 0
    for position, query in enumerate(judged.query_ids):
        for document, grade in judged.relevance[query].items():
            if grade:
                right += len(words[position] & texts[document])
                wrong += len(words[(position + 100) % len(words)] & texts[document])
    assert right > 3 * wrong


def test_dbpedia_keeps_the_judged_queries(data_folder: Path) -> None:
    judged = load_data_set("dbpedia-entity-5k")["test"]
    assert isinstance(judged, Judged)
    assert (len(judged.corpus), len(judged.query_ids), len(judged.relevance)) == (5000, 40, 40)
    grades = [grade for graded in judged.relevance.values() for grade in graded.values()]
    assert {grade: grades.count(grade) for grade in set(grades)} == {0: 2829, 1: 614, 2: 266}


def test_lines_without_a_score_are_dropped_and_quotes_are_text(write_file: Writer) -> None:
    path = write_file("a.tsv", '5\tsay "x\tb\n\tno\tscore\n2.5\t2012\t7\n')
    pairs = text_sets.load_sts({"2020.made-up.test.tsv": path})["2020.made-up.test"]
    assert (pairs.a, pairs.b, pairs.scores) == (['say "x', "2012"], ["b", "7"], [5.0, 2.5])


def test_cranfield_drops_empty_documents_and_ignores_the_stated_number(write_file: Writer) -> None:
    block = "<doc>\n<docno>{}</docno>\n<title>{}</title>\n<text>{}</text>\n</doc>\n"
    documents = block.format(1, "a & b", "a & b\n text") + block.format(2, "", "") + block.format(3, "t", "t < 2")
    topic = "<top>\n<num> {}</num>\n<title>\n{}\n</title>\n</top>\n"
    topics = topic.format(7, "first\r\nquery .") + topic.format(9, "second")
    judged = text_sets.load_cranfield(
        {
            "cran.all.1400.xml": write_file("d.xml", documents),
            "cran.qry.xml": write_file("q.xml", topics),
            "cranqrel.trec.txt": write_file("r.txt", "1 0 1 3\n1 0 2 1\n2 0 3 0\n"),
        }
    )["test"]
    assert judged.corpus.texts == ["a & b text", "t < 2"]
    assert judged.corpus.attributes.to_pydict() == {"title": ["a & b", "t"]}
    assert judged.query_texts == ["first query .", "second"]
    assert judged.relevance == {"1": {"1": 3}, "2": {"3": 0}}


def test_the_papers_and_their_vectors(data_folder: Path) -> None:
    parts = load_data_set("arxiv-abstracts-2025-26")
    papers, vectors = parts["papers"], parts["minilm"]
    assert isinstance(papers, Corpus)
    assert (len(papers), vectors.shape, vectors.dtype) == (40_351, (40_351, 384), np.float16)
    first = papers.table.slice(0, 1).to_pylist()[0]
    assert first["text"].startswith(f"{first['title']}. ")
    assert first["date"] == date(2025, 3, 18)
    assert first["primary"] == first["categories"][0]
    assert first["number_of_authors"] == len(first["authors"])
    assert first["main_categories"] == sorted({category.split(".")[0] for category in first["categories"]})
    assert sum(papers.attributes["has_comment"].to_pylist()) == 19_274


def test_the_sample_of_deep(data_folder: Path) -> None:
    parts = load_data_set("deep-10k")
    assert {name: part.shape for name, part in parts.items()} == {"base": (10_000, 96), "query": (10_000, 96)}
    np.testing.assert_allclose(np.linalg.norm(parts["base"], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("content", [np.full(97, 95, "<i4").tobytes(), np.full(97, 96, "<i4").tobytes() + b"x"])
def test_no_fvecs_of_this_dimension(write_file: Writer, content: bytes) -> None:
    path = write_file("base.fvecs", content)
    with pytest.raises(StorageError, match="no fvecs file of 96 dimensions"):
        load_deep({"base.fvecs": path})


def test_a_line_that_is_no_paper(tmp_path: Path) -> None:
    path = tmp_path / "abstracts.jsonl.xz"
    path.write_bytes(lzma.compress(b'{"id": "1", "title": "only"}\n'))
    with pytest.raises(StorageError, match=r"a line is no paper \(KeyError: 'abstract'\)"):
        load_arxiv({"abstracts.jsonl.xz": path, "minilm.f16.npy": path})
