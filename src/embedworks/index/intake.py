"""The door of the index: ids, vectors, texts and attributes are brought to their stored form, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from embedworks.foundation import InputError
from embedworks.index.typed_conditions import type_in_words

Strings: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray
Texts: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray
Columns: TypeAlias = pa.Table | Mapping[str, Any]

RESERVED_NAMES = ("id", "text", "score", "vector")
# Between these no square of a component is lost, and NaN is not between them.
SAFE_SQUARES = (1e-60, 1e200)
_NORM_FLOOR = 1e-30
_BLOCK_ROWS = 8_192


def checked_count(value: object, *, name: str) -> int:
    """Return a whole number from 1 on, or refuse it under its argument's name."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{value!r} cannot be used", where=name, mend="pass a whole number from 1 on")
    return int(value)


def checked_ids(ids: Strings) -> pa.Array:
    """Return the ids as an Arrow array of distinct strings.

    Args:
        ids: One string a row.

    Returns:
        Strings, length (rows,).

    Raises:
        InputError: An id is no string, is empty, or occurs twice; the row is named.
    """
    if isinstance(ids, str):
        raise InputError("one string was given", where="ids", mend="pass a list of ids")
    values = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else list(ids)
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value:
            raise InputError(
                f"{value!r} is no id", where=f"ids, row {row}", mend="an id is a string of one or more signs"
            )
        if value in first:
            mend = f"it stands in row {first[value]} already; keep one of them"
            raise InputError(f"the id {value!r} occurs twice", where=f"ids, row {row}", mend=mend)
        first[value] = row
    return _strings(values, "ids")


def checked_texts(texts: Texts | None, rows: int) -> pa.Array:
    """Return the texts as an Arrow array; absent ones are null.

    Args:
        texts: One string or None a row, or None when there are no texts.
        rows: The number of rows there must be.

    Returns:
        Strings, length (rows,).

    Raises:
        InputError: There are too many or too few, or one is no string.
    """
    if texts is None:
        return pa.nulls(rows, pa.string())
    if isinstance(texts, str):
        raise InputError("one string was given", where="texts", mend="pass a list of texts")
    values = texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)
    if len(values) != rows:
        raise InputError(f"{len(values)} texts for {rows} ids", where="texts", mend="pass one text an id")
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{value!r} is no text", where=f"texts, row {row}", mend="pass a string or None")
    return _strings(values, "texts")


