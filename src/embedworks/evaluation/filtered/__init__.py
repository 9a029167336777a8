"""Filtered search side by side: our index and other engines on the same vectors, filters and queries.

Comes in: papers with attributes and vectors. Goes out: milliseconds at equal recall, as ratios from one run.
Start reading at ``search_benchmark``, then ``race`` and ``engines``.
"""

from embedworks.evaluation.filtered.cells import Cell, Filter, cells_of
from embedworks.evaluation.filtered.papers import PaperSet, read_paper_set
from embedworks.evaluation.filtered.search_benchmark import run, table

__all__ = ["Cell", "Filter", "PaperSet", "cells_of", "read_paper_set", "run", "table"]
