"""Plain `dvc repro`: the run and the trace that its stages have in common, though nobody hands one down.

DVC tells a stage its name only. But above every process of a stage is that of DVC, the first that is not in the stage:
from its number and start each process reckons the same ids. Where there is no `/proc`, each is a run of its own.
"""

from __future__ import annotations

import functools
import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

STAGE_VARIABLE = "DVC_STAGE"

_PROC = Path("/proc")
_MOST_ANCESTORS = 64


def common(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return run id and `TRACEPARENT` of the `dvc repro` that this process is in a stage of, or None.

    No span has the parent's id in it: the process of DVC records nothing.

    Args:
        environ: Of this process.
    """
    stage = environ.get(STAGE_VARIABLE)
    return _of_stage(stage) if stage else None


@functools.cache
def _of_stage(stage: str) -> tuple[str, str] | None:
    try:
        found = _dvc(f"{STAGE_VARIABLE}={stage}".encode())
        if found is None:
            return None
        boot = int(next(line for line in _lines(_PROC / "stat") if line.startswith("btime")).split()[1])
        pid, ticks = found
        started = boot * 1000 + ticks * 1000 // os.sysconf("SC_CLK_TCK")
        boot_id = (_PROC / "sys/kernel/random/boot_id").read_text()
    except (OSError, ValueError, StopIteration, IndexError):
        return None
    digest = hashlib.sha256(f"{boot_id} {pid} {ticks}".encode()).digest()
    random = int.from_bytes(digest[:10])
    time_and_version = (started & (2**48 - 1)) << 80 | 0x7 << 76
    variant = random & ~(0xF << 76 | 0b11 << 62) | 0b10 << 62
    run_id = uuid.UUID(int=time_and_version | variant)
    return str(run_id), f"00-{digest[:16].hex()}-{digest[16:24].hex()}-01"


def _dvc(in_stage: bytes) -> tuple[int, int] | None:
    """Return number and start of the nearest ancestor that is not in the stage, if that is DVC."""
    pid = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        if pid <= 1:
            return None
        after_name = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        if in_stage not in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
            is_dvc = b"dvc" in (_PROC / str(pid) / "cmdline").read_bytes()
            return (pid, int(after_name[19])) if is_dvc else None
        pid = int(after_name[1])
    return None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()
