"""Inner products of whole numbers of one byte, from compiled code, where the processor has an instruction for them.

AVX-512 VNNI multiplies 64 pairs of bytes and adds the products in fours, in one instruction. The left factor has to be
unsigned and the right one signed. A row's byte plus 128 is unsigned, and 128 times the sum of the query is taken away
again; a query of 15 bits is two digits of one byte each, so a row is read once for both.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils as _untyped
from numba.core import config
from numba.extending import intrinsic

cgutils: Any = _untyped  # numba gives it no types
_LANES: Final = 64
DIGIT: Final = 128
"""A query's number is this times its first digit, plus its second."""
LARGEST_QUERY: Final = 127 * DIGIT + 63


def available() -> bool:
    """Return whether code is compiled for a processor with the instruction."""
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:  # type: ignore[attr-defined]
        return False  # compiled for another processor than this one, whose list of features is all that is at hand
    features = llvmlite.binding.get_host_cpu_features()
    return all(features.get(name, False) for name in ("avx512f", "avx512bw", "avx512vnni"))


def _digit_product(_typing: Any, row: Any, digits: Any) -> Any:
    """Multiply a row with a query of two digits.

    Args:
        row: int8, shape (d,), contiguous.
        digits: int8, shape (2, d), contiguous.

    Returns:
        The inner product of the query and the row plus 128 in every component, int32; what it has too much for 32 bits
        is cut off, so that a difference of two such numbers is right where it fits.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        left = context.make_array(signature.args[0])(context, builder, given[0])
        right = context.make_array(signature.args[1])(context, builder, given[1])
        count = cgutils.unpack_tuple(builder, left.shape)[0]
        byte, size = ir.IntType(8), count.type
        lanes, sums = ir.VectorType(byte, _LANES), ir.VectorType(ir.IntType(32), _LANES // 4)
        chosen = ir.VectorType(ir.IntType(1), _LANES)
        product = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(sums, [sums, lanes, lanes]), "llvm.x86.avx512.vpdpbusd.512"
        )
        masked_load = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(lanes, [byte.as_pointer(), ir.IntType(32), chosen, lanes]),
            "llvm.masked.load.v64i8.p0",
        )
        total = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.IntType(32), [sums]), "llvm.vector.reduce.add.v16i32"
        )
        zero = ir.Constant(lanes, None)
        offset = ir.Constant(lanes, [ir.Constant(byte, -128)] * _LANES)
        totals = [cgutils.alloca_once_value(builder, ir.Constant(sums, None)) for _ in range(2)]
        row_start = builder.bitcast(left.data, byte.as_pointer())
        first = builder.bitcast(right.data, byte.as_pointer())
        starts = [first, builder.gep(first, [count])]

        def add(read: Any, place: Any) -> None:
            unsigned = builder.xor(read(builder.gep(row_start, [place])), offset)
            for kept, start in zip(totals, starts, strict=True):
                digit = read(builder.gep(start, [place]))
                builder.store(builder.call(product, [builder.load(kept), unsigned, digit]), kept)

        def whole(address: Any) -> Any:
            loaded = builder.load(builder.bitcast(address, lanes.as_pointer()))
            loaded.align = 1
            return loaded

        full = builder.and_(count, size(-_LANES))
        with cgutils.for_range_slice(builder, size(0), full, size(_LANES)) as (place, _):
            add(whole, place)
        rest = builder.sub(count, full)
        with builder.if_then(builder.icmp_unsigned(">", rest, size(0))):
            # The lanes beyond the end are read as 0, and 0 is what the query holds there.
            bits = builder.sub(builder.shl(size(1), rest), size(1))
            mask = builder.bitcast(bits, chosen)
            add(lambda address: builder.call(masked_load, [address, ir.IntType(32)(1), mask, zero]), full)
        first_sums, second_sums = (builder.load(kept) for kept in totals)
        weighted = builder.mul(first_sums, ir.Constant(sums, [ir.Constant(ir.IntType(32), DIGIT)] * (_LANES // 4)))
        return builder.call(total, [builder.add(weighted, second_sums)])

    return types.int32(row, digits), generate


digit_product: Any = intrinsic(_digit_product)
