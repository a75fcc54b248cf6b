"""Ground truth that arrives when a prediction is long on record: lines of their own, in the same segments."""

from __future__ import annotations

import atexit
import threading
from datetime import datetime
from pathlib import Path
from time import time_ns
from typing import Any, Final

from otel_ml import capture, conventions, runs
from otel_ml.audit import active, place
from otel_ml.audit.reading.columns import OUTCOME, nanoseconds
from otel_ml.audit.record import Encoder, Service
from otel_ml.audit.setup import AuditPipeline
from otel_ml.errors import ConfigurationError
from otel_ml.options import Audit
from otel_ml.settings import resolve

_LONGEST_ID: Final = 256
_AT_EXIT: Final = 5.0
_starting = threading.Lock()


def outcome(record_id: str, label: Any, *, time: datetime | None = None, directory: str | Path | None = None) -> bool:
    """Put on record what turned out to be true of a prediction.

    The label is masked and bounded as features are. Of several outcomes of a record the latest counts. In a process
    without an audit trail of its own, such as the job that brings the labels, one is started, and ended at exit.

    Args:
        record_id: Identity of the prediction's record. Whether there is such a record is not looked up.
        label: The truth, comparable with the prediction.
        time: When it became known; None: now. One without a zone is UTC.
        directory: Audit directory to write to; None: that of this process, else the default one.

    Returns:
        False when there was no room for it, which is counted and noted in the trail.

    Raises:
        ConfigurationError: `record_id` is no text of 1 to 256 characters, or `time` is no time.
    """
    identity: object = record_id
    if not isinstance(identity, str) or not 0 < len(identity) <= _LONGEST_ID:
        raise ConfigurationError("outcome(record_id)", record_id, f"the id of a record, 1 to {_LONGEST_ID} characters")
    known: object = time
    if known is not None and not isinstance(known, datetime):
        raise ConfigurationError("outcome(time=)", time, "a datetime")
    run = runs.current_run()
    pipeline = _pipeline(directory)
    fields = {
        "service.name": pipeline.service.name,
        "record_id": capture.snapshot(record_id),  # JSON has no lone surrogates
        "time_unix_nano": time_ns() if time is None else nanoseconds(time),
        **({conventions.RUN_ID: run.id} if run is not None else {}),
        "label": capture.features(label),
    }
    return pipeline.writer.put_event(OUTCOME, fields) != 0


def _pipeline(directory: str | Path | None) -> AuditPipeline:
    folder = place.to_write(directory)
    with _starting:
        return active.at(folder) or _start(folder)


def _start(directory: Path) -> AuditPipeline:
    """Start a pipeline for a process that has none there; what is old is deleted by those that make predictions."""
    settings = resolve({})
    service = Service(settings.service_name, settings.service_version, environment=settings.environment)
    pipeline = AuditPipeline(Audit(retention_age=0), directory, service, Encoder(service))
    active.add(pipeline)
    atexit.register(pipeline.close, _AT_EXIT)
    return pipeline
