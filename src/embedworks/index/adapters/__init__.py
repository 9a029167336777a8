"""The same collection on a server, for what outgrows one machine: PostgreSQL with pgvector, and Milvus.

Comes in: what an index takes, or a whole index. Goes out: the same answers from a server, each saying how it was found.
Start reading at ``adapter``, then ``pgvector`` and ``milvus``; the filters are translated in ``sql_filter`` and
``milvus_filter``.
"""

from embedworks.index.adapters.adapter import Adapter
from embedworks.index.adapters.copying import copy_index, portable_schema
from embedworks.index.adapters.milvus import MilvusCollection
from embedworks.index.adapters.pgvector import PgvectorCollection

__all__ = ["Adapter", "MilvusCollection", "PgvectorCollection", "copy_index", "portable_schema"]
