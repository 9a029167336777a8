"""Structures for filtered nearest neighbours, all behind one interface: the published ones, and the simple ones.

Comes in: unit vectors [n, d] and their attributes; a query and a filter. Goes out: rows that pass, and what it cost to
find them. Start reading at ``structure`` and ``filters``, then ``registry`` for the list.
"""

from embedworks.index.structures.filters import Arbitrary, Attributes, Everything, Labels, Range, RowFilter
from embedworks.index.structures.registry import STRUCTURES, structure_class
from embedworks.index.structures.storage import load_structure, save_structure
from embedworks.index.structures.structure import Counters, Found, Structure, checked_vectors

__all__ = [
    "STRUCTURES",
    "Arbitrary",
    "Attributes",
    "Counters",
    "Everything",
    "Found",
    "Labels",
    "Range",
    "RowFilter",
    "Structure",
    "checked_vectors",
    "load_structure",
    "save_structure",
    "structure_class",
]
