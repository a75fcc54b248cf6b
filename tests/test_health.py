"""What was lost is counted, and said once."""

from __future__ import annotations

import logging
import os
import sys
from types import FrameType

import pytest

from otel_ml import health


def test_losses_add_up_by_signal_and_reason() -> None:
    """Each pair has its own count."""
    health.count_dropped("traces", "queue_full")
    health.count_dropped("traces", "queue_full", 4)
    health.count_dropped("logs", "queue_full")
    assert health.dropped() == {("traces", "queue_full"): 5, ("logs", "queue_full"): 1}


def test_what_is_counted_in_the_middle_of_a_count_is_not_lost() -> None:
    """A `__del__` or a signal handler may run at any call in it."""
    nested = 0

    def count_one_more(frame: FrameType, event: str, argument: object) -> None:
        nonlocal nested
        if frame.f_code is health.count_dropped.__code__ and event in ("call", "return"):
            return  # before or after it, not in the middle
        nested += 1
        health.count_dropped("traces", "queue_full")

    before = sys.getprofile()
    sys.setprofile(count_one_more)
    try:
        for _ in range(3):
            health.count_dropped("traces", "queue_full", 10)
    finally:
        sys.setprofile(before)
    assert nested >= 3
    assert health.dropped() == {("traces", "queue_full"): 30 + nested}


def test_a_warning_is_said_once_a_key(caplog: pytest.LogCaptureFixture) -> None:
    """The second time nothing is logged."""
    for _ in range(3):
        health.warn_once("a", "first %s", 1)
    health.warn_once("b", "second")
    assert [record.getMessage() for record in caplog.records] == ["first 1", "second"]


def test_an_error_of_our_own_is_counted_each_time_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Even one whose text cannot be had."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    for _ in range(2):
        health.internal_error("capture", Mute())
    assert health.dropped() == {("internal", "capture"): 2}
    assert [record.getMessage() for record in caplog.records] == [
        "otel_ml survived an error of its own in capture (further ones are only counted): "
        "Mute: <__str__ raised RuntimeError>"
    ]


def test_a_handler_that_raises_does_not_reach_the_caller() -> None:
    """A warning that cannot be logged is counted instead."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no")

    handler = Broken()
    logging.getLogger("otel_ml").addHandler(handler)
    try:
        health.warn_once("x", "text")
    finally:
        logging.getLogger("otel_ml").removeHandler(handler)
    assert health.dropped() == {("internal", "warning_failed"): 1}


def test_a_forked_child_counts_its_own_losses_only() -> None:
    """The parent exports the parent's losses."""
    health.count_dropped("traces", "queue_full", 3)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if health.dropped() == {} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert health.dropped() == {("traces", "queue_full"): 3}
