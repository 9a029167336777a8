"""A collection in Milvus, on a server or in a file of milvus-lite."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

import pyarrow as pa
from numpy.typing import ArrayLike

from embedworks.foundation import InputError, StorageError
from embedworks.index.adapters.adapter import Journal, ServerExplanation, checked_batch, checked_search, read_filter
from embedworks.index.adapters.milvus_filter import attribute_of, field_name, milvus_filter
from embedworks.index.adapters.milvus_search import Question, answered, counted, measured_recall, sampled
from embedworks.index.adapters.milvus_wire import (
    LONGEST_TEXT,
    MOST_MEMBERS,
    connected,
    deleted,
    known_ids,
    refuse_oversized,
    requests,
    server_errors,
)
from embedworks.index.answers import Answer
from embedworks.index.intake import Columns, Strings, Texts, checked_count, checked_ids

EXACT_BELOW = 1_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_RECALL = "embedworks.recall"
_LOGGER = logging.getLogger(__name__)
_GRAPH = {"M": 16, "efConstruction": 200}


class MilvusCollection:
    """Vectors, texts and attributes in a collection of Milvus; made by :meth:`create` or :meth:`open`.

    Reads see every write acknowledged before them (consistency level Strong). A call of :meth:`add` is sent in requests
    of at most 32 MiB, each of which is there whole or not at all. Milvus does not watch over ids: two programs that add
    the same id at the same moment without ``replace`` both succeed.
    """

    graph_limit = 32_768

    def __init__(self, client: Any, name: str, *, dimension: int, schema: pa.Schema, exact_below: int) -> None:
        self._client, self._name, self._exact_below = client, name, exact_below
        self._dimension, self._schema = dimension, schema
        self._measured: float | None = None

    @classmethod
    def create(
        cls,
        address: str,
        name: str,
        *,
        dimension: int,
        schema: pa.Schema | None = None,
        token: str = "",
        exact_below: int = EXACT_BELOW,
    ) -> MilvusCollection:
        """Make an empty collection, searched exactly until :meth:`build_graph`.

        Args:
            address: The server, as ``http://host:19530``, or a path ending in ``.db`` for milvus-lite.
            name: Its name: letters, digits and underscores.
            dimension: Components of every vector, at most 32,768.
            schema: The attributes, as ``Index.schema``; a collection of Milvus keeps those it was made with.
            token: ``user:password`` or an API key; neither kept nor logged.
            exact_below: Up to how many passing rows are read and ranked exactly although there is a graph.

        Returns:
            The collection, open.

        Raises:
            InputError: A name cannot be used or is taken, or a type has no form there.
            MissingExtraError: ``pip install 'embedworks[milvus]'`` is needed.
            StorageError: The server refused.
        """
        if not _NAME.fullmatch(name):
            mend = "Milvus takes letters, digits and underscores, and no digit first"
            raise InputError(f"the name {name[:80]!r} cannot be used", where="collection", mend=mend)
        size, most = checked_count(dimension, name="dimension"), checked_count(exact_below, name="exact_below")
        if size > cls.graph_limit:
            raise InputError(f"{size:,} is above Milvus's {cls.graph_limit:,}", where="dimension")
        attributes = pa.schema([]) if schema is None else schema
        for column in attributes:
            if pa.types.is_null(column.type):
                where = f"attribute {column.name!r}"
                raise InputError("the attribute has no value yet", where=where, mend="leave it out until it has one")
        fields = [(field_name(column.name, column.type), column.type) for column in attributes]
        client = connected(address, token)
        try:
            with server_errors(f"collection {name}"):
                if client.has_collection(name):
                    mend = "choose another name, or open it"
                    raise InputError("exists already", where=f"collection {name}", mend=mend)
                index = client.prepare_index_params()
                index.add_index("vector", index_type="FLAT", metric_type="IP")
                client.create_collection(
                    name, schema=_server_schema(fields, size), index_params=index, consistency_level="Strong"
                )
            return cls(client, name, dimension=size, schema=attributes, exact_below=most)
        except BaseException:
            client.close()
            raise

    @classmethod
    def open(cls, address: str, name: str, *, token: str = "", exact_below: int = EXACT_BELOW) -> MilvusCollection:
        """Open a collection.

        Args:
            address: As in :meth:`create`.
            name: Its name.
            token: As in :meth:`create`.
            exact_below: As in :meth:`create`.

        Returns:
            The collection.

        Raises:
            MissingExtraError: ``pip install 'embedworks[milvus]'`` is needed.
            StorageError: There is no such collection, or the server cannot be reached.
        """
        most = checked_count(exact_below, name="exact_below")
        client = connected(address, token)
        try:
            with server_errors(f"collection {name}"):
                if not _NAME.fullmatch(name) or not client.has_collection(name):
                    mend = "create it first, or check the address"
                    raise StorageError("there is no such collection", where=f"collection {name}", mend=mend)
                fields = client.describe_collection(name)["fields"]
                vector = next((field for field in fields if field["name"] == "vector"), None)
                if vector is None or not {"id", "text"} <= {field["name"] for field in fields}:
                    mend = "a collection has the fields id, text and vector"
                    raise StorageError("is none of embedworks", where=f"collection {name}", mend=mend)
                client.load_collection(name)
            known = [attribute_of(field["name"]) for field in fields]
            schema = pa.schema([attribute for attribute in known if attribute is not None])
            dimension = int(vector["params"]["dim"])
            return cls(client, name, dimension=dimension, schema=schema, exact_below=most)
        except BaseException:
            client.close()
            raise

    def __repr__(self) -> str:
        return f"MilvusCollection({self._name!r}, dimension={self.dimension})"

    @property
    def dimension(self) -> int:
        """Components of every vector."""
        return self._dimension

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the attributes."""
        return self._schema

    def add(
        self,
        ids: Strings,
        vectors: ArrayLike,
        *,
        texts: Texts | None = None,
        attributes: Columns | None = None,
        replace: bool = False,
    ) -> None:
        """Add rows; a kill leaves whole requests of at most 32 MiB, in the order of the rows.

        Args:
            ids: Distinct strings, length (rows,).
            vectors: Real numbers, shape (rows, dimension); stored as float32 at unit length.
            texts: One text or None a row, at most 65,535 bytes each.
            attributes: Columns of length (rows,), of names that the collection was made with.
            replace: Whether a row whose id exists takes the place of the old one, which is otherwise an error.

        Raises:
            InputError: Something does not fit; nothing has changed.
            StorageError: The server refused, or the connection broke.
        """
        batch = checked_batch(
            ids, vectors, texts=texts, attributes=attributes, schema=self._schema, dimension=self._dimension
        )
        new = next((name for name in batch.attributes.column_names if name not in self._schema.names), None)
        if new is not None:
            mend = "make a collection with it and copy the rows there"
            raise InputError("the collection was made without this attribute", where=f"attribute {new!r}", mend=mend)
        refuse_oversized(batch)
        with server_errors(self._place):
            if not replace:
                known = known_ids(self._client, self._name, batch.ids)
                if known:
                    mend = "pass replace=True to put the new row in its place"
                    raise InputError(f"the id {min(known)!r} exists already", where=self._place, mend=mend)
            for request in requests(batch, self._schema):
                if replace:
                    self._client.upsert(self._name, request)
                else:
                    self._client.insert(self._name, request)

    def delete(self, ids: Strings) -> None:
        """Delete rows.

        Args:
            ids: Distinct ids of rows that exist.

        Raises:
            InputError: An id is not there; nothing has changed.
            StorageError: The server refused, or the connection broke.
        """
        names = checked_ids(ids).to_pylist()
        with server_errors(self._place):
            known = known_ids(self._client, self._name, names)
            missing = next((name for name in names if name not in known), None)
            if missing is not None:
                raise InputError(f"there is no row with the id {missing!r}", where=self._place, mend="check the id")
            deleted(self._client, self._name, names)

    def count(self, where: str | None = None) -> int:
        """Count the rows that pass a filter, exactly.

        Args:
            where: A filter, or None for all rows.

        Returns:
            Their number.

        Raises:
            InputError: The filter is refused, or Milvus cannot express it.
            StorageError: The server refused, or the connection broke.
        """
        expression = self._expression(where)
        with server_errors(self._place):
            return counted(self._client, self._name, expression)

    def build_graph(self) -> None:
        """Let Milvus build HNSW graphs (M 16, efConstruction 200) in place of its exact search.

        Their recall is measured on sixteen stored rows and kept as a property of the collection.

        Raises:
            StorageError: The server refused, or the connection broke.
        """
        with server_errors(self._place):
            if self._graph():
                return
            sample = sampled(self._client, self._name, self._schema, self._dimension, graph=False)
            self._client.release_collection(self._name)
            self._client.drop_index(self._name, "vector")
            index = self._client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type="IP", params=_GRAPH)
            self._client.create_index(self._name, index)
            self._client.load_collection(self._name)
            recall = measured_recall(self._client, sample)
            self._client.alter_collection_properties(self._name, {_RECALL: f"{recall:.4f}"})

    def search(self, vector: ArrayLike, *, k: int = 10, where: str | None = None, exact: bool = False) -> Answer:
        """Find the k rows of highest cosine among those that pass the filter.

        Without a graph Milvus searches exactly. With one, few passing rows are read and ranked here, many are searched
        through the graph; if k do not come back although k pass, a longer candidate list is tried once, and then all
        passing rows are read and ranked. ``how`` says which.

        Args:
            vector: The query's vector, shape (dimension,).
            k: How many hits are wanted.
            where: A filter as an index takes it; see docs/rooms/index.md.
            exact: Whether the graph is forbidden.

        Returns:
            The hits and how they were found.

        Raises:
            InputError: The filter or the vector cannot be used, or Milvus cannot express the filter.
            StorageError: The server refused, or the connection broke.
        """
        return self._answered(self._question(vector, k=k, where=where, exact=exact), Journal())

    def explain(
        self, vector: ArrayLike, *, k: int = 10, where: str | None = None, exact: bool = False
    ) -> ServerExplanation:
        """Search, and say what was sent, which way was taken and why, and its times.

        Args:
            vector: As in :meth:`search`.
            k: As in :meth:`search`.
            where: As in :meth:`search`.
            exact: As in :meth:`search`.

        Returns:
            The explanation, with the answer in it; Milvus estimates no share, so the estimated one is the true one.

        Raises:
            InputError: The filter or the vector cannot be used, or Milvus cannot express the filter.
            StorageError: The server refused, or the connection broke.
        """
        question = self._question(vector, k=k, where=where, exact=exact)
        answer = self._answered(question, Journal())
        with server_errors(self._place):
            version = self._client.get_server_version()
        return ServerExplanation(
            answer,
            estimated_share=answer.passing / max(1, answer.rows),
            expected_milliseconds=None,
            scan_milliseconds=None,
            server=f"Milvus {version}, {self._place}",
            sent=str(question.expression),
            plan=(),
        )

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    @property
    def _place(self) -> str:
        return f"collection {self._name}"

    def _expression(self, where: str | None) -> str | bool:
        condition = read_filter(where, self._schema)
        return True if condition is None else milvus_filter(condition, self._schema)

    def _question(self, vector: ArrayLike, *, k: int, where: str | None, exact: bool) -> Question:
        query, number = checked_search(vector, k, self._dimension)
        expression = self._expression(where)
        return Question(self._name, self._schema, query, number, expression, exact=exact, exact_below=self._exact_below)

    def _answered(self, question: Question, journal: Journal) -> Answer:
        begun = time.perf_counter()
        with server_errors(self._place):
            return answered(self._client, question, journal, recall=self._recall(), begun=begun)

    def _recall(self) -> float | None:
        """Return the graph's recall, measured if it never was; None without a graph."""
        if not self._graph():
            return None
        if self._measured is None:
            known = self._client.describe_collection(self._name).get("properties", {}).get(_RECALL)
            if not known:
                _LOGGER.warning("the recall of %s was never measured; all its rows are read for that", self._place)
                sample = sampled(self._client, self._name, self._schema, self._dimension, graph=True)
                self._measured = measured_recall(self._client, sample)
            else:
                self._measured = float(known)
        return self._measured

    def _graph(self) -> bool:
        described = self._client.describe_index(self._name, "vector")
        return bool(described and described["index_type"] != "FLAT")


def _server_schema(fields: list[tuple[str, pa.DataType]], dimension: int) -> Any:
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LONGEST_TEXT)
    schema.add_field("text", DataType.VARCHAR, max_length=LONGEST_TEXT, nullable=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    for name, kind in fields:
        if pa.types.is_list(kind):
            schema.add_field(
                name,
                DataType.ARRAY,
                element_type=DataType.VARCHAR,
                max_capacity=MOST_MEMBERS,
                max_length=LONGEST_TEXT,
                nullable=True,
            )
        elif pa.types.is_string(kind):
            schema.add_field(name, DataType.VARCHAR, max_length=LONGEST_TEXT, nullable=True)
        elif pa.types.is_floating(kind):
            schema.add_field(name, DataType.DOUBLE, nullable=True)
        elif pa.types.is_boolean(kind):
            schema.add_field(name, DataType.BOOL, nullable=True)
        else:
            schema.add_field(name, DataType.INT64, nullable=True)
    return schema
