"""Columns at the door: what each one must hold, and the errors that name file, row and column.

Rows are counted from 1 in messages, as a person counts them; a header line is not a row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedworks.foundation import InputError

Form = Literal["text", "texts", "id", "key", "note", "number"]


@dataclass(frozen=True)
class Column:
    """What one named column of a record kind must hold.

    Args:
        form: ``text`` (a string with something in it), ``texts`` (a list of such strings, which may be empty),
            ``id`` (a unique string; whole numbers become strings), ``key`` (an id or label that may repeat),
            ``note`` (a string that may be empty), ``number`` (a finite number, kept as float64).
        required: Whether a table without the column is refused.
    """

    form: Form
    required: bool = True


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"did you mean 'x'?"`` for the nearest known names, or an empty string.

    Example:
        >>> nearest("txt", ["id", "text"])
        "did you mean 'text'?"
    """
    by_lower = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(repr(by_lower[match]) for match in matches)}?" if matches else ""


def quoted(names: Iterable[str]) -> str:
    """Return names in quotes, separated by commas, at most twenty of them."""
    listed = list(names)
    shown = ", ".join(repr(name) for name in listed[:20])
    return f"{shown} and {len(listed) - 20} more" if len(listed) > 20 else shown


def at(source: str, row: int | None, column: str) -> str:
    """Return the place of a cell for a message; ``row`` counts from 0."""
    return f"{source}, column {column!r}" if row is None else f"{source}, row {row + 1}, column {column!r}"


def checked_columns(
    table: pa.Table,
    specification: Mapping[str, Column],
    *,
    source: str,
    keep_attributes: bool,
    columns: Mapping[str, str] | None = None,
) -> tuple[pa.Table, list[str]]:
    """Return the table in the form that a record kind promises, or refuse it.

    Args:
        table: What came in.
        specification: The kind's columns, in the order they are kept.
        source: Name of the file or object, for messages.
        keep_attributes: Whether further columns are kept, as attributes.
        columns: Our column name to the table's own name, where they differ.

    Returns:
        The checked table, and the names of the columns that were left out.

    Raises:
        InputError: A column is missing, doubled or of a wrong type, or a cell breaks the column's form.
    """
    theirs = _source_names(table, specification, source=source, columns=columns or {})
    if table.num_rows == 0:
        raise InputError("the table has no rows", where=source, mend="give at least one row")
    arrays: dict[str, Any] = {}
    for name, column in specification.items():
        if name in theirs:
            arrays[name] = checked_array(table[theirs[name]], column.form, source=source, column=theirs[name])
    left_out: list[str] = []
    for name in table.column_names:
        if name in theirs.values():
            continue
        if not keep_attributes:
            left_out.append(name)
        elif name in arrays:
            raise InputError(
                f"the column {name!r} is in the way, since {theirs[name]!r} was named to be {name!r}",
                where=source,
                mend=f"rename or drop the column {name!r}",
            )
        else:
            arrays[name] = attribute_array(table[name], source=source, column=name)
    return pa.table(arrays), left_out


def _source_names(
    table: pa.Table, specification: Mapping[str, Column], *, source: str, columns: Mapping[str, str]
) -> dict[str, str]:
    present = table.column_names
    for name in present:
        if present.count(name) > 1:
            raise InputError(f"two columns are named {name!r}", where=source, mend="rename or drop one of them")
    for ours in columns:
        if ours not in specification:
            raise InputError(
                f"columns= names {ours!r}, and there is no such column",
                where=source,
                mend=f"{nearest(ours, specification)} the columns to map are {quoted(specification)}",
            )
    names: dict[str, str] = {}
    for ours, column in specification.items():
        wanted = columns.get(ours, ours)
        if wanted in present:
            names[ours] = wanted
        elif column.required or ours in columns:
            hint = nearest(wanted, present)
            raise InputError(
                f"column {wanted!r} is missing",
                where=source,
                mend=f"the columns are {quoted(present) or 'none'}; {hint}{' ' if hint else ''}"
                f"rename it, or say which one it is with columns={{{ours!r}: ...}}",
            )
    return names


def checked_array(array: Any, form: Form, *, source: str, column: str) -> Any:
    """Return one column in its form, or refuse it with the first offending row."""
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if form == "number":
        return _numbers(array, source=source, column=column)
    if form == "texts":
        return _lists_of_text(array, source=source, column=column)
    return _strings(array, form, source=source, column=column)


def _strings(array: Any, form: Form, *, source: str, column: str) -> Any:
    kind = array.type
    readable = _is_string(kind) or (form in ("id", "key") and pa.types.is_integer(kind))
    readable = readable or (form == "key" and pa.types.is_boolean(kind)) or pa.types.is_null(kind)
    if not readable:
        raise InputError(f"holds {kind}, not text", where=at(source, None, column), mend="write it as strings")
    strings = array.cast(pa.string())
    if form == "note":
        strings = pc.fill_null(strings, "")
    _refuse(pc.is_null(strings), "the cell is missing", "fill it or drop the row", source, column)
    if form != "note":
        blank = pc.equal(pc.utf8_trim_whitespace(strings), "")
        _refuse(blank, "the cell is empty", "fill it or drop the row", source, column)
    _refuse(pc.match_substring(strings, "\0"), "a NUL character", "remove it", source, column)
    if form == "id" and pc.count_distinct(strings).as_py() < len(strings):
        first: dict[str, int] = {}
        for row, value in enumerate(strings.to_pylist()):
            if value in first:
                raise InputError(
                    f"the id {value!r} stands in row {first[value] + 1} already",
                    where=at(source, row, column),
                    mend="make the ids unique",
                )
            first[value] = row
    return strings


