"""Which process is which: identity that outlives its number, whether it lives, and who started it for the same work.

Linux says everything in `/proc`. Elsewhere a process is told by its number alone, and the parent that forked a server's
workers is not found; `OTEL_ML_METRICS_DIR` brings such workers together.
"""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_STATE, _PARENT, _START, _CODE, _STACK = 0, 1, 19, slice(23, 25), 25  # fields of `stat` after the name, see proc(5)


class Process(NamedTuple):
    """Identity of a process.

    Args:
        pid: Its number, which another process may have later.
        started: When it started, in ticks since the machine did; 0 where that is not known.
    """

    pid: int
    started: int

    @property
    def name(self) -> str:
        """Text for file names."""
        return f"{self.pid}-{self.started}"

    @property
    def lives(self) -> bool:
        """Whether it is there and can still do something; True when in doubt."""
        if self.pid <= 0:
            return False
        fields = _stat(self.pid)
        if fields:
            return fields[_STATE] not in ("Z", "X") and int(fields[_START]) == self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return not _PROC.joinpath("self", "stat").exists()  # it ended since the first look


NOBODY = Process(0, 0)


def process(pid: int) -> Process:
    """Return the identity of the process that has this number now."""
    fields = _stat(pid)
    return Process(pid, int(fields[_START]) if fields else 0)


def current() -> Process:
    """Return the identity of this process."""
    return process(os.getpid())


def multiprocessing_parent() -> Process | None:
    """Return the process that made this one by `multiprocessing`, in whatever way; None when there is none."""
    parent = multiprocessing.parent_process()
    return process(parent.pid) if parent is not None and parent.pid is not None else None


def forked_from(child: Process) -> Process | None:
    """Return the parent when it forked this process to run the same program on, as servers make their workers.

    A program that was started by another has been loaded to places of its own, which the kernel picks at random.
    """
    fields = _stat(child.pid)
    if not fields:
        return None
    parent = process(int(fields[_PARENT]))
    others = _stat(parent.pid)
    same = (
        bool(others) and fields[_STACK] != "0" and fields[_STACK] == others[_STACK] and fields[_CODE] == others[_CODE]
    )
    return parent if same else None


def _stat(pid: int) -> list[str]:
    """Return the fields of `/proc/<pid>/stat` after the program's name; none when there is no such process."""
    try:
        text = _PROC.joinpath(str(pid), "stat").read_text("ascii", "replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
