"""Files and folders that steps read and write: size, SHA-256, and for tables rows, columns and schema; never values."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from otel_ml import health, redaction, tables

MOST_FILES = 10_000
"""Files of a folder up to which they are hashed; a folder with more has their number and size."""

METADATA_SUFFIX = ".meta.json"
"""What the name of a file's metadata has behind the file's own."""

_CHUNK = 1024 * 1024
_MOST_KNOWN = 256
_SETTLED = 2.0  # seconds; a file that changed later than that may change again within the same tick of its clock

_known: dict[tuple[object, ...], dict[str, Any]] = {}


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file or folder is: path, size, SHA-256, and for a table format, rows, columns and schema.

    It is read once, in pieces, whatever its size, and not again as long as it stays as it is. Rows of a text file of
    more than 64 MiB are not counted, and files of a folder with more than 10,000 not hashed. A folder's hash is that of
    the names and hashes of its files. What is missing or cannot be read is said, and nothing is raised.

    Args:
        path: A path. What is no local file, such as a URL, is said to be missing.
    """
    text = os.fsdecode(path)
    shown = {"path": redaction.current().text(text)}
    try:
        found = os.stat(text)
        if stat.S_ISDIR(found.st_mode):
            return {**shown, **_folder(Path(text))}
        if not stat.S_ISREG(found.st_mode):
            return {**shown, "error": "neither a file nor a folder"}
        return {**shown, **_file(Path(text), found)}
    except (FileNotFoundError, NotADirectoryError):
        return {**shown, "missing": True}
    except Exception as error:
        return {**shown, "error": type(error).__name__}


def metadata_path(path: str | os.PathLike[str]) -> Path:
    """Return where the metadata of a file or folder is: beside it."""
    plain = Path(path)
    return plain.with_name(f"{plain.name}{METADATA_SUFFIX}")


def save_metadata(path: str | os.PathLike[str], description: Mapping[str, Any]) -> None:
    """Write a description beside the file or folder, whole or not at all; a failure is a warning.

    Args:
        path: The file or folder.
        description: Of it, and whatever else is to be there.
    """
    target = metadata_path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        health.warn_once(f"metadata:{error.errno}", "%s cannot be written: %s", target, error.strerror)


def _file(path: Path, found: os.stat_result) -> dict[str, Any]:
    key = (os.path.abspath(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    known = _known.get(key)
    if known is None:
        known = {**_hashed(path), **_masked(tables.describe(path, found.st_size))}
        if time.time() - found.st_mtime > _SETTLED:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = known
    return known


def _hashed(path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
            size += len(piece)
    return {"size": size, "sha256": digest.hexdigest()}


def _folder(path: Path) -> dict[str, Any]:
    files = sorted(_files(path))
    size = sum(bytes_ for _, bytes_ in files)
    if len(files) > MOST_FILES:
        return {"files": len(files), "size": size}
    digest = hashlib.sha256()
    for name, _ in files:
        digest.update(f"{_hashed(path / name)['sha256']}  {name}\n".encode("utf-8", "surrogateescape"))
    return {"files": len(files), "size": size, "sha256": digest.hexdigest()}


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield relative path and size of each regular file, but for metadata, which tells of the file beside it."""
    for parent, _, names in os.walk(folder):
        present = set(names)
        for name in names:
            if name.endswith(METADATA_SUFFIX) and name.removesuffix(METADATA_SUFFIX) in present:
                continue
            path = Path(parent, name)
            found = path.stat() if path.exists() else None  # not a link that leads nowhere
            if found is not None and stat.S_ISREG(found.st_mode):
                yield path.relative_to(folder).as_posix(), found.st_size


def _masked(table: dict[str, Any]) -> dict[str, Any]:
    if "schema" in table:
        mask = redaction.current().text
        table["schema"] = {mask(name): kind for name, kind in table["schema"].items()}
    return table
