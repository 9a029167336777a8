"""The structures by name; each is loaded, and its kernels compiled, when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from embedworks.foundation import InputError
from embedworks.index.structures.structure import Structure

STRUCTURES: Final = {
    "pre-filter": "prefilter.PreFilter",
    "post-filter": "postfilter.PostFilter",
    "in-filter": "infilter.InFilter",
    "ivf": "ivf.InvertedFile",
    "acorn-1": "acorn.Acorn1",
    "acorn-gamma": "acorn.AcornGamma",
    "serf-1d": "serf_1d.SegmentGraph1D",
    "serf-2d": "serf_2d.SegmentGraph2D",
    "filtered-vamana": "filtered_vamana.FilteredVamana",
    "stitched-vamana": "stitched_vamana.StitchedVamana",
    "ung": "ung.UnifiedNavigatingGraph",
    "nhq": "nhq.FusionGraph",
}
"""Kind to module and class below this folder."""


def structure_class(kind: str) -> type[Structure]:
    """Return the class of a kind.

    Raises:
        InputError: There is no such kind.
    """
    if kind not in STRUCTURES:
        raise InputError(
            f"there is no structure {kind!r}", where="structure", mend=f"choose from {', '.join(STRUCTURES)}"
        )
    module, name = STRUCTURES[kind].split(".")
    return cast("type[Structure]", getattr(import_module(f"embedworks.index.structures.{module}"), name))
