"""One call for many rows, as one record a row: copied by the caller at once, taken apart behind the queue."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

from otel_ml import capture, health, summaries
from otel_ml.audit import row_copies, row_kinds
from otel_ml.audit.row_copies import RowsCopy

_MOST_BYTES = 32 * 1024 * 1024  # half of what the queue holds by default: one larger batch would be dropped there
_SUMMARY_BYTES = 1024


class Batch:
    """Features and predictions of one call for rows, that nobody else can change.

    `Batch.of` makes it. A batch of more than `max_rows` rows, or of more than 32 MiB, is a summary: one record that
    stands for all of its rows, which is made on the spot at a cost that does not grow with them. A single row is shown
    as it would be among others, in the one record of its call.
    """

    __slots__ = ("_features", "_is_split", "_kind", "_prediction", "is_summary", "length", "size")

    length: int
    """Rows of the call; a summary stands for so many."""
    is_summary: bool
    """Whether there is one record for all rows, as there is of a single one."""
    size: int
    """Bytes that the copies take, roughly."""
    _is_split: bool
    _kind: str
    _features: Any
    _prediction: Any

    @classmethod
    def of(cls, features: object, prediction: object, max_rows: int) -> Batch | None:
        """Return a private copy of a call's batch, or None when its features are no rows.

        Never raises, and is cheap: a table or array is copied once by its library, and no row is looked into.

        Args:
            features: Anything; a batch is a table of pandas, polars or pyarrow, a two-dimensional array of numpy, a
                sparse matrix of scipy, or a list or tuple of dicts, lists, tuples or arrays.
            prediction: Anything. A sequence of as many items goes to the rows one by one, anything else to each whole.
            max_rows: Rows above which the call is one summary.
        """
        try:
            length = row_copies.length(features, of_scalars=False)
            if not length:
                return None
            batch = cls.__new__(cls)
            batch._kind = summaries.type_name(type(features))
            batch.length = length
            batch._is_split = length <= max_rows and row_copies.size(features) <= _MOST_BYTES
            batch.is_summary = length == 1 or not batch._is_split
            batch._features = row_copies.copied(features) if batch._is_split else capture.features(features)
            batch.size = _size_of(batch._features)
            batch.predicted(prediction)
            return batch
        except Exception as error:  # a subclass of a known class may do anything
            health.internal_error("copy of a batch", error)
            return None

    def predicted(self, prediction: object) -> None:
        """Add what a call has returned to a batch that was copied before it, for the model may change its input.

        Never raises.

        Args:
            prediction: See `of`.
        """
        self._prediction = None
        if prediction is None:
            return
        try:
            is_split = self._is_split and row_copies.length(prediction, of_scalars=True) == self.length
            self._prediction = row_copies.copied(prediction) if is_split else capture.features(prediction)
        except Exception as error:  # as above
            health.internal_error("copy of a batch", error)
            self._prediction = f"<type {summaries.type_name(type(prediction))}>"
        self.size += _size_of(self._prediction)

    def rows(self) -> Iterator[tuple[int, Any, Any]]:
        """Yield each row's index, features and prediction: plain, masked, bounded data that JSON can hold.

        A row with named columns is a dict, one without a list, and a description where it is too long to be shown:
        what `capture.features` gives for the row alone. A summary yields once, with index 0. Rows that cannot be read
        are told by the type of the batch. Raises nothing.
        """
        records = 1 if self.is_summary else self.length
        yield from zip(range(records), self._shown(self._features), self._shown(self._prediction), strict=False)

    def _shown(self, copy: RowsCopy | Any) -> Iterator[Any]:
        if type(copy) is not RowsCopy:
            return repeat(copy)
        try:
            return row_kinds.masked(copy.read())
        except Exception as error:  # such as a key that is no key any more as plain data
            health.internal_error("reading of a batch", error)
            return repeat(f"<type {self._kind}>")


def _size_of(copy: RowsCopy | Any) -> int:
    return copy.size if type(copy) is RowsCopy else _SUMMARY_BYTES
