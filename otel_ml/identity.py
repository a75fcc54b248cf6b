"""Identity of a run: UUIDv7 text, made here or inherited from the process that started this one."""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from otel_ml import health
from otel_ml.errors import shorten

RUN_ID_VARIABLE = "OTEL_ML_RUN_ID"

_INHERITABLE = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{1,64}")  # `..` would be a folder outside of ours
_lock = threading.Lock()
_process_id: str | None = None
_taken = False


def uuid7() -> str:
    """Return a new UUIDv7 (RFC 9562) as text; ids of one process sort by time, to about 0.25 microseconds."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (rest * 4096 // 1_000_000) << 64
    return str(uuid.UUID(int=value | 0b10 << 62 | secrets.randbits(62)))


def folder_name(run_id: str) -> str:
    """Return the name of a run's folder, which sorts by time: `20261122T163948Z-<id>` from the id's own time.

    Args:
        run_id: Identity of the run; one that is not a UUIDv7 is returned as it is.
    """
    try:
        parsed = uuid.UUID(run_id)
        if parsed.version != 7 or str(parsed) != run_id.lower():
            return run_id
        started = datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return run_id
    return f"{started:%Y%m%dT%H%M%SZ}-{run_id}"


def inherited_id(environ: Mapping[str, str]) -> str | None:
    """Return the run id that `OTEL_ML_RUN_ID` hands down, or None; one that cannot be used is a warning and None."""
    text = environ.get(RUN_ID_VARIABLE, "")
    if not text:
        return None
    if _INHERITABLE.fullmatch(text):
        return text
    health.warn_once(
        "run_id",
        "%s: expected 1 to 64 letters, digits, dots, dashes or underscores, received %s. A fresh run id is used.",
        RUN_ID_VARIABLE,
        shorten(text),
    )
    return None


def own_id() -> str:
    """Return the run id of this process when it inherited none; the first run takes it."""
    global _process_id  # noqa: PLW0603  one identity a process is what this module is about
    with _lock:
        if _process_id is None:
            _process_id = uuid7()
        return _process_id


def next_id() -> str:
    """Return the id of a run that starts: that of the process for its first one, then fresh ones."""
    global _taken  # noqa: PLW0603  see above
    process_id = own_id()
    with _lock:
        if _taken:
            return uuid7()
        _taken = True
        return process_id


def _after_fork() -> None:
    global _lock, _taken  # noqa: PLW0603  the lock may be held by a thread that does not exist here
    _lock = threading.Lock()
    _taken = _process_id is not None  # parent and children must not all use the id that was made before the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
