"""What a query finds, as a file of its own: Parquet or CSV."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import orjson

from otel_ml.audit import place
from otel_ml.audit.extras import require
from otel_ml.audit.reading.query import Parameters, run
from otel_ml.errors import ConfigurationError

EVERYTHING: Final = "SELECT * FROM predictions"
_ROWS_AT_ONCE: Final = 16_384


def export(
    destination: str | Path,
    sql: str = EVERYTHING,
    parameters: Parameters = None,
    *,
    directory: str | Path | None = None,
) -> int:
    """Write what a SELECT finds to a file, and return how many rows it has.

    What is encrypted for a subject is written in clear while the subject's key is there, and is empty once the subject
    was erased: an export is a copy that a later erasure does not reach. The file appears in whole, with mode 0600, and
    takes the place of one of that name.

    Args:
        destination: File to write; its ending, `.parquet` or `.csv`, says how.
        sql: One SELECT statement; default: all predictions.
        parameters: Values for `?` or `$name` in the statement.
        directory: Audit directory; None: that of this process, else the default one.

    Raises:
        ConfigurationError: The ending is another one, the folder does not exist, or is in the audit directory.
        QueryError: The statement is no SELECT, is wrong, or a segment is damaged.
        OSError: The file cannot be written.
    """
    path = _checked(Path(destination).expanduser().absolute(), place.find(directory))
    with _appearing(path) as file:
        if path.suffix == ".csv":
            with run(sql, parameters, directory=directory) as result:
                return write_csv(file, [column[0] for column in result.description], fetched(result))
        with run(sql, parameters, directory=directory, start=_arrow_reader) as reader:
            return _write_parquet(file, reader)


def fetched(result: Any) -> Iterator[Sequence[Any]]:
    """Yield the rows of a result, which are fetched in parts.

    Args:
        result: As `query.run` gives it.
    """
    while rows := result.fetchmany(_ROWS_AT_ONCE):
        yield from rows


def write_csv(file: IO[bytes], names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows as CSV (RFC 4180) with a header, and return how many; what is absent is empty, lists are JSON.

    Args:
        file: Binary file to write to.
        names: Of the columns.
        rows: Their values.
    """
    number = 0
    writer = csv.writer(_Encoder(file))
    writer.writerow(names)
    for row in rows:
        writer.writerow([orjson.dumps(v, default=str).decode() if isinstance(v, list | dict) else v for v in row])
        number += 1
    return number


class _Encoder:
    """The text file that the csv module wants: it has no buffer, and leaves the file below open."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode("utf-8", "backslashreplace"))


def _arrow_reader(connection: Any, sql: str, parameters: Parameters) -> Any:
    return connection.sql(sql, params=parameters).to_arrow_reader(_ROWS_AT_ONCE)


def _write_parquet(file: IO[bytes], reader: Any) -> int:
    parquet = require("pyarrow.parquet", "audit", "to export the audit trail")
    number = 0
    with parquet.ParquetWriter(file, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            number += batch.num_rows
    return number


def _checked(path: Path, trail: Path) -> Path:
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigurationError("export(destination=)", str(path), "a file that ends in .parquet or .csv")
    if not path.parent.is_dir():
        raise ConfigurationError("export(destination=)", str(path), "a file in a folder that exists")
    if path.resolve().is_relative_to(trail.resolve()):
        raise ConfigurationError("export(destination=)", str(path), f"a file outside of the audit directory {trail}")
    return path


@contextmanager
def _appearing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file that gets its name when everything is written."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise
