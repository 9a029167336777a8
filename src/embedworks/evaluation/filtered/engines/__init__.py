"""The engines of the comparison, ours first; each in its best setting, none loaded before it is asked for.

Comes in: papers, filters. Goes out: rows, and the time they took. Start reading at ``engine``.
"""

from embedworks.evaluation.filtered.engines.diskann import DiskAnn
from embedworks.evaluation.filtered.engines.engine import Block, Engine
from embedworks.evaluation.filtered.engines.exact_numpy import ExactNumpy
from embedworks.evaluation.filtered.engines.faiss_indexes import FaissGraph, FaissLists, FaissScan
from embedworks.evaluation.filtered.engines.graph_libraries import Hnswlib, Usearch
from embedworks.evaluation.filtered.engines.ours import Ours
from embedworks.evaluation.filtered.engines.tables import Chroma, DuckDb, LanceDb, QdrantLocal

PEERS: tuple[type[Engine], ...] = (
    ExactNumpy,
    FaissGraph,
    FaissLists,
    FaissScan,
    Hnswlib,
    Usearch,
    DiskAnn,
    LanceDb,
    DuckDb,
    QdrantLocal,
    Chroma,
)

__all__ = ["PEERS", "Block", "Engine", "Ours"]
