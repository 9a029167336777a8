"""Attribute values as JSON can say them."""

from __future__ import annotations

import base64
import math
from datetime import date, datetime
from typing import Any


def plain_value(value: Any) -> Any:
    """Return an attribute's value as JSON can say it: dates in ISO form, sets as lists, NaN and infinity as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(item) for item in value]
    return value if isinstance(value, str | int | bool | None) else str(value)
