"""Memory does not grow with the number of texts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import sys
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from embedworks.encoders.engine import encode_to_file

tokenizer = SentenceTransformer(sys.argv[1], device="cpu").tokenizer
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=512)], device="cpu")
texts = (f"stone {row} river {row % 977}" for row in range(int(sys.argv[3])))
encode_to_file(model, texts, sys.argv[2])
# Not ru_maxrss, which a process inherits from the one that started it.
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak_megabytes(model: Path, output: Path, count: int) -> int:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model), str(output), str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.split()[-1])


@pytest.mark.slow
def test_peak_memory_of_a_file_twenty_times_as_large(tiny_directory: Path, tmp_path: Path) -> None:
    small = peak_megabytes(tiny_directory, tmp_path / "small.npy", 10_000)
    large = peak_megabytes(tiny_directory, tmp_path / "large.npy", 200_000)
    vectors = np.load(tmp_path / "large.npy", mmap_mode="r")
    assert vectors.shape == (200_000, 512)
    assert vectors.nbytes > 390 * 2**20
    # Digests of at most 262,144 texts take about 50 MB; the vectors would take 390.
    assert large - small < 100
