"""One file for every published system, put together from the parts in the rooms.

Comes in: records of the user's own data and a typed configuration. Goes out: a fitted model, or a report with verdicts.
Start reading at ``contrastive``, the plainest method; adding a method is adding one file here.
"""

from embedworks.methods._registry import Method, MethodCard, find_method, method_cards, method_names
from embedworks.methods._report import (
    Finding,
    Report,
    Scale,
    Verdict,
    verdict_of_check,
    verdict_of_difference,
)

__all__ = [
    "Finding",
    "Method",
    "MethodCard",
    "Report",
    "Scale",
    "Verdict",
    "find_method",
    "method_cards",
    "method_names",
    "verdict_of_check",
    "verdict_of_difference",
]
