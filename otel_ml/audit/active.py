"""The audit trails that this process writes to, for those who add to one or ask it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from otel_ml.audit.setup import AuditPipeline

_LONGEST_FLUSH: Final = 5.0
_pipelines: dict[Path, AuditPipeline] = {}


def add(pipeline: AuditPipeline) -> None:
    """Let outcomes go to a pipeline, and queries see what it has not written yet.

    Args:
        pipeline: One that was started.
    """
    _pipelines[pipeline.directory] = pipeline


def remove(pipeline: AuditPipeline) -> None:
    """Forget a pipeline that is to be closed.

    Args:
        pipeline: One that was added, or not.
    """
    if _pipelines.get(pipeline.directory) is pipeline:
        del _pipelines[pipeline.directory]


def at(directory: Path) -> AuditPipeline | None:
    """Return the pipeline that writes to a directory, or None.

    Args:
        directory: Audit directory, absolute.
    """
    return _pipelines.get(directory)


def flush(directory: Path) -> None:
    """Have everything written that this process has recorded so far, so that who asks next finds it.

    Args:
        directory: Audit directory, absolute.
    """
    pipeline = at(directory)
    if pipeline is not None:
        pipeline.flush(_LONGEST_FLUSH)
