"""Where the audit trail is, for whoever reads it."""

from __future__ import annotations

from pathlib import Path

from otel_ml import environment_table
from otel_ml.audit import active
from otel_ml.errors import Error
from otel_ml.settings import state_directories, writable_directory

FOLDER = "audit"
"""Name of the audit directory in a state directory."""

_in_use: Path | None = None


class TrailNotFoundError(Error):
    """There is no audit trail where one was looked for."""


def use(directory: Path) -> None:
    """Let readers in this process look in the directory that its writer uses.

    Args:
        directory: Audit directory.
    """
    global _in_use  # noqa: PLW0603  one writer a process
    _in_use = directory.absolute()


def find(directory: str | Path | None = None) -> Path:
    """Return the audit directory that is meant, with everything in it that this process has recorded so far.

    Args:
        directory: An audit directory, or a state directory that has one. None: the one that this process writes, else
            that of `OTEL_ML_AUDIT_DIR`, else the first state directory that has one.

    Raises:
        TrailNotFoundError: There is none.
    """
    candidates = _candidates(directory)
    for candidate in candidates:
        active.flush(candidate)
        if candidate.is_dir():
            return candidate
    looked = ", ".join(str(candidate) for candidate in candidates)
    raise TrailNotFoundError(
        f"audit: expected a directory of segments, received none in {looked}. "
        "Say where it is with `directory=` or --dir; configure(audit=otel_ml.Audit()) starts one."
    )


def to_write(directory: str | Path | None = None) -> Path:
    """Return the audit directory that is to be written to: the one that `find` finds, or where one can be made.

    Args:
        directory: An audit directory, or a state directory that has one; None: see `find`.
    """
    candidates = _candidates(directory)
    found = next((candidate for candidate in candidates if candidate.is_dir()), None)
    if found is not None or directory is not None or len(candidates) == 1:
        return found or candidates[-1]
    state = writable_directory([candidate.parent for candidate in candidates])
    return candidates[0] if state is None else state / FOLDER


def _candidates(directory: str | Path | None) -> list[Path]:
    if directory is not None:
        given = Path(directory).expanduser().absolute()
        return [given / FOLDER, given]
    if _in_use is not None:
        return [_in_use]
    configured = environment_table.read("Audit.directory")
    if configured is not None:
        return [Path(configured[0]).expanduser().absolute()]
    return [state / FOLDER for state in state_directories(None)]
