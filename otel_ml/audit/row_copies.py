"""A private copy of a batch, made on the caller: as cheap as the kind of batch allows, and read on another thread.

Tables and arrays are copied by their own library, which is told by class and not imported. Rows that are lists or
dicts of plain values become columns; what they hold beside plain values is pickled, in C and without running code of
a value's own, because a copy of the outer dict alone would still show later changes inside.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from otel_ml import redaction, summaries
from otel_ml.audit.row_kinds import Columns, Loose, Matrix, Rows, Sparse
from otel_ml.plain_copy import copy_of

_CELL_BYTES = 8
_OBJECT_BYTES = 48  # of a number or short text as an object, roughly
_IMMUTABLE: frozenset[type] = frozenset(
    (type(None), bool, int, float, str, bytes, complex, date, datetime, time, timedelta, Decimal, UUID)
)


class RowsCopy(NamedTuple):
    """Rows that nobody else can change.

    Args:
        size: Bytes that they take, roughly.
        read: Returns them; to be called where time does not matter.
    """

    size: int
    read: Callable[[], Rows]


def length(value: Any, *, of_scalars: bool) -> int | None:
    """Return how many rows a value has, or None where its items are no rows; the time does not depend on the size.

    Args:
        value: Anything.
        of_scalars: Whether a sequence of bare values has rows too, as the predictions for a batch have.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return len(value) if of_scalars or (len(value) and _is_row(value[0])) else None
    known = summaries.recognised(kind)
    if known is None or known not in _COPIES:
        return None
    lengths = summaries.shape(value)
    has_rows = (len(lengths) == 2 and lengths[1] > 0) or (of_scalars and len(lengths) == 1)
    return lengths[0] if has_rows else None


def size(value: Any) -> int:
    """Return how many bytes a copy would take, as far as that can be told without a look at each row; else 0."""
    known = summaries.recognised(type(value))
    if known is None or known not in _COPIES:
        return 0
    if known[0] == "scipy":
        return int(value.nnz) * 2 * _CELL_BYTES
    if known[0] == "numpy":
        return int(value.nbytes)
    lengths = summaries.shape(value)
    return lengths[0] * (lengths[1] if len(lengths) == 2 else 1) * _CELL_BYTES


