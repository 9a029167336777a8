"""Files and named data sets become typed, checked Arrow records.

Comes in: Parquet, CSV, JSONL, Arrow files, folders in the manner of BEIR. Goes out: the record kinds.
Start reading at ``corpus`` and ``record``.
"""

from embedworks.data.corpus import Corpus
from embedworks.data.judged import Judged, Relevance
from embedworks.data.labelled import Labelled
from embedworks.data.pairs import Pairs, ScoredPairs
from embedworks.data.readers import read_table
from embedworks.data.record import Record

__all__ = [
    "Corpus",
    "Judged",
    "Labelled",
    "Pairs",
    "Record",
    "Relevance",
    "ScoredPairs",
    "read_table",
]
