"""The rows of a batch, each as `capture.features` would show it alone: masked, bounded, plain.

What many rows have in common is done once for all of them: a column of ordinary numbers is looked at as a whole,
a name is judged once, equal texts are masked once. That is several times as fast as row by row. Whatever cannot be
told for a whole column goes row by row, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, Literal, NamedTuple, Protocol

from otel_ml import capture, redaction, summaries
from otel_ml.audit import row_columns
from otel_ml.redaction import Redactor

_MOST_NAMES = 256  # of a dict's keys in a copy
_SMALL_ROW = 48 * 1024  # bytes, safely below the budget of a copy: nothing of such a row is cut
_SAMPLED_ROW = 1024 * 1024  # bytes of an array above which its statistics are those of a sample
_FEW = 3  # rows that are not worth it to be taken together
_LEAST_CARD = 10**14
_NO_TEXTS: frozenset[type] = frozenset((float, int, bool, type(None)))


class Rows(Protocol):
    """Rows of any kind."""

    def alone(self) -> Iterator[Any]:
        """Yield each row as a value by itself, not masked."""

    def together(self, redactor: Redactor) -> Iterator[Any] | None:
        """Return the masked rows, or None when that has to be done for each by itself."""


def masked(rows: Rows) -> Iterator[Any]:
    """Return the rows as an audit record may carry them.

    Args:
        rows: A private copy.
    """
    redactor = redaction.current()
    quick = rows.together(redactor) if redactor.repeatable else None  # else a callback wants to see each value
    return map(capture.features, rows.alone()) if quick is None else quick


class Matrix(NamedTuple):
    """Rows of a two-dimensional array that are too long to be shown: their shape and statistics.

    Args:
        array: numpy array of more than 32 columns.
    """

    array: Any

    def alone(self) -> Iterator[Any]:
        """See `Rows`."""
        return iter(self.array)

    def together(self, redactor: Redactor) -> Iterator[Any] | None:
        """See `Rows`."""
        array = self.array
        row = array[0]
        if row.dtype.kind not in "iuf" or row.itemsize > 8 or row.nbytes > _SAMPLED_ROW or hasattr(row, "mask"):
            return None
        low, high = array.min(axis=1), array.max(axis=1)
        if not (low.min() > -_LEAST_CARD and high.max() < _LEAST_CARD):  # it is not, with a NaN
            return None
        wide = array.astype("float64", copy=False)
        shared = {"shape": [array.shape[1]], "dtype": str(array.dtype), "n_nan": 0}
        columns = (low.tolist(), high.tolist(), wide.mean(axis=1).tolist(), wide.std(axis=1).tolist())
        shown = (
            {**shared, "min": least, "max": most, "mean": mean, "std": std}
            for least, most, mean, std in zip(*columns, strict=True)
        )
        first = next(shown)
        return chain((first,), shown) if redactor.value(first) is first else None


class Sparse(NamedTuple):
    """Rows of a sparse matrix that are too long to be shown: their shape, and statistics of what is not 0.

    Args:
        matrix: scipy matrix in CSR format.
    """

    matrix: Any

    def alone(self) -> Iterator[Any]:
        """See `Rows`."""
        data, ends = self.matrix.data, self.matrix.indptr.tolist()
        shared = {"shape": [self.matrix.shape[1]], "dtype": str(self.matrix.dtype)}
        for start, end in pairwise(ends):
            yield {**shared, "nnz": end - start, **summaries.statistics(data[start:end], "numpy")}

    def together(self, redactor: Redactor) -> None:
        """See `Rows`."""


class Columns(NamedTuple):
    """Rows that all have the same cells.

    Args:
        kind: Whether a row is a dict, a list, or its only cell.
        names: Of the cells, where they are named.
        cells: One sequence a column, each as long as there are rows.
    """

    kind: Literal["named", "unnamed", "scalar"]
    names: Sequence[Any]
    cells: Sequence[Sequence[Any]]

    def alone(self) -> Iterator[Any]:
        """See `Rows`."""
        if self.kind == "scalar":
            return iter(self.cells[0])
        rows = zip(*self.cells, strict=True)
        if self.kind == "unnamed":
            return map(list, rows)
        names = row_columns.texts_of(self.names)
        return (dict(zip(names, row, strict=True)) for row in rows)

    def together(self, redactor: Redactor) -> Iterator[Any] | None:
        """See `Rows`."""
        if self.kind == "scalar":
            found = row_columns.masked(self.cells[0], redactor)
            return iter(found[0]) if found is not None and found[1] < _SMALL_ROW else None
        if self.kind == "unnamed":
            return self._lists(redactor)
        return self._dicts(redactor) if len(self.names) <= _MOST_NAMES else None

    def _lists(self, redactor: Redactor) -> Iterator[list[Any]] | None:
        # In a list of texts one may be the name of the next; a list of many numbers is shown as statistics.
        if len(self.cells) > summaries.MOST_ROWS or not all(_NO_TEXTS.issuperset(map(type, c)) for c in self.cells):
            return None
        columns = [found[0] for cells in self.cells if (found := row_columns.masked(cells, redactor)) is not None]
        return map(list, zip(*columns, strict=True))

    def _dicts(self, redactor: Redactor) -> Iterator[dict[str, Any]] | None:
        shown, secrets, size = row_columns.names_of(tuple(self.names), redactor)
        budget = _SMALL_ROW - size
        columns: list[Sequence[Any]] = []
        for cells, secret in zip(self.cells, secrets, strict=True):
            found = row_columns.hidden(cells, secret) if secret else row_columns.masked(cells, redactor)
            if found is None or (budget := budget - found[1]) < 0:
                return None
            columns.append(found[0])
        return (dict(zip(shown, row, strict=False)) for row in zip(*columns, strict=True))


class Loose(NamedTuple):
    """Rows that may differ from each other, and may hold other containers.

    Args:
        values: One plain value a row.
    """

    values: list[Any]

    def alone(self) -> Iterator[Any]:
        """See `Rows`."""
        return iter(self.values)

    def together(self, redactor: Redactor) -> Iterator[Any] | None:
        """See `Rows`: dicts that have the same names are columns again."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place, value in enumerate(self.values):
            if type(value) is not dict:
                return None
            groups.setdefault(tuple(value), []).append(place)
        shown: list[Any] = [None] * len(self.values)
        for names, places in groups.items():
            rows = [self.values[place] for place in places]
            for place, row in zip(places, self._of_one_kind(names, rows, redactor), strict=True):
                shown[place] = row
        return iter(shown)

    def _of_one_kind(self, names: tuple[Any, ...], rows: list[Any], redactor: Redactor) -> Iterator[Any]:
        found = None
        if len(rows) > _FEW and names and set(map(type, names)) == {str}:
            found = Columns("named", names, list(zip(*map(dict.values, rows), strict=True))).together(redactor)
        return map(capture.features, rows) if found is None else found
