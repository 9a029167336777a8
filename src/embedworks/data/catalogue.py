"""The catalogue of named data sets: what there is, under which licence, and how to get it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from embedworks.data import arxiv, deep, limit, text_sets
from embedworks.data.columns import nearest, quoted
from embedworks.data.download import File, local_file
from embedworks.data.parts import Part
from embedworks.foundation import InputError

STS_CLEAN_OF_STSB = (
    "2012.OnWN.test",
    "2012.SMTeuroparl.test",
    "2012.SMTnews.test",
    "2013.FNWN.test",
    "2013.OnWN.test",
    "2014.OnWN.test",
    "2014.tweet-news.test",
    "2015.answers-students.test",
    "2015.belief.test",
    "2016.plagiarism.test",
    "2016.postediting.test",
    "2016.question-question.test",
)
"""The parts of sts12-16 that share no sentence pair with STS-B: the ones to judge a model with that has seen STS-B."""

Parts = Mapping[str, Part]


@dataclass(frozen=True)
class DataSet:
    """One named data set.

    Args:
        name: The name it is asked for by.
        description: What it holds and what it is judged by.
        licence: Its licence, and what that means for use.
        citation: Whom to cite.
        files: Its files.
        load: Takes file name to local path, returns part name to record or matrix of vectors.
    """

    name: str
    description: str
    licence: str
    citation: str
    files: tuple[File, ...]
    load: Callable[[Mapping[str, Path]], Parts] = field(repr=False)

    @property
    def bytes(self) -> int:
        """Size of all files, uncompressed."""
        return sum(file.bytes for file in self.files)


_DATA_SETS = (
    DataSet(
        name="stsb-en",
        description="STS benchmark, English: train 5,749, dev 1,500, test 1,379 sentence pairs with scores 0 to 5",
        licence="scores CC BY-SA 4.0; the sentences carry the licences of their sources (research use)",
        citation="Cer et al. 2017, SemEval-2017 Task 1, arXiv 1708.00055; files of PhilipMay/stsb-multi-mt",
        files=text_sets.STSB_FILES,
        load=text_sets.load_stsb,
    ),
    DataSet(
        name="sts12-16",
        description="SemEval STS 2012 to 2016: 25 sets of sentence pairs with scores 0 to 5, unscored lines dropped; "
        "the 12 in STS_CLEAN_OF_STSB share no pair with STS-B",
        licence="mixed SemEval sources (forum posts CC BY-SA 3.0; Microsoft Research paraphrase terms): research use",
        citation="Agirre et al. 2012 to 2016, SemEval STS; files of brmson/dataset-sts",
        files=text_sets.STS_FILES,
        load=text_sets.load_sts,
    ),
    DataSet(
        name="banking77",
        description="Customer questions with one of 77 intents: train 10,003, test 3,080 (40 an intent)",
        licence="CC BY 4.0",
        citation="Casanueva et al. 2020, Efficient Intent Detection with Dual Sentence Encoders, arXiv 2003.04807",
        files=text_sets.BANKING_FILES,
        load=text_sets.load_banking,
    ),
    DataSet(
        name="cranfield",
        description="Cranfield: 1,398 abstracts on aerodynamics (two of 1,400 are empty), 225 queries, grades 0, 1, 3",
        licence="classic public test collection; the repository has no licence file",
        citation="Cleverdon 1967, The Cranfield tests; files of oussbenk/cranfield-trec-dataset",
        files=text_sets.CRANFIELD_FILES,
        load=text_sets.load_cranfield,
    ),
    DataSet(
        name="dbpedia-entity-5k",
        description="DBpedia-Entity v2, subset: 5,000 entity abstracts, the 40 judged of 50 queries, grades 0 to 2",
        licence="text CC BY-SA 3.0; the repository has no licence file",
        citation="Hasibi et al. 2017, DBpedia-Entity v2; Thakur et al. 2021, BEIR; files of "
        "agentset-ai/embedding-leaderboard",
        files=text_sets.DBPEDIA_FILES,
        load=text_sets.load_dbpedia,
    ),
    DataSet(
        name="limit-small",
        description="LIMIT, small: 46 texts of who likes what, 1,000 queries with 2 relevant texts each",
        licence="CC BY 4.0",
        citation="Weller et al. 2025, On the Theoretical Limitations of Embedding-Based Retrieval, arXiv 2508.21038; "
        "files of google-deepmind/limit",
        files=limit.LIMIT_SMALL_FILES,
        load=limit.load_limit_small,
    ),
    DataSet(
        name="limit",
        description="LIMIT, full: the published 1,000 queries and 2,000 judgements; its 50,000 texts are written anew "
        "(LIMIT-style regenerated) with fillers of limit-small, which is fetched too",
        licence="CC BY 4.0",
        citation="Weller et al. 2025, On the Theoretical Limitations of Embedding-Based Retrieval, arXiv 2508.21038; "
        "files of google-deepmind/limit",
        files=limit.LIMIT_FILES,
        load=limit.load_limit,
    ),
    DataSet(
        name="arxiv-abstracts-2025-26",
        description="40,351 arXiv papers of March 2025 to July 2026: title and abstract, date, authors, categories; "
        "and the vectors of all-MiniLM-L6-v2",
        licence="metadata of arXiv, abstracts included: CC0 1.0",
        citation="arXiv, by way of dw-dengwei/daily-arXiv-ai-enhanced, commit b4c542b, cleaned and sampled",
        files=arxiv.ARXIV_FILES,
        load=arxiv.load_arxiv,
    ),
    DataSet(
        name="deep-10k",
        description="DEEP: 10,000 vectors to search and 10,000 to search for, 96 dimensions, no attributes",
        licence="CC BY 4.0 (DEEP1B); the repository MIT",
        citation="Babenko and Lempitsky 2016, Efficient indexing of billion-scale datasets of deep descriptors; files "
        "of rutgers-db/SeRF",
        files=deep.DEEP_FILES,
        load=deep.load_deep,
    ),
)

CATALOGUE: Mapping[str, DataSet] = MappingProxyType({data_set.name: data_set for data_set in _DATA_SETS})
"""Name to data set."""


def load_data_set(name: str, *, progress: bool = False) -> dict[str, Part]:
    """Load a named data set from the data folder, the cache or its official address.

    Args:
        name: A name in :data:`CATALOGUE`.
        progress: Whether to show a progress bar while downloading.

    Returns:
        Part name (such as ``train``, ``test``) to record or matrix of vectors.

    Raises:
        InputError: There is no such name.
        StorageError: A file differs from what was published, or cannot be downloaded.
    """
    if name not in CATALOGUE:
        raise InputError(
            f"no data set is named {name!r}",
            where="catalogue",
            mend=f"{nearest(name, CATALOGUE)} the names are {quoted(CATALOGUE)}",
        )
    data_set = CATALOGUE[name]
    paths = {file.name: local_file(name, file, progress=progress) for file in data_set.files}
    return dict(data_set.load(paths))
