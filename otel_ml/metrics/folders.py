"""Where families have their folders, whose is whose, and how one process at a time changes one."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from otel_ml.metrics import processes
from otel_ml.metrics.processes import Process

VARIABLES: Final = ("OTEL_ML_METRICS_DIR", "PROMETHEUS_MULTIPROC_DIR")
"""Name a folder, the first that is set: all processes of a service that have it count as one family."""

DOOR: Final = "door"
"""File in a family's folder that whoever joins or leaves holds the lock of."""


def lock(folder: Path, deadline: float) -> int:
    """Return a descriptor that holds the folder's lock until it is closed.

    Raises:
        OSError: The folder is not there, or the deadline came first.
    """
    # Not `flock`: a child that another thread forks meanwhile would keep that.
    descriptor = os.open(folder / DOOR, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise
            time.sleep(0.002)


def is_at(path: Path, descriptor: int) -> bool:
    """Return whether a descriptor is of the file that has this path now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def shared_folder() -> Path | None:
    """Return the folder that the environment names; None when it names none."""
    found = [text for name in VARIABLES if (text := os.environ.get(name, "").strip())]
    return Path(found[0]).absolute() if found else None


def own_folder() -> Path:
    """Return this user's folder, in memory where there is some: a file on a disk is written to it again and again."""
    name = f"otel_ml-{os.getuid()}"
    for base in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        folder = base / name
        with suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if (
                folder.is_dir()
                and found.st_uid == os.getuid()
                and not found.st_mode & 0o077
                and not folder.is_symlink()
            ):
                return folder
    return Path(tempfile.gettempdir()) / name


def head_of(base: Path, me: Process, suffix: str) -> Process:
    """Return the process that the family of this one is named after."""
    head = me
    parent = processes.multiprocessing_parent()
    while True:
        head = parent or head
        alias = base / f"{head.name}-{suffix}"
        with suppress(OSError, ValueError):
            pid, started = os.readlink(alias).split("-")[:2]
            head = Process(int(pid), int(started))
        parent = processes.forked_from(head)
        if parent is None:
            return head
