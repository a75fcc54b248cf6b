"""`run.json`: what a run's folder is about, so that it can be found and read without its traces."""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from otel_ml import environment, health, redaction

FILE_NAME = "run.json"


class Manifest:
    """Keeps one folder's `run.json` up to date; each change replaces the whole file at once.

    Args:
        directory: The run's folder.
        run_id: Identity of the execution.
        service: Name of the service.
    """

    def __init__(self, directory: Path, run_id: str, service: str) -> None:
        self._path = directory / FILE_NAME
        self._lock = threading.Lock()
        self._owner = not self._path.exists()  # a process that joins a run leaves its description alone
        self._pid = os.getpid()
        self._content: dict[str, Any] = {
            "id": run_id,
            "name": service,
            "service": service,
            "command": environment.masked_arguments(sys.argv),
            "pid": self._pid,
            "started": _now(),
            "ended": None,
            "status": "running",
            "runs": {},
        }
        self._write()

    def add_run(self, run_id: str, name: str) -> None:
        """Note a run that began in this process; the folder takes the name of the first."""
        name = redaction.current().text(name)
        with self._lock:
            runs = self._content["runs"]
            if not runs:
                self._content["name"] = name
            runs[run_id] = name
        self._write()

    def finish(self, status: str) -> None:
        """Note that the process ended, `ok` or `error`."""
        with self._lock:
            self._content["ended"] = _now()
            self._content["status"] = status
        self._write()

    def _write(self) -> None:
        if not self._owner or os.getpid() != self._pid:
            return
        temporary = self._path.with_name(f".{FILE_NAME}.{self._pid}")
        try:
            with self._lock, os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(self._content, file, indent=2)
            temporary.replace(self._path)
        except OSError as error:
            health.warn_once("manifest", "%s cannot be written: %s", self._path, error.strerror)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
