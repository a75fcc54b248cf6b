"""Which files hold the records, each record once, and their lines as a stream that SQL can scan."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_ml.audit.extras import require
from otel_ml.audit.reading import suspects
from otel_ml.audit.segment import OPEN, SEALED, parse
from otel_ml.errors import Error

_BLOCK = 8 * 1024 * 1024
_PARQUET = ".parquet"


class SegmentError(Error):
    """A segment cannot be read as it is."""


@dataclass(frozen=True, slots=True)
class Source:
    """One segment.

    Args:
        stem: Its name without endings; the same for all of its files.
        lines: Its JSON lines, or None when they are gone.
        parquet: Its compacted copy, or None.
        confirmed: Of a segment whose sync failed, the last sequence number that is known to be on the disk.
    """

    stem: str
    lines: Path | None
    parquet: Path | None = None
    confirmed: int | None = None

    @property
    def segment(self) -> str:
        """The name of the sealed segment, which is in the column `segment`."""
        return f"{self.stem}{SEALED}"

    @property
    def is_open(self) -> bool:
        """Whether a process may still append to it."""
        return self.lines is not None and self.lines.name.endswith(OPEN)


def find(directory: Path) -> list[Source]:
    """Return the segments of a directory in the order of their names; none when there is no such directory.

    Args:
        directory: Audit directory.
    """
    names = sorted(filter(parse, _names(directory)), reverse=True)  # a sealed one comes last, and takes the place
    lines = {name.removesuffix(".open").removesuffix(SEALED): directory / name for name in names}
    folder = directory / "parquet"
    compacted = {
        name.removesuffix(_PARQUET): folder / name
        for name in _names(folder)
        if name.endswith(_PARQUET) and not name.startswith(".")
    }
    doubtful = suspects.find(directory)
    return [
        Source(stem, lines.get(stem), compacted.get(stem), doubtful.get(f"{stem}{SEALED}"))
        for stem in sorted(lines.keys() | compacted.keys())
    ]


def _names(directory: Path) -> set[str]:
    """List a folder twice: a file that is renamed during one list may be missing there, but not in both."""
    try:
        return {*os.listdir(directory), *os.listdir(directory)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def open_lines(source: Source) -> Any:
    """Open the lines of a segment for reading, also when it was sealed since; None when they were deleted since."""
    for path in (source.lines, source.lines and source.lines.with_name(source.segment)):
        try:
            if path is not None:
                return path.open("rb", buffering=0)
        except FileNotFoundError:
            continue
    return None


class Lines:
    """The lines of segments as an Arrow stream with the columns `segment` and `line`, read anew for each scan.

    A database that is given this cannot reach the files: it has a stream of their content. The last line of an open
    segment counts when it is whole.

    Args:
        sources: The segments to read.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._arrow = require("pyarrow", "audit", "to query the audit trail")
        self._compute = require("pyarrow.compute", "audit", "to query the audit trail")
        self._schema = self._arrow.schema([("segment", self._arrow.string()), ("line", self._arrow.large_string())])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Start a scan, as the Arrow PyCapsule interface asks for."""
        reader = self._arrow.RecordBatchReader.from_batches(self._schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[Any]:
        for source in self._sources:
            for block in _blocks(source):
                split = self._compute.split_pattern(self._arrow.array([block], self._arrow.large_binary()), b"\n")
                lines = self._compute.list_flatten(split).cast(self._arrow.large_string())
                yield self._arrow.record_batch([self._arrow.repeat(source.segment, len(lines)), lines], self._schema)


def _blocks(source: Source) -> Iterator[bytes]:
    """Yield whole lines in blocks, without the line break that ends each block."""
    file = open_lines(source)
    if file is None:
        return
    with file:
        if source.confirmed is not None:
            lines = suspects.counted_lines(Path(file.name), source.segment, source.confirmed)
            yield from [b"\n".join(lines)] if lines else []
            return
        rest = b""
        while data := file.read(_BLOCK):
            rest += data
            end = rest.rfind(b"\n")
            if end >= 0:
                yield rest[:end]
                rest = rest[end + 1 :]
    if rest and not source.is_open:
        raise SegmentError(
            f"{source.segment}: expected a line break at the end, received half a line. "
            "`otel-ml audit verify` says more."
        )
