"""The files that a process appends to, one after the other; the next one is made before it is needed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from otel_ml.audit.jobs import Jobs
from otel_ml.audit.segment import SEALED, Segment, process_name

_PAUSE: Final = 1.0


class Supply:
    """New segments of one process.

    On a busy disk it may take a tenth of a second to make a file. So long nothing should have to wait.

    Args:
        directory: Audit directory, made (mode 0700) when it is missing.
        service: Name of the service.
        jobs: Makes a segment ahead.
    """

    def __init__(self, directory: Path, service: str, jobs: Jobs) -> None:
        self._directory = directory
        self._service = service
        self._jobs = jobs
        self._process = ""
        self._number = 0
        self._taken = ""
        self._spare: Segment | None = None
        self._is_preparing = False
        self._retry_at = 0.0

    def take(self) -> Segment:
        """Return a new, empty segment.

        Raises:
            OSError: It cannot be made.
        """
        spare, self._spare = self._spare, None
        if spare is not None and self._is_outdated(spare):
            self._jobs.submit(spare.remove)
            spare = None
        segment = self._make() if spare is None else spare
        self._taken = segment.name
        return segment

    def prepare(self) -> bool:
        """Have the next segment made; True once it is there."""
        if self._spare is None and not self._is_preparing and time.monotonic() >= self._retry_at:
            self._is_preparing = True
            self._jobs.submit(self._prepare)
        return self._spare is not None

    def close(self) -> None:
        """Remove a segment that was made for nothing."""
        self._jobs.submit(self._discard)

    def _is_outdated(self, spare: Segment) -> bool:
        """Whether it came after a later one was taken: names are in the order of the chain."""
        return spare.name < self._taken

    def _prepare(self) -> None:
        try:
            self._spare = self._make()
        except OSError:  # who needs it will say so
            self._retry_at = time.monotonic() + _PAUSE
        finally:
            self._is_preparing = False

    def _make(self) -> Segment:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._process:
            self._process = process_name(self._service)
        while True:
            self._number += 1
            try:
                return Segment(self._directory, f"{self._process}-{self._number:06d}{SEALED}")
            except FileExistsError:  # the clock went back, or a process that starts takes it for an orphan
                continue

    def _discard(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.remove()
