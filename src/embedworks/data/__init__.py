"""Files and named data sets become typed, checked Arrow records.

Comes in: Parquet, CSV, JSONL, Arrow files, folders in the manner of BEIR, TREC files, names of data sets, the
documentation of installed packages. Goes out: the record kinds. Start reading at ``record`` and ``corpus``.
"""

from embedworks.data.catalogue import CATALOGUE, STS_CLEAN_OF_STSB, DataSet, load_data_set
from embedworks.data.corpus import Corpus
from embedworks.data.documentation_retrieval import DocumentationRetrieval, documentation_retrieval
from embedworks.data.download import File, cache_folder
from embedworks.data.judged import Judged, Relevance
from embedworks.data.labelled import Labelled
from embedworks.data.pairs import Pairs, ScoredPairs
from embedworks.data.parts import Part, write_parts
from embedworks.data.python_documentation import (
    PackageFiles,
    installed_packages,
    read_documentation,
    standard_library,
)
from embedworks.data.readers import read_table
from embedworks.data.record import Record
from embedworks.data.retrieval_formats import (
    Run,
    read_beir,
    read_beir_qrels,
    read_trec_qrels,
    read_trec_run,
    write_trec_qrels,
    write_trec_run,
)
from embedworks.data.vectors import read_vectors

__all__ = [
    "CATALOGUE",
    "STS_CLEAN_OF_STSB",
    "Corpus",
    "DataSet",
    "DocumentationRetrieval",
    "File",
    "Judged",
    "Labelled",
    "PackageFiles",
    "Pairs",
    "Part",
    "Record",
    "Relevance",
    "Run",
    "ScoredPairs",
    "cache_folder",
    "documentation_retrieval",
    "installed_packages",
    "load_data_set",
    "read_beir",
    "read_beir_qrels",
    "read_documentation",
    "read_table",
    "read_trec_qrels",
    "read_trec_run",
    "read_vectors",
    "standard_library",
    "write_parts",
    "write_trec_qrels",
    "write_trec_run",
]
