"""What otel_ml itself lost or survived: counted always, said once, never raised."""

from __future__ import annotations

import os
import threading

from otel_ml.loggers import own_logger

_logger = own_logger()
_lock = threading.RLock()  # re-entrant: a handler of the warning below may itself count
_dropped: dict[tuple[str, str], int] = {}
_said: set[str] = set()


def count_dropped(signal: str, reason: str, number: int = 1) -> None:
    """Add to what was lost.

    Args:
        signal: `traces`, `logs`, `metrics` or `internal`.
        reason: A word for the cause, for example `queue_full` or `export_failed`.
        number: Items lost.
    """
    key = (signal, reason)
    with _lock:
        _dropped.setdefault(key, 0)
        _dropped[key] += number  # calls nothing, so no `__del__` and no signal handler counts in the middle of it


def dropped() -> dict[tuple[str, str], int]:
    """Return items lost since the process started, by signal and reason."""
    with _lock:
        return dict(_dropped)


def warn_once(key: str, message: str, *args: object) -> None:
    """Log a warning on logger `otel_ml`, the first time only that `key` is used in this process.

    Args:
        key: Identity of the warning.
        message: Text with `%`-placeholders.
        *args: Values for the placeholders.
    """
    with _lock:
        if key in _said:
            return
        _said.add(key)
    try:
        _logger.warning(message, *args)
    except Exception:  # an application's handler may raise; the caller must not see it
        count_dropped("internal", "warning_failed")


def not_delivered(signal: str, number: int, exporter: object) -> None:
    """Count what an exporter did not get through, and warn about it once a signal.

    Args:
        signal: `traces`, `logs` or `metrics`.
        number: Items that were in the export.
        exporter: The exporter, whose class is named.
    """
    count_dropped(signal, "export_failed", number)
    warn_once(
        f"export:{signal}",
        "%s could not be delivered (%s); losses are counted in otel_ml.dropped. `otel-ml doctor` says what answers.",
        signal,
        type(exporter).__name__,
    )


def internal_error(where: str, error: BaseException) -> None:
    """Count an exception of our own code that was survived, and warn about it once per place and type.

    Args:
        where: What was being done, for example `capture`.
        error: The exception.
    """
    count_dropped("internal", where)
    warn_once(
        f"internal:{where}:{type(error).__name__}",
        "otel_ml survived an error of its own in %s (further ones are only counted): %s: %s",
        where,
        type(error).__name__,
        _text(error),
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as failure:
        return f"<__str__ raised {type(failure).__name__}>"


def reset() -> None:
    """Forget all counts and warnings."""
    with _lock:
        _dropped.clear()
        _said.clear()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  the inherited lock may be held by a thread that does not exist here
    _lock = threading.RLock()
    _dropped.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
