"""Tables in files: rows, columns, and names and types of columns; never a value of theirs.

The kind of a file is told by its name. csv, JSON lines and numpy's files are read by the standard library, parquet by
pyarrow where it is installed. The schema is that of the first 1000 rows. Rows of text are counted in files of up to
64 MiB; numpy's files and parquet say how many they have.
"""

from __future__ import annotations

import ast
import csv
import importlib
import importlib.util
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any

MOST_BYTES = 64 * 1024 * 1024
"""Size of a text file up to which its rows are counted."""

_MOST_COLUMNS = 256
_SCHEMA_ROWS = 1000
_LONGEST_LINE = 1024 * 1024
_LONGEST_HEADER = 64 * 1024
_LONGEST_TYPE = 200
_END = "\0"
_INT = r"[+-]?\d+"
_FLOAT = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|nan|[+-]?inf"
_COLUMNS = tuple(  # possessive: a column that is none of a kind is found out in one pass
    (kind, re.compile(f"(?:(?>{cell}){_END})++"))
    for kind, cell in (("int", _INT), ("float", _FLOAT), ("bool", "true|false"))
)
"""Types of text, each a pattern of all cells of a column in lower case, with `_END` behind every cell."""

_JSON_TYPES = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}
_COLUMN_NAME = re.compile(r"[^\W\d][\w .:/%()\[\]-]{0,127}")

Schema = dict[str, str]


def describe(path: Path, size: int) -> dict[str, Any]:
    """Return format, rows, columns and schema of a table; empty when the file is none that is known.

    A file that is not what its name says has its format and `error`, the class of what was raised.

    Args:
        path: A regular file.
        size: Its bytes.
    """
    name = path.name.lower()
    for suffixes, kind, read in _READERS:
        if name.endswith(suffixes):
            try:
                return {"format": kind, **read(path, size <= MOST_BYTES)}
            except Exception as error:  # its text may hold values
                return {"format": kind, "error": type(error).__name__}
    return {}


def _csv(path: Path, count: bool) -> dict[str, Any]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first_line = file.readline(_LONGEST_LINE)
        file.seek(0)
        delimiter = "\t" if path.name.lower().endswith(".tsv") else max(",;\t|", key=first_line.count)
        lines = (row for row in csv.reader(file, delimiter=delimiter) if row)
        first = next(lines, None)
        if first is None:
            return {"rows": 0, "columns": 0, "schema": {}}
        sample = list(islice(lines, _SCHEMA_ROWS))
        named = _is_header(first, sample)
        names = first if named else [f"column_{number}" for number in range(1, len(first) + 1)]
        found = _text_schema(names, sample if named else [first, *sample])
        if not count:
            return {"columns": len(first), "schema": found}
        rows = len(sample) + sum(1 for _ in lines) + (0 if named else 1)
        return {"rows": rows, "columns": len(first), "schema": found}


def _is_header(first: list[str], sample: list[list[str]]) -> bool:
    """Whether a row has the names of columns, not values: all different, all like names, none met again below."""
    unlike = not all(_COLUMN_NAME.fullmatch(cell.strip()) for cell in first) or len(set(first)) < len(first)
    below = (row[: len(first)] for row in sample[:100])
    return not unlike and not any(cell == name for row in below for cell, name in zip(row, first, strict=False))


def _text_schema(names: list[str], rows: list[list[str]]) -> Schema:
    width = min(len(names), _MOST_COLUMNS)
    columns = zip_longest(*(row[:width] for row in rows), fillvalue="")
    types = [_text_type([cell for cell in column if cell]) for column in columns]
    return {name: found or "empty" for name, found in zip_longest(names[:width], types[:width])}


def _text_type(cells: list[str]) -> str | None:
    """Return the type that all cells of a column have: `float` for numbers, `str` for what is mixed; None: no cells."""
    if not cells:
        return None
    text = _END.join([*map(str.strip, cells), ""]).lower()
    found = next((kind for kind, pattern in _COLUMNS if pattern.fullmatch(text)), "str")
    return found if text.count(_END) == len(cells) else "str"


def _merged(known: str | None, new: str) -> str:
    """Return the type of a column that has both; `mixed` where they are not both numbers."""
    if known in (None, new):
        return new
    return "float" if {known, new} == {"int", "float"} else "mixed"


def _json_lines(path: Path, count: bool) -> dict[str, Any]:
    with path.open("rb") as file:
        lines = (line for line in iter(lambda: file.readline(_LONGEST_LINE), b"") if line.strip())
        sample = [json.loads(line) for line in islice(lines, _SCHEMA_ROWS)]
        types: dict[str, str] = {}
        for record in sample:
            for name, value in record.items() if isinstance(record, dict) else ():
                if value is not None and (name in types or len(types) < _MOST_COLUMNS):
                    types[name] = _merged(types.get(name), _JSON_TYPES[type(value)])
        table = {"columns": len(types), "schema": types}
        return {"rows": len(sample) + sum(1 for _ in lines), **table} if count else table


def _npy(path: Path, count: bool) -> dict[str, Any]:
    with path.open("rb") as file:
        return _array(*_npy_header(file))


def _npz(path: Path, count: bool) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".npy")]
        schema = {}
        for name in members[:_MOST_COLUMNS]:
            with archive.open(name) as file:
                dtype, shape = _npy_header(file)
            schema[name.removesuffix(".npy")] = f"{dtype} {list(shape)}"[:_LONGEST_TYPE]
        return {"arrays": len(members), "schema": schema}


def _npy_header(file: IO[bytes]) -> tuple[Any, tuple[int, ...]]:
    """Return type and shape of an array, as numpy.lib.format documents."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY":
        raise ValueError("no array")
    length = struct.unpack("<H", file.read(2))[0] if magic[6] == 1 else struct.unpack("<I", file.read(4))[0]
    if length > _LONGEST_HEADER:
        raise ValueError("no header")
    header = ast.literal_eval(file.read(length).decode("utf-8" if magic[6] > 2 else "latin1").strip())
    return header["descr"], header["shape"]


def _array(dtype: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": shape[0]} if shape else {}
    if isinstance(dtype, list):  # an array of records
        schema = {str(field[0]): str(field[1])[:_LONGEST_TYPE] for field in dtype[:_MOST_COLUMNS]}
        return {**found, "columns": len(dtype), "schema": schema}
    if len(shape) > 1:
        found["columns"] = shape[1]
    return {**found, "shape": list(shape), "schema": {"array": str(dtype)}}


def _parquet(path: Path, count: bool) -> dict[str, Any]:
    if importlib.util.find_spec("pyarrow") is None:
        return {}
    parquet = importlib.import_module("pyarrow.parquet")  # by name: this side depends on no library
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        types = {field.name: str(field.type)[:_LONGEST_TYPE] for field in _first(schema)}
        return {"rows": file.metadata.num_rows, "columns": len(schema), "schema": types}


def _first(fields: Iterable[Any]) -> Iterator[Any]:
    return islice(fields, _MOST_COLUMNS)


_Reader = Callable[[Path, bool], dict[str, Any]]
_READERS: tuple[tuple[tuple[str, ...], str, _Reader], ...] = (
    ((".csv", ".tsv"), "csv", _csv),
    ((".jsonl", ".ndjson", ".jsonlines"), "jsonl", _json_lines),
    ((".parquet", ".pq"), "parquet", _parquet),
    ((".npy",), "npy", _npy),
    ((".npz",), "npz", _npz),
)
