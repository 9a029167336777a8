"""Draws the curves of filtered search: ``python benchmarks/fanns_picture.py results/fanns.json curves.png``."""

from __future__ import annotations

import sys
from pathlib import Path

from embedworks.methods._fanns_picture import draw_curves
from embedworks.methods._report import Report

if __name__ == "__main__":
    draw_curves(Report.read(Path(sys.argv[1])), Path(sys.argv[2]))