def checked_vectors(vectors: ArrayLike, ids: pa.Array, dimension: int) -> NDArray[np.float32]:
    """Return the vectors as float32 rows of unit length.

    Args:
        vectors: Real numbers, shape (rows, dimension), any floating or whole type.
        ids: The rows' ids, for the error message.
        dimension: The dimension of the index.

    Returns:
        float32, shape (rows, dimension), each row of Euclidean length 1.

    Raises:
        InputError: The shape is wrong, or a row holds NaN or infinity or is zero (its cosine has no meaning).
    """
    array = np.asarray(vectors)
    if array.size == 0 and len(ids) == 0:
        return np.zeros((0, dimension), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dimension:
        mend = f"the index holds vectors of dimension {dimension}"
        raise InputError(f"the shape is {array.shape}", where="vectors", mend=mend)
    if array.shape[0] != len(ids):
        raise InputError(f"{array.shape[0]} vectors for {len(ids)} ids", where="vectors", mend="pass one vector an id")
    rows = np.empty((len(ids), dimension), dtype=np.float32)
    for start in range(0, len(ids), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        rows[block] = unit_rows(array[block], name="vectors", ids=ids, first_row=start)
    return rows


def checked_query(vector: ArrayLike, dimension: int, *, name: str = "vector") -> NDArray[np.float64]:
    """Return query vectors as float64 rows of unit length.

    Args:
        vector: Real numbers, shape (queries, dimension).
        dimension: The dimension of the index.
        name: What the error message calls them.

    Returns:
        float64, shape (queries, dimension).

    Raises:
        InputError: As :func:`checked_vectors`.
    """
    array = np.asarray(vector)
    if array.ndim != 2 or array.shape[1] != dimension:
        mend = f"the index holds vectors of dimension {dimension}; was it built with another model?"
        raise InputError(f"the shape is {array.shape}", where=name, mend=mend)
    if array.dtype.kind not in "fiu" or len(array) == 0:
        return unit_rows(array, name=name, ids=None)
    return np.stack([_unit_row(vector, row=row, name=name) for row, vector in enumerate(array)])


def _unit_row(vector: NDArray[Any], *, row: int, name: str) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector.astype(np.float64)
    # Added one by one, as compiled code does it: then both give the same bits.
    square = float(np.cumsum(unit * unit)[-1]) if len(unit) else 0.0
    if SAFE_SQUARES[0] < square < SAFE_SQUARES[1]:
        unit /= math.sqrt(square)
        return unit
    (unit,) = unit_rows(vector[np.newaxis], name=name, ids=None, first_row=row)
    return unit


def unit_rows(array: NDArray[Any], *, name: str, ids: pa.Array | None, first_row: int = 0) -> NDArray[np.float64]:
    """Divide each row by its Euclidean length, in float64; refuse what has none."""
    if array.dtype.kind not in "fiu":
        raise InputError(f"the type is {array.dtype}", where=name, mend="pass real numbers, best float32")
    rows = array.astype(np.float64)
    squares = np.einsum("rd,rd->r", rows, rows)
    if ((squares > SAFE_SQUARES[0]) & (squares < SAFE_SQUARES[1])).all():
        rows /= np.sqrt(squares)[:, np.newaxis]
        return rows

    def row_name(row: int) -> str:
        row += first_row
        return f"{name}, row {row}" + ("" if ids is None else f" (id {ids[row].as_py()!r})")

    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise InputError(
            "the vector holds NaN or infinity", where=row_name(int(np.argmin(finite))), mend="encode this item again"
        )
    # Scaling by the largest component first keeps the squares of tiny and huge components within range.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    zero = largest[:, 0] <= _NORM_FLOOR
    if zero.any():
        raise InputError(
            "the vector is zero, it has no direction", where=row_name(int(np.argmax(zero))), mend="leave the item out"
        )
    rows /= largest
    rows /= np.sqrt(np.einsum("rd,rd->r", rows, rows))[:, np.newaxis]
    return rows


def checked_attributes(attributes: Columns | None, rows: int, schema: pa.Schema) -> pa.Table:
    """Return the attributes in their stored types, and refuse what disagrees with the index.

    Args:
        attributes: Columns by name, each of length (rows,): numbers, dates, strings, booleans or lists of strings.
        rows: The number of rows there must be.
        schema: The attributes the index has already; new names extend it.

    Returns:
        A table of the given columns; NaN has become null, as in SQL; a set holds each member once.

    Raises:
        InputError: A name is reserved or occurs twice, a length or type is wrong, or a type differs from the index's.
    """
    columns: dict[str, pa.Array] = {}
    if isinstance(attributes, pa.Table):
        pairs = list(zip(attributes.column_names, attributes.columns, strict=True))
    else:
        pairs = list((attributes or {}).items())
    for name, values in pairs:
        where = f"attribute {name!r}"
        if not isinstance(name, str) or not name or name in RESERVED_NAMES:
            mend = f"{', '.join(RESERVED_NAMES)} are reserved; rename the column"
            raise InputError("this name cannot be used", where=where, mend=mend)
        if name in columns:
            raise InputError("this name occurs twice", where=where, mend="rename one of the columns")
        column = _stored_column(_as_array(values, where), where)
        if len(column) != rows:
            raise InputError(f"{len(column)} values for {rows} ids", where=where, mend="pass one value an id")
        position = schema.get_field_index(name)
        known = schema.field(position).type if position >= 0 else None
        if known is not None and known != column.type:
            column = _fitted(column, known, where)
        columns[name] = column
    return pa.table(columns) if columns else pa.table({})


def _as_array(values: Any, where: str) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, str):
        raise InputError("one string was given", where=where, mend="pass one value an id")
    try:
        return pa.array([sorted(value) if isinstance(value, set | frozenset) else value for value in values])
    except (pa.ArrowException, TypeError, OverflowError) as error:
        mend = "one attribute holds one kind: numbers, dates, strings, booleans or lists of strings"
        raise InputError(f"the values cannot be read together: {error}", where=where, mend=mend) from error


def _stored_column(column: pa.Array, where: str) -> pa.Array:
    """Bring a column to one of the eight stored types."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    target: pa.DataType | None = None
    if pa.types.is_null(kind) or pa.types.is_boolean(kind):
        target = kind
    elif pa.types.is_integer(kind):
        target = pa.int64()
    elif pa.types.is_floating(kind):
        target = pa.float64()
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        target = pa.string()
    elif pa.types.is_date(kind):
        target = pa.date32()
    elif pa.types.is_timestamp(kind):
        target = pa.timestamp("us", tz="UTC" if kind.tz else None)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = kind.value_type
        if any(test(inner) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)):
            target = pa.list_(pa.string())
    if target is None:
        mend = "an attribute holds numbers, dates, strings, booleans or lists of strings"
        raise InputError(f"the type {kind} is not supported", where=where, mend=mend)
    try:
        column = column.cast(target)
    except pa.ArrowException as error:
        raise InputError(f"a value does not fit {target}: {error}", where=where, mend="check the values") from error
    if pa.types.is_floating(target):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    if pa.types.is_list(target) and column.flatten().null_count:
        row = pc.list_parent_indices(column).filter(pc.is_null(column.flatten()))[0].as_py()
        raise InputError("a set holds a null", where=f"{where}, row {row}", mend="leave the null out")
    if pa.types.is_list(target):
        members = pa.table({"row": pc.list_parent_indices(column), "member": column.flatten()})
        if members.group_by(["row", "member"]).aggregate([]).num_rows < members.num_rows:
            sets = [None if members is None else list(dict.fromkeys(members)) for members in column.to_pylist()]
            column = pa.array(sets, target)
    return column


def _fitted(column: pa.Array, known: pa.DataType, where: str) -> pa.Array:
    """Bring a column to the type the index has for it, where nothing is lost by that."""
    if pa.types.is_null(column.type):
        return pa.nulls(len(column), known)
    if pa.types.is_null(known):
        return column
    if pa.types.is_integer(column.type) and pa.types.is_floating(known):
        try:
            return column.cast(known)
        except pa.ArrowException as error:
            raise InputError(f"a value does not fit {known}: {error}", where=where, mend="check the values") from error
    raise InputError(
        f"the index holds {type_in_words(known)} there, these values are {type_in_words(column.type)}",
        where=where,
        mend="convert the values, or use another name",
    )


def _strings(values: list[str | None], where: str) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeEncodeError) as error:
        mend = "a string holds half a surrogate pair; decode the source again"
        raise InputError("a value is no valid Unicode", where=where, mend=mend) from error
