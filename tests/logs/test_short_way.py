"""A line that took the short way is the one that the general way makes, and what is unusual does not take it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from logs.running import read_lines
from logs.short_lines import GENERAL, Short, around, compiled_only
from opentelemetry.context import attach, detach, set_value
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, TraceFlags, use_span

from otel_ml import redaction
from otel_ml.redaction import Redactor
from otel_ml.runs import RUN_KEY, Run
from otel_ml.worker import exporting_threads

pytestmark = pytest.mark.usefixtures("own_redactor")

Begin = Callable[..., Short]

ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
MESSAGES = st.sampled_from(["plain", "%s", "%r and %s", "%d", "100 %", 'a\x7f\u2028\x85\n"\\b', "mail ann@example.com"])


SPANS = {
    "none": INVALID_SPAN,
    "sampled": NonRecordingSpan(SpanContext(0xAB << 120, 0xCD, is_remote=False, trace_flags=TraceFlags(1))),
    "unsampled": NonRecordingSpan(SpanContext(7, 8, is_remote=False)),
}


@pytest.mark.parametrize("exporter", [None, InMemoryLogRecordExporter()])
def test_it_queues_what_the_general_way_queues(begin: Begin, exporter: InMemoryLogRecordExporter | None) -> None:
    """Every byte and field: whatever the text, its arguments, the level, the time, the span, and who wants the line."""
    short = begin(exporter)

    @given(
        MESSAGES | st.text() | st.integers(),
        st.lists(ATOMS, max_size=2) | st.just([{"a": 1}]) | st.just([[1]]),
        st.sampled_from([10, 20, 30, 35, 40, 50]),
        st.sampled_from(sorted(SPANS)),
        st.floats(0.001, 2**33 - 1),
    )
    @settings(deadline=None)
    def check(message: object, arguments: list[Any], level: int, span: str, now: float) -> None:
        with use_span(SPANS[span]), pytest.MonkeyPatch.context() as patch:
            short.learn(message, *arguments, level=level)
            patch.setattr(time, "time", lambda: now)
            patch.setattr(time, "time_ns", lambda: int(now * 1e9))
            short.write(message, *arguments, level=level)
            short.write(message, *arguments, level=level, **GENERAL)
        assert short.seen[-1] == short.seen[-2]

    check()


@compiled_only
@pytest.mark.parametrize("exporter", [None, InMemoryLogRecordExporter()])
def test_ordinary_lines_take_it(begin: Begin, tmp_path: Path, exporter: InMemoryLogRecordExporter | None) -> None:
    """As bytes when place and text are known; also where a library gave its logger a handler that does nothing."""
    short = begin(exporter)
    logging.getLogger("app").addHandler(logging.NullHandler())
    assert short.write("step %d", 1)
    assert short.pipeline.flush(30.0)
    with use_span(SPANS["sampled"]):
        assert short.write("step %d", 2)
    assert short.write("a text that is not known: ann@example.com")
    assert short.write("step %d", 4)
    assert short.pipeline.flush(30.0)
    lines = read_lines(tmp_path)
    assert [line["message"] for line in lines] == [
        "step 1", "step 2", "a text that is not known: [redacted]", "step 4"
    ]  # fmt: skip
    assert [line.get("span_id") for line in lines] == [None, f"{0xCD:016x}", None, None]
    assert [type(item) is bytes for item in short.seen] == [False, exporter is None, False, exporter is None]


Change = Callable[[Short, pytest.MonkeyPatch], object]


class Subclass(logging.Logger):
    """Does nothing of its own, but could."""


def _on_class(name: str) -> Change:
    return lambda short, patch: patch.setattr(logging.Logger, name, around(getattr(logging.Logger, name)))


def _on_instance(name: str) -> Change:
    return lambda short, patch: patch.setattr(short.log, name, around(getattr(short.log, name)))


def _in_module(name: str) -> Change:
    return lambda short, patch: patch.setattr(logging, name, around(getattr(logging, name)))


def _with_subclass(short: Short, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(short.log, "__class__", Subclass)


def _on_class_of_parent(short: Short, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logging.getLogger("app"), "__class__", Subclass)


def _handlers(logger: str) -> Change:
    def change(short: Short, patch: pytest.MonkeyPatch) -> None:
        changed = logging.getLogger(logger)
        patch.setattr(changed, "handlers", [*changed.handlers, logging.Handler(logging.CRITICAL)])

    return change


def _by_hand(short: Short, patch: pytest.MonkeyPatch) -> None:
    """A logger that no manager has given its attribute, with an override of its own."""
    log = logging.Logger(short.log.name)
    log.parent = short.log.parent
    patch.setattr(short, "log", log)
    patch.setattr(log, "handle", around(log.handle), raising=False)


def _nothing_done(short: Short, patch: pytest.MonkeyPatch) -> None:
    handler = logging.NullHandler()
    patch.setattr(handler, "handle", around(handler.handle))
    patch.setattr(short.log, "handlers", [handler])


def _nothing_done_by_all(short: Short, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logging.NullHandler, "handle", around(logging.NullHandler.handle))
    patch.setattr(short.log, "handlers", [logging.NullHandler()])


METHODS = ("findCaller", "makeRecord", "handle", "callHandlers", "filter")
CHANGES: dict[str, Change] = {
    **{f"{name} of all": _on_class(name) for name in METHODS},
    **{f"{name} of one": _on_instance(name) for name in METHODS},
    **{name: _in_module(name) for name in ("_logRecordFactory", "_is_internal_frame", "currentframe")},
    "no callers": lambda short, patch: patch.setattr(logging, "_srcfile", None),
    "subclass": _with_subclass,
    "subclass above": _on_class_of_parent,
    "filter": lambda short, patch: patch.setattr(short.log, "filters", [lambda record: True]),
    "filter of ours": lambda short, patch: patch.setattr(short.handler, "filters", [lambda record: True]),
    "level of ours": lambda short, patch: patch.setattr(short.handler, "level", logging.ERROR),
    "handle of ours": lambda short, patch: patch.setattr(short.handler, "handle", short.handler.handle),
    "handler": _handlers("app.part"),
    "handler above": _handlers("app"),
    "handler on root": _handlers(""),
    "handler twice": lambda short, patch: patch.setattr(short.log, "handlers", [short.handler]),
    "by hand": _by_hand,
    "nothing done": _nothing_done,
    "nothing done by all": _nothing_done_by_all,
    "no handler": lambda short, patch: patch.setattr(logging.getLogger(), "handlers", []),
    "goes no further": lambda short, patch: patch.setattr(logging.getLogger("app"), "propagate", False),
    "exporting": lambda short, patch: exporting_threads.add(get_ident()),
}  # fmt: skip


@compiled_only
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_somebody_changed_is_left_to_the_general_way(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    """Methods, filters, handlers, levels, factories: it does what it did before, and the short way is open after."""
    short = begin()
    short.learn("step")
    assert short.write("step")
    try:
        with monkeypatch.context() as patch:
            change(short, patch)
            assert not short.write("step")
    finally:
        exporting_threads.discard(get_ident())
    assert short.write("step")


@compiled_only
@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("step",), {"exc_info": ValueError("bad")}), (("step",), {"stack_info": True}), (("step",), {"stacklevel": 2}),
        (("step",), {"extra": {"rows": 3}}), (("step %s", [1]), {}), (("step %(a)s", {"a": 1}), {}), ((7,), {}),
        (("step", 1), {}), (("x" * 70_000,), {}), (("step",), {"level": 31}),
    ],
)  # fmt: skip
def test_an_unusual_call_goes_the_general_way(
    begin: Begin, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """Exceptions, stacks, extra, objects, a wrong format, a text that is cut, levels without a name."""
    short = begin()
    for _ in range(2):
        short.learn("step")
        short.learn(*arguments, **options)
    assert short.write("step")
    assert not short.write(*arguments, **options)


@compiled_only
def test_another_redactor_knows_no_text(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is the listener's again until the redactor in force has seen the place and the text."""
    short = begin()
    for redactor in (redaction.current(), Redactor()):
        monkeypatch.setattr(redaction, "_current", redactor)
        short.learn("step")
        assert short.write("step")
    assert [type(item) is bytes for item in short.seen] == [False, True, False, True]


@compiled_only
def test_a_line_with_the_labels_of_a_run_goes_the_general_way(begin: Begin) -> None:
    """A run's id is in the line; its labels are extra."""
    short = begin()
    short.learn("step")
    for labels, expected in ((None, True), ({"dvc.stage": "train"}, False)):
        token = attach(set_value(RUN_KEY, Run("0123", "night", labels=labels)))
        try:
            assert short.write("step") is expected
            short.write("step", **GENERAL)
        finally:
            detach(token)
    assert b'"run_id":"0123"' in short.seen[-4]
    assert short.seen[-4][45:] == short.seen[-3][45:]
