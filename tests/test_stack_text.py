"""Stack traces from remembered places are what Python's own module prints."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ml import stack_text
from otel_ml.options import Redaction
from otel_ml.redaction import Redactor

PLAIN = Redactor.off()


class Custom(Exception):
    """An exception of an application."""


def caught(fail: Callable[[], object]) -> BaseException:
    try:
        fail()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def deep(levels: int, error: BaseException) -> object:
    # Two places that call alternately, so that no frame is repeated.
    if levels == 0:
        raise error
    if levels % 2:
        return [deep(levels - 1, error)]
    return (deep(levels - 1, error),)


def rendered(error: BaseException, redactor: Redactor = PLAIN) -> str | None:
    return stack_text.render(error, redactor.text(str(error)), error.__traceback__, redactor, 60)


def official(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@given(
    st.integers(0, 20),
    st.sampled_from([ValueError, KeyError, Custom, OSError, KeyboardInterrupt]),
    st.text(max_size=30),
)
def test_it_is_the_text_of_the_standard_library(levels: int, kind: type[BaseException], message: str) -> None:
    """Frames, lines, markers and the last line, the first time and the second."""
    error = caught(lambda: deep(levels, kind(message)))
    assert rendered(error) == rendered(error) == official(error)


def test_an_exception_without_a_message_or_a_traceback() -> None:
    """As little as there is."""
    for error in (ValueError(), Custom("never raised"), caught(lambda: deep(1, Custom()))):
        assert rendered(error) == official(error)


def cause() -> None:
    try:
        raise KeyError("first")
    except KeyError as first:
        raise ValueError("second") from first


def context() -> None:
    try:
        raise KeyError("first")
    except KeyError:
        raise ValueError("second")  # noqa: B904


def recursion(levels: int = 5) -> None:
    if levels == 0:
        raise ValueError("deep")
    recursion(levels - 1)


def note() -> None:
    error = ValueError("x")
    error.add_note("more")
    raise error


def group() -> None:
    raise ExceptionGroup("several", [ValueError("x")])


def misspelt() -> None:
    _ = "x".uper()  # type: ignore[attr-defined]


def too_deep() -> None:
    deep(70, ValueError("x"))


@pytest.mark.parametrize("fail", [cause, context, recursion, note, group, misspelt, too_deep])
def test_what_needs_more_is_left_to_the_standard_library(fail: Callable[[], object]) -> None:
    """A cause, a context, repeated frames, notes, groups, suggestions, more frames than are shown."""
    assert rendered(caught(fail)) is None


def test_a_cause_that_is_hidden_is_not_shown() -> None:
    """`raise ... from None` says the same as an exception without a context."""

    def hidden() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None

    error = caught(hidden)
    assert rendered(error) == official(error)


def test_source_lines_are_masked() -> None:
    """A secret in the source of a frame is in no stack trace, and another redactor masks in its own way."""

    def fail() -> None:
        {"password": "hunter2secret"}["user"]

    error = caught(fail)
    assert "hunter2secret" in (rendered(error) or "")
    masked = rendered(error, Redactor(Redaction(mask="***"))) or ""
    assert "hunter2secret" not in masked and "***" in masked


def test_a_callback_of_the_user_is_asked_each_time() -> None:
    """Then nothing may be remembered."""
    error = caught(lambda: deep(1, ValueError("x")))
    assert rendered(error, Redactor(Redaction(callback=lambda key, value: value))) is None


def test_places_are_bounded() -> None:
    """Code that is made at run time does not fill the memory."""
    for number in range(1500):
        function = eval(f"lambda: {number} // 0")
        assert rendered(caught(function)) is not None
    assert len(stack_text._places) <= 1024
