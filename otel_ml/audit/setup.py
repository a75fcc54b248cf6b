"""Starts the audit trail of a process and ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from otel_ml import health
from otel_ml.audit import place, recovery, retention
from otel_ml.audit.record import Encoder, Service, Subjects
from otel_ml.audit.writer import AuditWriter
from otel_ml.options import Audit


def start(
    options: Audit, *, directory: Path, service: Service, mask: str = "[redacted]", subjects: Subjects | None = None
) -> AuditPipeline:
    """Start an audit trail. No thread runs and no file is made before the first record.

    Args:
        options: Bounds, durability, sizes and ages.
        directory: Audit directory; the one that `options` names goes before it.
        service: Whom records are from.
        mask: Text that stands for a masked value.
        subjects: Encrypts features and predictions of subjects; None: they are not encrypted.
    """
    directory = (options.directory or directory).expanduser().absolute()
    place.use(directory)
    return AuditPipeline(options, directory, service, Encoder(service, mask, subjects))


class AuditPipeline:
    """The writer, and the upkeep of what it and others before it have written; `start` makes it.

    Attributes:
        directory: Audit directory.
        service: Whom records are from.
        encoder: From calls to lines.
        writer: Takes records.
    """

    def __init__(self, options: Audit, directory: Path, service: Service, encoder: Encoder) -> None:
        self.directory = directory
        self.service = service
        self.encoder = encoder
        self._options = options
        self._stop_compaction: Callable[[], None] | None = None
        self.writer = AuditWriter(
            directory, service.name, options, encoder, on_start=self._begin_upkeep, on_sealed=self._delete_old
        )

    def wake(self) -> None:
        """Have the writer look at its queue now."""
        self.writer.wake()

    def flush(self, timeout: float) -> bool:
        """Wait until everything before is on the disk.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when the time was not enough.
        """
        return self.writer.flush(timeout)

    def close(self, timeout: float) -> bool:
        """Write and seal what there is, and stop.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when records were lost.
        """
        closed = self.writer.close(timeout)
        if self._stop_compaction is not None:
            self._stop_compaction()
        return closed

    def _begin_upkeep(self) -> None:
        """Look after older files on a thread of its own, while records are written already."""
        threading.Thread(target=self._keep_up, name="otel_ml-audit-upkeep", daemon=True).start()
        if self._options.compact:
            from otel_ml.audit.reading import compaction  # noqa: PLC0415  only who wants it pays for it

            self._stop_compaction = compaction.in_background(self.directory)

    def _keep_up(self) -> None:
        try:
            recovery.recover(self.directory)
        except Exception as error:
            health.internal_error("recovery of the audit trail", error)
        self._delete_old()

    def _delete_old(self) -> None:
        try:
            retention.apply(
                self.directory, max_age=self._options.retention_age, max_bytes=self._options.retention_bytes
            )
        except Exception as error:  # a full disk, say: it is tried again after the next segment
            health.internal_error("retention of the audit trail", error)