def copied(value: Any) -> RowsCopy:
    """Return a copy of a value that has a `length`.

    Args:
        value: A table, array, or list of rows.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        return _sequence(value)
    return _COPIES[summaries.recognised(kind)](value)  # type: ignore[index]  # `length` has looked


def _is_row(item: object) -> bool:
    kind = type(item)
    if issubclass(kind, (dict, list, tuple)):
        return True
    known = summaries.recognised(kind)
    return known is not None and known[1] == "array"


def _sequence(rows: Sequence[Any]) -> RowsCopy:
    kinds = set(map(type, rows))
    found: Columns | None = None
    if kinds == {dict}:
        found = _of_dicts(rows)
    elif kinds <= {list, tuple}:
        cells = list(zip(*rows, strict=True)) if len(set(map(len, rows))) == 1 else []
        found = Columns("unnamed", (), cells) if cells else None
    elif kinds <= _IMMUTABLE:
        found = Columns("scalar", (), [tuple(rows)])
    if found is None or not _IMMUTABLE.issuperset(map(type, chain.from_iterable(found.cells))):
        return _pickled_rows(list(rows))
    return RowsCopy(len(rows) * len(found.cells) * _OBJECT_BYTES, lambda: found)


def _of_dicts(rows: Sequence[dict[Any, Any]]) -> Columns | None:
    """Return the values of dicts that have the same keys in the same order as columns, which are a copy of them."""
    names = tuple(rows[0])
    if not names or set(map(type, names)) != {str} or not all(map(names.__eq__, map(tuple, rows))):
        return None
    return Columns("named", names, list(zip(*map(dict.values, rows), strict=True)))


class _PlainPickler(pickle.Pickler):
    """Copies plain containers as they are; everything else as what it is shown as."""

    def reducer_override(self, value: Any) -> Any:
        if value is _same:
            return NotImplemented
        return _same, (copy_of(value, mask=redaction.current().text),)


def _same(value: Any) -> Any:
    return value


def _pickled(values: list[Any]) -> bytes:
    try:
        return _dumped(values)
    except Exception:  # too deep, or being changed by another thread: row by row, where nothing raises
        return _dumped([copy_of(value, mask=redaction.current().text) for value in values])


def _dumped(values: list[Any]) -> bytes:
    target = io.BytesIO()
    _PlainPickler(target, pickle.HIGHEST_PROTOCOL).dump(values)
    return target.getvalue()


def _pickled_rows(rows: list[Any]) -> RowsCopy:
    data = _pickled(rows)
    return RowsCopy(len(data), lambda: Loose(pickle.loads(data)))  # our own bytes, of a moment ago


def _pandas_table(table: Any) -> RowsCopy:
    frame = sys.modules["pandas"].DataFrame.copy(table)
    names = tuple(frame.columns)
    changeable: dict[int, bytes] = {}
    plain = 0
    for place, dtype in enumerate(frame.dtypes.array):
        plain += dtype.kind in "biufmM"
        if dtype.kind == "O" and str(dtype) == "object":
            cells = frame.iloc[:, place].tolist()
            if not _IMMUTABLE.issuperset(map(type, cells)):
                changeable[place] = _pickled(cells)
    taken = len(frame) * (plain * _CELL_BYTES + (len(names) - plain) * _OBJECT_BYTES)
    return RowsCopy(taken + sum(map(len, changeable.values())), partial(_read_pandas, frame, names, changeable))


def _read_pandas(frame: Any, names: tuple[Any, ...], changeable: dict[int, bytes]) -> Rows:
    cells = [
        pickle.loads(changeable[place]) if place in changeable else frame.iloc[:, place].tolist()
        for place in range(len(names))
    ]
    return Columns("named", names, cells)


def _polars_table(table: Any) -> RowsCopy:
    # Its data is shared and never written to: an assignment makes a new column.
    frame = table.clone()
    columns = range(len(frame.columns))
    return RowsCopy(
        int(frame.estimated_size()),
        lambda: Columns("named", tuple(frame.columns), [frame.to_series(place).to_list() for place in columns]),
    )


def _arrow_table(table: Any) -> RowsCopy:
    names = tuple(table.schema.names)
    columns = range(len(names))
    return RowsCopy(table.nbytes, lambda: Columns("named", names, [table.column(p).to_pylist() for p in columns]))


def _series(series: Any) -> RowsCopy:
    own = series.clone() if summaries.recognised(type(series))[0] == "polars" else series.copy()  # type: ignore[index]
    if own.dtype == object:
        return _sequence(own.to_list())
    return RowsCopy(len(own) * _CELL_BYTES, lambda: Columns("scalar", (), [own.to_list()]))


def _numpy(array: Any) -> RowsCopy:
    is_masked = any(base.__name__ == "MaskedArray" for base in summaries.mro(type(array)))
    own = sys.modules["numpy"].array(array, subok=is_masked)  # what is masked stays so; no other subclass is of use
    if own.dtype.kind == "O":
        return _pickled_rows(own.tolist())
    if own.ndim == 1:
        return RowsCopy(own.nbytes, lambda: Columns("scalar", (), [summaries.items(own, "numpy")]))
    if own.shape[1] <= summaries.MOST_ROWS:
        return RowsCopy(own.nbytes, lambda: Columns("unnamed", (), list(_columns_of(own))))
    return RowsCopy(own.nbytes, lambda: Matrix(own))


def _columns_of(array: Any) -> Iterator[list[Any]]:
    return (summaries.items(array[:, place], "numpy") for place in range(array.shape[1]))


def _scipy(matrix: Any) -> RowsCopy:
    own = matrix.copy()
    if own.shape[1] <= summaries.MOST_ROWS:
        return RowsCopy(size(own), lambda: Columns("unnamed", (), list(_columns_of(own.toarray()))))
    return RowsCopy(size(own), lambda: Sparse(own.tocsr()))


_COPIES: dict[tuple[str, str], Callable[[Any], RowsCopy]] = {
    ("pandas", "table"): _pandas_table,
    ("polars", "table"): _polars_table,
    ("pyarrow", "table"): _arrow_table,
    ("pandas", "array"): _series,
    ("polars", "array"): _series,
    ("numpy", "array"): _numpy,
    ("scipy", "array"): _scipy,
}