def _lists_of_text(array: Any, *, source: str, column: str) -> Any:
    kind = array.type
    if not (
        pa.types.is_null(kind)
        or (_is_list(kind) and (_is_string(kind.value_type) or pa.types.is_null(kind.value_type)))
    ):
        raise InputError(f"holds {kind}, not lists of text", where=at(source, None, column), mend="use list<string>")
    lists = array.cast(pa.list_(pa.string()))
    if lists.null_count:
        lists = pa.chunked_array([pa.array([cell or [] for cell in lists.to_pylist()], type=lists.type)])
    whole = lists.combine_chunks()  # parent indices of a chunked array start anew in every chunk
    flat, parents = pc.list_flatten(whole), pc.list_parent_indices(whole)
    for mask, what in (
        (pc.is_null(flat), "a missing text in the list"),
        (pc.equal(pc.utf8_trim_whitespace(flat), ""), "an empty text in the list"),
        (pc.match_substring(flat, "\0"), "a NUL character"),
    ):
        position = pc.index(mask, True).as_py()
        if position >= 0:
            raise InputError(what, where=at(source, parents[position].as_py(), column), mend="remove it")
    return lists


def _numbers(array: Any, *, source: str, column: str) -> Any:
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(f"holds {kind}, not numbers", where=at(source, None, column), mend="write it as numbers")
    _refuse(pc.is_null(array), "the number is missing", "fill it or drop the row", source, column)
    numbers = array.cast(pa.float64())
    _refuse(pc.invert(pc.is_finite(numbers)), "NaN or infinity", "give a finite number", source, column)
    return numbers


def attribute_array(array: Any, *, source: str, column: str) -> Any:
    """Return a further column as an attribute; NaN means missing, as data frames mean it.

    Raises:
        InputError: The type is no number, date, time, string, boolean or list of strings, or a number is infinite.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.cast(kind.value_type)
        kind = array.type
    if _is_string(kind) or pa.types.is_null(kind):
        strings = array.cast(pa.string())
        _refuse(pc.match_substring(strings, "\0"), "a NUL character", "remove it", source, column)
        return strings
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = array.cast(pa.float64())
        _refuse(pc.is_inf(numbers), "infinity", "give a finite number, or leave the cell empty", source, column)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return array
    if _is_list(kind) and (_is_string(kind.value_type) or pa.types.is_null(kind.value_type)):
        return array.cast(pa.list_(pa.string()))
    raise InputError(
        f"holds {kind}; an attribute may be numbers, dates, strings, booleans or lists of strings",
        where=at(source, None, column),
        mend="convert the column or drop it",
    )


def _is_string(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _refuse(mask: Any, what: str, mend: str, source: str, column: str) -> None:
    position = pc.index(mask, True).as_py()
    if position >= 0:
        raise InputError(what, where=at(source, position, column), mend=mend)


def table_of(
    values: Mapping[str, Sequence[Any]], specification: Mapping[str, Column], *, source: str = "columns"
) -> pa.Table:
    """Build an Arrow table from Python sequences; what is no text where text is wanted is refused with its row.

    Args:
        values: Column name to sequence (list, tuple, NumPy array, Arrow array), all of one length.
        specification: The kind's columns; columns it does not name are attributes.
        source: Name for messages.

    Returns:
        A table with the same columns, types inferred for attributes.

    Raises:
        InputError: Lengths differ, or a cell cannot be kept in its column.
    """
    lengths = {name: len(column) for name, column in values.items()}
    if len(set(lengths.values())) > 1:
        stated = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise InputError(f"columns of different length ({stated})", where=source, mend="give one value a row")
    arrays = {}
    for name, column in values.items():
        form = specification[name].form if name in specification else None
        arrays[name] = _array_of(column, form, source=source, column=name)
    return pa.table(arrays)


def _array_of(values: Any, form: Form | None, *, source: str, column: str) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    cells = list(values)
    if form in ("id", "key"):
        cells = [
            str(cell) if isinstance(cell, (int, np.integer)) and not isinstance(cell, bool) else cell for cell in cells
        ]
    wanted = {"texts": pa.list_(pa.string()), "number": pa.float64(), None: None}.get(form, pa.string())
    if wanted == pa.string():
        for row, cell in enumerate(cells):
            if cell is not None and not isinstance(cell, str):
                raise InputError(
                    f"a value of type {type(cell).__name__}, not text",
                    where=at(source, row, column),
                    mend="convert it to str",
                )
    try:
        return pa.array(cells, type=wanted)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError) as error:
        refused, reason = _first_refused(cells, wanted)
        raise InputError(
            reason or str(error), where=at(source, refused, column), mend="give values of one type"
        ) from None


def _first_refused(cells: list[Any], wanted: Any) -> tuple[int | None, str]:
    """Find the cell that Arrow refuses, alone or together with the first one that is not missing."""
    example = next((cell for cell in cells if cell is not None), None)
    for row, cell in enumerate(cells):
        try:
            pa.array([example, cell], type=wanted)
        except UnicodeEncodeError:
            return row, "text that is no valid Unicode (a lone surrogate)"
        except (pa.ArrowException, OverflowError, TypeError):
            return row, f"a value of type {type(cell).__name__} does not fit this column"
    return None, ""
