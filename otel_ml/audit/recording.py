"""What `configure` does for the audit trail: the pipeline, and the recorder that inference calls find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_ml.audit import active, setup
from otel_ml.audit.pseudonyms import Pseudonyms
from otel_ml.audit.record import Service
from otel_ml.audit.record_counts import Counts
from otel_ml.audit.recorder import Recorder
from otel_ml.audit.setup import AuditPipeline
from otel_ml.instruments import instruments
from otel_ml.options import Audit

if TYPE_CHECKING:
    from otel_ml.audit.subjects import SubjectKeys


class Recording:
    """An audit trail that the inference calls of this process go to, as one of the pipelines of `Telemetry`.

    Args:
        options: Bounds, durability, sizes and ages.
        directory: Audit directory; the one that `options` names goes before it.
        resource: Attributes of the resource, whose service the records name.
        mask: Text that stands for a masked value.

    Raises:
        MissingExtraError: Subjects are to be encrypted, and `cryptography` is not installed.
    """

    def __init__(self, options: Audit, directory: Path, resource: Mapping[str, Any], mask: str) -> None:
        directory = (options.directory or directory).expanduser().absolute()
        self._pipeline: AuditPipeline = setup.start(
            options, directory=directory, service=_service(resource), mask=mask, subjects=_keys(options, directory)
        )
        self._directory = directory
        self._pseudonyms: Pseudonyms | None = None
        self._recorder = Recorder(
            self._pipeline.writer, self._pipeline.encoder, options.max_rows, waits=options.durability == "sync",
            pseudonym=self._pseudonym, counts=Counts(),
        )  # fmt: skip
        active.add(self._pipeline)
        instruments.recorder = self._recorder

    def wake(self) -> None:
        """Have the writer look at its queue now."""
        self._pipeline.wake()

    def flush(self, timeout: float) -> bool:
        """Wait until everything recorded before is on the disk; False when `timeout` seconds were not enough."""
        return self._pipeline.flush(timeout)

    def close(self, timeout: float) -> bool:
        """Take the recorder away from inference calls, write and seal what there is, and stop."""
        if instruments.recorder is self._recorder:
            instruments.recorder = None
        active.remove(self._pipeline)
        return self._pipeline.close(timeout)

    def _pseudonym(self, subject: object) -> str | None:
        if self._pseudonyms is None:  # not before it is needed: it makes a file
            self._pseudonyms = Pseudonyms(self._directory)
        return self._pseudonyms.of(subject)


def _keys(options: Audit, directory: Path) -> SubjectKeys | None:
    if not options.encrypt_subjects:
        return None
    from otel_ml.audit.subjects import SubjectKeys  # noqa: PLC0415  not every trail has keys

    return SubjectKeys(directory)


def _service(resource: Mapping[str, Any]) -> Service:
    names = ("service.name", "service.version", "service.instance.id", "deployment.environment.name")
    name, *others = [None if resource.get(key) is None else str(resource[key]) for key in names]
    return Service(name or "", *others)
