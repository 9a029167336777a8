"""What a result was measured with: library versions, processor, threads."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

_LIBRARIES = (
    "embedworks",
    "torch",
    "transformers",
    "sentence-transformers",
    "numpy",
    "faiss-cpu",
    "bm25s",
    "pyarrow",
)


def library_versions() -> dict[str, str]:
    """Return the installed versions of the libraries whose release can change a number."""
    from importlib.metadata import PackageNotFoundError, version  # 80 ms that `embedworks --help` can do without

    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, Any]:
    """Return versions, processor name, processors available to this process, and the thread count of torch."""
    import torch

    return {
        "versions": library_versions(),
        "processor": _processor_name(),
        "processors": len(os.sched_getaffinity(0)),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
