"""Argument types that several verbs share."""

from __future__ import annotations

from typing import Annotated, Literal

import tyro

JsonTarget = Annotated[str | None, tyro.conf.arg(metavar="PATH|-")]
"""Where to write the result as JSON: a path, or - for standard output and nothing else there."""

HitCount = Annotated[int, tyro.conf.arg(aliases=["-k"])]
"""Number of hits wanted."""

Precision = Literal["auto", "float32", "bfloat16"]
Overflow = Literal["truncate", "chunk", "error"]
Mode = Literal["vector", "lexical", "hybrid"]
Storage = Literal["float32", "float16", "int8", "pq"]
Scale = Literal["quick", "default", "paper"]
