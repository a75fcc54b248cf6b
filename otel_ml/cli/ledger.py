"""What of a run was already sent where: `pushed.json` in the run's folder."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from otel_ml.errors import Error

FILE_NAME = "pushed.json"


class PushError(Error):
    """A push cannot begin, or its progress cannot be kept."""


class Ledger:
    """Byte offsets up to which each file was taken care of, for one endpoint. Each change is on disk when it returns.

    Args:
        folder: The run's folder.
        endpoint: Where to, without secrets.

    Raises:
        PushError: The file is there but is not a ledger; sending everything again is not ours to decide.
    """

    def __init__(self, folder: Path, endpoint: str) -> None:
        self._path = folder / FILE_NAME
        self._content = self._read()
        self._files: dict[str, Any] = self._content.setdefault(endpoint, {})

    def offset(self, file: Path) -> int:
        """Return where to go on; 0 for a new file, and for one that is shorter than what was sent of it."""
        offset = int(self._entry(file.name)["offset"])
        return offset if offset <= file.stat().st_size else 0

    def refused(self, file: Path) -> int:
        """Return how many lines of a file the endpoint has refused so far."""
        return int(self._entry(file.name)["refused"])

    def advance(self, file: Path, offset: int, *, refused: bool) -> None:
        """Note that a file was taken care of up to `offset`, by acceptance or by refusal of the last line.

        Raises:
            PushError: It cannot be written.
        """
        entry = self._entry(file.name)
        self._files[file.name] = {"offset": offset, "refused": entry["refused"] + refused}
        temporary = self._path.with_name(f".{FILE_NAME}.{os.getpid()}")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                json.dump(self._content, stream, indent=2)
            temporary.replace(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise PushError(
                f"{self._path} cannot be written ({error.strerror}). Stopped: lines would be sent twice without it."
            ) from None

    def _entry(self, name: str) -> dict[str, int]:
        entry = self._files.get(name)
        if isinstance(entry, dict) and all(isinstance(entry.get(key), int) for key in ("offset", "refused")):
            return entry
        return {"offset": 0, "refused": 0}

    def _read(self) -> dict[str, Any]:
        try:
            content = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            raise PushError(f"{self._path} cannot be read ({error}). Delete it to send everything again.") from None
        if not isinstance(content, dict) or not all(isinstance(files, dict) for files in content.values()):
            raise PushError(f"{self._path} is not a record of pushes. Delete it to send everything again.")
        return content


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other pushes of the same run away; the lock ends with the process, however it ends.

    Raises:
        PushError: Another push of this run is under way, or the folder cannot be written.
    """
    try:
        descriptor = os.open(folder / f".{FILE_NAME}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PushError(f"{folder} cannot be written ({error.strerror}), so what was sent could not be kept.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PushError(f"Another push of {folder.name} is under way.") from None
    finally:
        os.close(descriptor)
