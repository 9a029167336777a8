"""Engines that keep attributes in a table of their own: LanceDB, DuckDB, Qdrant's local mode and Chroma."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from embedworks.evaluation.filtered.cells import Cell, Condition, Filter
from embedworks.evaluation.filtered.engines.engine import Engine, K, Search
from embedworks.evaluation.filtered.papers import PaperSet

_CHROMA_BATCH = 5_000


def _with_days(papers: PaperSet) -> pa.Table:
    """Return the attributes with the row's number, and dates as days."""
    table = papers.table.set_column(papers.table.schema.get_field_index("date"), "date", pa.array(papers.days))
    return table.append_column("row", pa.array(np.arange(len(papers))))


def _vectors(papers: PaperSet) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(papers.vectors.ravel()), papers.vectors.shape[1])


def _number(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else repr(float(bound))


def _sql(condition: Condition, has: str) -> str:
    quoted = "'" + condition.value.replace("'", "''") + "'"
    if condition.kind == "between":
        bounds = (
            [("<=", condition.high)] if np.isinf(condition.low) else [(">=", condition.low), ("<=", condition.high)]
        )
        return " AND ".join(f"{condition.attribute} {sign} {_number(bound)}" for sign, bound in bounds)
    return (
        f"{condition.attribute} = {quoted}" if condition.kind == "equals" else f"{has}({condition.attribute}, {quoted})"
    )


class LanceDb(Engine):
    """``flat`` scans; ``lists`` searches IVF-PQ with refinement. Scalar indexes on every attribute."""

    name: ClassVar[str] = "lancedb"
    package: ClassVar[str] = "lancedb"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Write a table with all its indexes."""
        import lancedb

        database: Any = lancedb.connect(str(folder))
        rows = _with_days(papers).append_column("vector", _vectors(papers))
        table: Any = database.create_table("papers", rows)
        for name, kind in (
            ("date", "BTREE"),
            ("draw", "BTREE"),
            ("number_of_authors", "BTREE"),
            ("primary_category", "BITMAP"),
            ("categories", "LABEL_LIST"),
            ("authors", "LABEL_LIST"),
        ):
            table.create_scalar_index(name, index_type=kind)
        table.create_index(
            metric="cosine", num_partitions=128, num_sub_vectors=96, index_type="IVF_PQ", vector_column_name="vector"
        )
        self.table = table

    def settings(self) -> list[list[str]]:
        """The scan, and the lists along how many are read."""
        return [["flat"], [f"lists {probes}" for probes in (8, 16, 32, 64, 128)]]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Write the filter in its SQL."""
        table, probes = self.table, setting.partition(" ")[2]
        text = " AND ".join(_sql(condition, "array_has") for condition in where.conditions)

        def search(query: Any) -> Any:
            asked = table.search(query).distance_type("cosine").where(text, prefilter=True)
            asked = asked.select(["row", "_distance"]).limit(K)
            asked = asked.nprobes(int(probes)).refine_factor(10) if probes else asked.bypass_vector_index()
            return asked.to_arrow().column("row").to_numpy()

        return search


class DuckDb(Engine):
    """An exact scan in SQL."""

    name: ClassVar[str] = "duckdb"
    package: ClassVar[str] = "duckdb"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Copy everything into a table in memory."""
        import duckdb

        self.connection: Any = duckdb.connect(":memory:", config={"threads": 1})
        rows = _with_days(papers).append_column("vector", _vectors(papers))
        self.size = papers.vectors.shape[1]
        self.connection.register("arriving", rows)
        self.connection.execute("CREATE TABLE papers AS SELECT * FROM arriving")

    def prepare(self, where: Filter, setting: str) -> Search:
        """Write the query with its filter."""
        text = " AND ".join(_sql(condition, "list_contains") for condition in where.conditions)
        connection = self.connection
        statement = (
            f"SELECT row FROM papers WHERE {text} "  # noqa: S608 - filters of the cells, no one else's text
            f"ORDER BY array_inner_product(vector, ?::FLOAT[{self.size}]) DESC LIMIT {K}"
        )
        return lambda query: [row for (row,) in connection.execute(statement, [query]).fetchall()]

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class QdrantLocal(Engine):
    """The local mode of Qdrant's client; its server is another matter."""

    name: ClassVar[str] = "qdrant-client local"
    package: ClassVar[str] = "qdrant_client"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Upload everything into memory."""
        from qdrant_client import QdrantClient, models

        self.client: Any = QdrantClient(":memory:")
        size = papers.vectors.shape[1]
        self.client.create_collection(
            "papers", vectors_config=models.VectorParams(size=size, distance=models.Distance.DOT)
        )
        payload = _with_days(papers).drop_columns(["row"]).to_pylist()
        self.client.upload_collection("papers", vectors=papers.vectors, payload=payload, ids=range(len(papers)))

    def prepare(self, where: Filter, setting: str) -> Search:
        """Write the filter in its models."""
        from qdrant_client import models

        def one(condition: Condition) -> Any:
            if condition.kind == "between":
                low = None if np.isinf(condition.low) else condition.low
                return models.FieldCondition(key=condition.attribute, range=models.Range(gte=low, lte=condition.high))
            return models.FieldCondition(key=condition.attribute, match=models.MatchValue(value=condition.value))

        client, made = self.client, models.Filter(must=[one(condition) for condition in where.conditions])

        def search(query: Any) -> Any:
            found = client.query_points("papers", query=query, query_filter=made, limit=K, with_payload=False)
            return [point.id for point in found.points]

        return search

    def close(self) -> None:
        """Close the client."""
        self.client.close()


class Chroma(Engine):
    """Chroma in the process. Its metadata has no sets: a set's asked members become flags of their own."""

    name: ClassVar[str] = "chromadb"
    package: ClassVar[str] = "chromadb"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Add everything."""
        import chromadb
        from chromadb.config import Settings

        asked = {
            (c.attribute, c.value) for cell in cells for f in cell.filters for c in f.conditions if c.kind == "has"
        }
        client: Any = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        self.collections = {}
        for beam in (200,):
            hnsw = {"space": "cosine", "ef_construction": 100, "max_neighbors": 32, "ef_search": beam}
            self.collections[str(beam)] = client.create_collection(f"papers-{beam}", configuration={"hnsw": hnsw})
        scalars = _with_days(papers).drop_columns(["row", "categories", "authors"]).to_pylist()
        sets = {name: [set(row) for row in papers.table.column(name).to_pylist()] for name in ("categories", "authors")}
        for row, kept in enumerate(scalars):
            kept |= {f"{name}: {value}": True for name, value in asked if value in sets[name][row]}
        for collection in self.collections.values():
            for first in range(0, len(papers), _CHROMA_BATCH):
                part = slice(first, min(first + _CHROMA_BATCH, len(papers)))
                ids = [str(row) for row in range(part.start, part.stop)]
                collection.add(ids=ids, embeddings=papers.vectors[part], metadatas=scalars[part])

    def settings(self) -> list[list[str]]:
        """Along ef, which is set when a collection is made."""
        return [list(self.collections)]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Write the filter as its nested mappings."""
        parts: list[dict[str, Any]] = []
        for condition in where.conditions:
            if condition.kind == "between":
                bounds = {"$gte": condition.low, "$lte": condition.high}
                parts += [{condition.attribute: {sign: b}} for sign, b in bounds.items() if np.isfinite(b)]
            elif condition.kind == "equals":
                parts.append({condition.attribute: condition.value})
            else:
                parts.append({f"{condition.attribute}: {condition.value}": True})
        made = parts[0] if len(parts) == 1 else {"$and": parts}
        collection = self.collections[setting]

        def search(query: Any) -> Any:
            found = collection.query(query_embeddings=query[np.newaxis], n_results=K, where=made, include=[])
            return [int(name) for name in found["ids"][0]]

        return search
