"""Asking for memory before it is needed, from compiled code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as _untyped
from numba.extending import intrinsic

_LINE_BYTES = 64
cgutils: Any = _untyped  # numba gives it no types


def _prefetch_row(_typing: Any, matrix: Any, row: Any) -> Any:
    """Start to fetch a row of a matrix into the cache; nothing waits for it.

    A scan of the rows that pass a filter jumps from row to row, and a processor guesses no jumps: without this it waits
    for memory longer than it computes.

    Args:
        matrix: A matrix whose rows are contiguous.
        row: The number of the row.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, given[0])
        width = cgutils.unpack_tuple(builder, array.strides)[0]
        place = context.cast(builder, given[1], signature.args[1], types.intp)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        start = builder.gep(builder.bitcast(array.data, byte), [builder.mul(place, width)])
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        lines = builder.udiv(builder.add(width, width.type(_LINE_BYTES - 1)), width.type(_LINE_BYTES))
        with cgutils.for_range(builder, lines) as line:
            address = builder.gep(start, [builder.mul(line.index, width.type(_LINE_BYTES))])
            builder.call(fetch, [address, number(0), number(3), number(1)])  # to read; keep it near; data
        return context.get_dummy_value()

    return types.void(matrix, row), generate


prefetch_row: Any = intrinsic(_prefetch_row)
