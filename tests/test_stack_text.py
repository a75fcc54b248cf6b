"""Stack traces from remembered places are what Python's own module prints."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

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


def test_two_functions_of_one_line_and_name_are_one_place() -> None:
    """For `traceback`, which counts such frames as repeated; two names on the line are two places."""
    inner, outer = (lambda: 1 // 0), (lambda: [inner()])
    namesake = eval("lambda call: call()")
    assert rendered(caught(outer)) is None
    assert rendered(caught(lambda: namesake(eval("lambda: 1 // 0")))) is None
    error = caught(lambda: namesake(inner))
    assert rendered(error) == official(error)


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
    assert len(stack_text._places.texts) <= 1024


def function_in(path: Path, source: str) -> Callable[[], object]:
    path.write_text(source)
    names: dict[str, Callable[[], object]] = {}
    exec(compile(source, str(path), "exec"), names)  # what importing it does
    return names["fail"]


def test_two_files_with_the_same_code_are_told_apart(tmp_path: Path) -> None:
    """Code objects are equal when all but their files is; a trace names the file that ran."""
    source = "def fail():\n    raise ValueError('x')\n"
    errors = [caught(function_in(tmp_path / name, source)) for name in ("one.py", "two.py")]
    for error in errors:
        assert rendered(error) == official(error)


def test_a_made_up_traceback_has_the_lines_that_it_names() -> None:
    """Without an instruction, as template engines make them, the place is the line alone."""
    error = caught(lambda: deep(1, ValueError("x")))
    frame = error.__traceback__
    assert frame is not None
    for line in (frame.tb_lineno, frame.tb_lineno - 1):
        moved = error.with_traceback(TracebackType(frame.tb_next, frame.tb_frame, -1, line))
        assert rendered(moved) == official(moved)


def test_frames_that_look_the_same_are_left_to_the_standard_library() -> None:
    """It says how often they are repeated, also when each has code of its own."""
    fail = eval("lambda: 1 // 0")
    for _ in range(6):
        fail = eval("lambda: below()", {"below": fail})
    error = caught(fail)
    assert "Previous line repeated" in official(error)
    assert rendered(error) is None


def test_a_very_long_line_is_not_kept(tmp_path: Path) -> None:
    """Generated code has lines of any length; only their text leaves, nothing stays."""
    error = caught(
        function_in(tmp_path / "long.py", f"def fail():\n    x = '{'a' * 100_000}'; raise ValueError(x[:1])\n")
    )
    assert rendered(error) == official(error)
    assert max(len(text) for _, text in stack_text._places.texts.values()) <= 4096


def test_what_one_redactor_masked_is_not_shown_for_another() -> None:
    """Nor by a thread that began to render before the redactor was replaced."""

    def fail() -> None:
        {"password": "hunter2secret"}["user"]

    error, strict = caught(fail), Redactor(Redaction(mask="***"))

    class Late(Redactor):
        def text(self, value: str) -> str:  # another thread uses the strict one meanwhile
            stack_text.render(ValueError("x"), "x", error.__traceback__, strict, 60)
            return value

    assert "hunter2secret" in (rendered(error, Late()) or "")
    assert "hunter2secret" not in (rendered(error, strict) or "")


def test_a_file_that_changes_later_does_not_change_what_ran(tmp_path: Path) -> None:
    """Python would print lines of the new file, which this code is not; the place is shown as it was."""
    path = tmp_path / "edited.py"
    fail = function_in(path, "def fail():\n    raise ValueError('x')\n")
    before = rendered(caught(fail)) or ""
    path.write_text("# a new first line\ndef fail():\n    raise ValueError('x')\n")
    assert "raise ValueError('x')" in before
    assert rendered(caught(fail)) == before
