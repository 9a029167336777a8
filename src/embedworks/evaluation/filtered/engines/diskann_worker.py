"""The other side of ``diskann``: builds and searches with diskannpy, and needs nothing of ours."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main(folder: Path) -> None:
    """Build, say so, then answer one line of JSON on standard input at a time.

    Args:
        folder: Holds vectors.npy and labels.json; queries.npy is written there before each line.
    """
    import diskannpy  # type: ignore[import-not-found,unused-ignore]
    import numpy as np

    vectors = np.load(folder / "vectors.npy")
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    diskannpy.build_memory_index(
        data=vectors,
        distance_metric="l2",
        index_directory=str(folder),
        complexity=100,
        graph_degree=48,
        num_threads=1,
        alpha=1.2,
        use_pq_build=False,
        num_pq_bytes=0,
        use_opq=False,
        filter_labels=labels,
        filter_complexity=100,
        index_prefix="ann",
    )
    index = diskannpy.StaticMemoryIndex(
        index_directory=str(folder),
        num_threads=1,
        initial_search_complexity=600,
        index_prefix="ann",
        enable_filters=True,
    )
    sys.stdout.write(json.dumps({"ready": True}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        document = json.loads(line)
        queries, k = np.load(folder / "queries.npy"), document["k"]
        found = []
        wall, cpu = time.perf_counter(), time.process_time()
        for query, asked in zip(queries, document["asked"]):  # noqa: B905 - runs on older interpreters too
            found.append(
                index.search(
                    query=query, k_neighbors=k, complexity=max(k, asked["beam"]), filter_label=asked["label"]
                ).identifiers
            )
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        rows = [[int(row) for row in identifiers] for identifiers in found]
        sys.stdout.write("\n" + json.dumps({"rows": rows, "cpu": cpu, "wall": wall}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
