"""The text sets of the catalogue: their files as published, and how each becomes records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from embedworks.data.corpus import Corpus
from embedworks.data.download import File
from embedworks.data.judged import Judged
from embedworks.data.labelled import Labelled
from embedworks.data.pairs import ScoredPairs
from embedworks.data.readers import read_csv, text_lines
from embedworks.data.retrieval_formats import judged_from_beir, read_trec_qrels, without_empty_documents
from embedworks.foundation import InputError

_RAW = "https://raw.githubusercontent.com"
_STSB = f"{_RAW}/PhilipMay/stsb-multi-mt/30de0dec4ee199b7f42351d3f1a0b19592955385/data"
_STS = f"{_RAW}/brmson/dataset-sts/45842ce6fb751541d4912136df5a2358591f65cf/data/sts/semeval-sts"
_BANKING = f"{_RAW}/PolyAI-LDN/task-specific-datasets/master/banking_data"
_CRANFIELD = f"{_RAW}/oussbenk/cranfield-trec-dataset/main"
_DBPEDIA = f"{_RAW}/agentset-ai/embedding-leaderboard/7f86b0fd942ba327ef228df7e774ba50cfe9b91a/datasets/dbpedia"

# size and SHA-256 are those of the uncompressed content, so that one entry serves a plain and a gzipped copy
STSB_FILES = tuple(
    File(name, f"{_STSB}/{path}", size, sha256)
    for name, path, size, sha256 in (
        (
            "stsb-en-train.csv",
            "stsb-en-train.csv",
            708863,
            "e1e84fec60bbb598735552f54a35f4949904a484750fd2cb11e2720e49f63da6",
        ),
        (
            "stsb-en-dev.csv",
            "stsb-en-dev.csv",
            204675,
            "d29586e96558c4eb52cf5ea5d14e9c24d3bf0e44f111b017caba43a5adc33226",
        ),
        (
            "stsb-en-test.csv",
            "stsb-en-test.csv",
            158891,
            "11523b625219e94e9ca05d2816b5f02cac1614c5894fe657376fa0806378d053",
        ),
    )
)
STS_FILES = tuple(
    File(name, f"{_STS}/{name[:4]}/{name[5:]}", size, sha256)
    for name, size, sha256 in (
        ("2012.MSRpar.test.tsv", 168264, "0152db6de47cb0c309482425118281b8afad65a066ad961c96930d511d62dba1"),
        ("2012.MSRpar.train.tsv", 171254, "a07f29d9f11600bda8f8a188678727f664323272ee19ad708a4eecfa12c81a6c"),
        ("2012.OnWN.test.tsv", 71873, "8148c4aea8e70e39c033e16cc0765735669aba0f5de053ac0061f2cf47cf366f"),
        ("2012.SMTeuroparl.test.tsv", 62276, "b70cbc8262db9fe178341a2e427d713be2fb440b1cccc1736cd0e66f0ac8ff59"),
        ("2012.SMTeuroparl.train.tsv", 243497, "6283f9598b238898c66abc111eed7101cec5f17b592c00c7e607fef994349a54"),
        ("2012.SMTnews.test.tsv", 61072, "7745b5a11faab3098eacd8ba7ea4530f932d1ee5f82e10d6d1f1b8b03cd8868b"),
        ("2013.FNWN.test.tsv", 46412, "ac1fcaf6042fc7f8984b0d6145b5a4028da10c9adc55754ea1ad64d6dd3f6633"),
        ("2013.OnWN.test.tsv", 49248, "66aeefda9084f544e2d54e51026d2952e2cb05bd9b5fcf4c6d4efe57dfa3e4fc"),
        ("2013.headlines.test.tsv", 71836, "9b40330c1b70017b62a48404bf050211f5cfd990e249fc1b8146163bdcb9924a"),
        ("2014.OnWN.test.tsv", 70871, "072ffe5052223b45018a588c3f06d48a3b16bf7a7ea7e9f235fce89342ec8f3f"),
        ("2014.deft-forum.test.tsv", 43999, "1bdea70a0f1b44b7697ede61b80a9a566fad928150567a8a46235104847ef484"),
        ("2014.deft-news.test.tsv", 63746, "faf2fc618e57f4acac25a7cdb16b131a2055ed4fcead3cf475e411b0482dc51d"),
        ("2014.headlines.test.tsv", 74159, "85e98e7c2ed1e95e2a0d1d4047f50497f3a2ca196c0004afa416320f73d46efd"),
        ("2014.images.test.tsv", 72028, "c17677ae0fdd667330b8b41585666d2181d1f4b20013cfdd81f5d0f2811b9165"),
        ("2014.tweet-news.test.tsv", 94757, "be2ee005c28f3c4359cef6d35323ef5ce32443a85a6bad21cdb30f320054db37"),
        ("2015.answers-forums.test.tsv", 351034, "896cd9f26fad335775688ee9829910bb2e7240fb44d89b2e1cc467a73239f65d"),
        ("2015.answers-students.test.tsv", 166143, "e3bd0696f2ff514276ddcc830655b84d7d5e48868f71aa3009d6c5ff90756cee"),
        ("2015.belief.test.tsv", 284734, "29cc4918023aabd33a270f475914885fa7dd24c9811279d9e0face14f973a7e4"),
        ("2015.headlines.test.tsv", 150011, "d45bf6e97f44afc817b39c1e51492cfadce163b0076611f7c85472c8e05271d1"),
        ("2015.images.test.tsv", 148521, "820fe1c8cfb1349ba7d7bca3bf1ed38776d9d0d1b193124a8666e3a5f440c5a9"),
        ("2016.answer-answer.test.tsv", 147984, "b7152d6d12e7145734b452a9757593259b987bbae0558e769a1ded3e992ba12b"),
        ("2016.headlines.test.tsv", 149945, "454c0fa9fdbb133042e84cb7b85f0562b60016d70c1f3caf4b01bd51e6b58a3f"),
        ("2016.plagiarism.test.tsv", 203377, "9f556fe320ce95c7b43db74894f0120dcb4dc9745c7ae9936b49fba04a52524a"),
        ("2016.postediting.test.tsv", 793290, "e412867621bbabf17d4b44c99f84bb222448eabaef34b37243baed1687812b81"),
        ("2016.question-question.test.tsv", 165644, "0b136074715d26425b1b18f566ba319598efa12e1601fd048ad496937c484c06"),
    )
)
BANKING_FILES = tuple(
    File(name, f"{_BANKING}/{path}", size, sha256)
    for name, path, size, sha256 in (
        ("train.csv", "train.csv", 839073, "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b"),
        ("test.csv", "test.csv", 239961, "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d"),
    )
)
CRANFIELD_FILES = tuple(
    File(name, f"{_CRANFIELD}/{path}", size, sha256)
    for name, path, size, sha256 in (
        (
            "cran.all.1400.xml",
            "cran.all.1400.xml",
            1741433,
            "369eb64e59d855b62463832f1338f471cede578571ee7fb33e3592a2a138ff47",
        ),
        ("cran.qry.xml", "cran.qry.xml", 37964, "b609a59e980857ba59d098f33433822a5c200bcf6836a320babf2b1a5e7545eb"),
        (
            "cranqrel.trec.txt",
            "cranqrel.trec.txt",
            23217,
            "98a13b4913d61a02690725aee7ac4f6a1979c13fc9088ad9b4a81be58b1a6f11",
        ),
    )
)
DBPEDIA_FILES = tuple(
    File(name, f"{_DBPEDIA}/{path}", size, sha256)
    for name, path, size, sha256 in (
        ("corpus.jsonl", "corpus.jsonl", 2536096, "61b717c96ff548d27ad3d7fbfc2682c43daa538e3e9d0cd39d4ae9e99c1d306c"),
        ("queries.jsonl", "queries.jsonl", 3617, "93f48e1e465351fbb8d3b5c711c08034e1277e1225553230341bad7e39f16362"),
        ("qrels.tsv", "qrels/test.tsv", 179156, "e92204355209bd2c52eab3ae1b3e09819cd61f4b1f446e413a4872100519e3d0"),
    )
)


def load_stsb(paths: Mapping[str, Path]) -> dict[str, ScoredPairs]:
    """Read train, dev and test; the files have no header line."""
    return {
        part: ScoredPairs(
            read_csv(paths[f"stsb-en-{part}.csv"], names=("a", "b", "score"), strings=("a", "b")),
            source=f"stsb-en {part}",
        )
        for part in ("train", "dev", "test")
    }


def load_sts(paths: Mapping[str, Path]) -> dict[str, ScoredPairs]:
    """Read the 25 sets, keyed by file name without suffix; lines without a score were not judged and are dropped."""
    sets = {}
    for name, path in paths.items():
        table = read_csv(path, delimiter="\t", quote=False, names=("score", "a", "b"), strings=("a", "b"))
        key = name.removesuffix(".tsv")
        sets[key] = ScoredPairs(table.filter(pc.is_valid(table["score"])), source=f"sts12-16 {key}")
    return sets


def load_banking(paths: Mapping[str, Path]) -> dict[str, Labelled]:
    """Read train and test."""
    return {
        part: Labelled(
            read_csv(paths[f"{part}.csv"], strings=("text", "category")),
            source=f"banking77 {part}",
            columns={"label": "category"},
        )
        for part in ("train", "test")
    }


def load_cranfield(paths: Mapping[str, Path]) -> dict[str, Judged]:
    """Read documents, topics and grades.

    The relevance file counts topics by their position from 1; the number that a topic states is another one. The
    text of a document begins with its title. The files are no well-formed XML.
    """
    source = "cranfield"
    rows = [
        {name: _inside(block, tag) for name, tag in (("id", "docno"), ("text", "text"), ("title", "title"))}
        for block in _blocks(paths["cran.all.1400.xml"], "doc")
    ]
    topics = [_inside(block, "title") for block in _blocks(paths["cran.qry.xml"], "top")]
    queries = pa.table({"id": [str(position) for position in range(1, len(topics) + 1)], "text": topics})
    relevance = read_trec_qrels(paths["cranqrel.trec.txt"])
    documents, relevance = without_empty_documents(pa.Table.from_pylist(rows), relevance, id_column="id", source=source)
    return {"test": Judged(Corpus(documents, source=source), queries, relevance, source=source)}


def load_dbpedia(paths: Mapping[str, Path]) -> dict[str, Judged]:
    """Read the judged set; title and text are one text, and queries that nobody judged are left out."""
    return {"test": judged_from_beir(paths["corpus.jsonl"], paths["queries.jsonl"], paths["qrels.tsv"])}


def _blocks(path: Path, tag: str) -> list[str]:
    text = "\n".join(line for _, line in text_lines(path))
    return re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)


def _inside(block: str, tag: str) -> str:
    found = re.search(rf"<{tag}>(.*?)</{tag}>", block, re.DOTALL)
    if found is None:
        raise InputError(f"a block without <{tag}>", where="cranfield", mend="the file is not the published one")
    return " ".join(found.group(1).split())
