"""Writes segments as the audit writer does, byte for byte, with records that a test chooses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Self

import orjson

START = 1_795_365_588_000_000_000  # 2026-11-22 16:39:48 UTC


def fields(**given: Any) -> dict[str, Any]:
    """Return the fields of a prediction; a name with `__` has dots there, and None leaves a field out."""
    named = {
        "schema_version": 1,
        "event.name": "otel_ml.prediction",
        "time_unix_nano": START,
        "duration_ms": 1.5,
        "service.name": "shop",
        "otel_ml.model.name": "fraud",
        "otel_ml.model.version": "1.2",
        "severity_number": 9,
        "otel_ml.status": "ok",
        "features": {"amount": 12.5, "country": "DE"},
        "prediction": 0.25,
    }
    named |= {key.replace("__", "."): value for key, value in given.items()}
    return {key: value for key, value in named.items() if value is not None}


class Process:
    """What one process writes: segments whose chain goes on from one to the next. Also a context manager.

    Args:
        directory: Audit directory; made when it is missing.
        service: First part of the names of its segments.
        pid: Third part.
    """

    def __init__(self, directory: Path, service: str = "shop", pid: int = 4711) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._prefix = f"{service}-host-{pid}-20261122T163948.000000Z"
        self._service = service
        self._number = 0
        self._seq = 0
        self._previous: str | None = None
        self._hash = hashlib.sha256(f"otel_ml.audit{self._prefix}-000001.jsonl".encode()).digest()
        self._open()

    @property
    def sealed(self) -> Path:
        """Where the segment under way will be once it is sealed."""
        return self._directory / f"{self._prefix}-{self._number:06d}.jsonl"

    @property
    def open(self) -> Path:
        """The segment under way."""
        return self.sealed.with_name(f"{self.sealed.name}.open")

    def add(self, *records: dict[str, Any]) -> None:
        """Append lines; a field `record_id` that is missing is the sequence number as text."""
        with self.open.open("ab") as file:
            for record in records:
                identity = {} if "record_id" in record else {"record_id": str(self._seq)}
                file.write(self._line(identity | record))

    def prediction(self, **given: Any) -> None:
        """Append one prediction; see `fields`."""
        self.add(fields(**given))

    def outcome(self, record_id: str, label: Any, time: int = START) -> None:
        """Append the ground truth of a prediction."""
        event = {"schema_version": 1, "event.name": "otel_ml.outcome", "time_unix_nano": time}
        self.add({"record_id": record_id, **event, "service.name": self._service, "label": label})

    def gap(self, **lost: int) -> None:
        """Append what was lost, by reason."""
        times = {"first_time_unix_nano": START, "last_time_unix_nano": START}
        self._append({"event.name": "otel_ml.audit.gap", "service.name": self._service, "lost": lost, **times})

    def torn(self, size: int = 40) -> None:
        """Append the beginning of a line, as a process does that is killed while it writes."""
        with self.open.open("ab") as file:
            file.write(orjson.dumps(fields(features={"text": "x" * 100}))[:size])

    def seal(self) -> Path:
        """Seal the segment under way, begin the next one, and return the sealed one."""
        sealed, first, last = self.sealed, self._first, self._seq - 1
        counts = {"records": last - first + 1, "first_seq": first, "last_seq": last, "root": self._hash.hex()}
        seal = {"event.name": "otel_ml.audit.seal", "service.name": self._service}
        self._append({**seal, **counts, "reason": "size"})
        self._previous = self._hash.hex()
        self.open.rename(sealed)
        self._open()
        return sealed

    def _open(self) -> None:
        self._number += 1
        self._first = self._seq
        header = {"event.name": "otel_ml.audit.segment", "schema_version": 1, "segment": self.sealed.name}
        self.open.touch(0o600)
        self._append({**header, "service.name": self._service, "previous": self._previous, "time_unix_nano": START})

    def _append(self, record: dict[str, Any]) -> None:
        with self.open.open("ab") as file:
            file.write(self._line(record))

    def _line(self, record: dict[str, Any]) -> bytes:
        body = orjson.dumps({**record, "seq": self._seq}).replace("\u2028".encode(), b"\\u2028")[:-1]
        self._hash = hashlib.sha256(body + self._hash).digest()
        self._seq += 1
        return body + b',"hash":"' + self._hash.hex().encode() + b'"}\n'

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.seal()
        self.open.unlink()  # the next one, which has a header only
