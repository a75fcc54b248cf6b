"""Exceptions as masked, bounded text."""

from __future__ import annotations

import builtins
import pickle
from pathlib import Path
from typing import Any

import pytest

import otel_ml
from otel_ml import exceptions


class Refusing(Exception):
    """Has no room for a mark, and no text."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_type_names_are_qualified_except_for_builtins() -> None:
    """As OpenTelemetry's `error.type` has them."""
    assert exceptions.error_type(ValueError()) == "ValueError"
    assert exceptions.error_type(Refusing()) == f"{__name__}.Refusing"


def test_names_of_the_language_are_those_of_their_classes() -> None:
    """Each of them, though the names were taken down before; a class of the same name elsewhere is another one."""
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
    for kind in kinds:
        error = kind.__new__(kind, "", [ValueError()])  # as a group is made
        assert exceptions.error_type(error) == type(error).__qualname__
    assert exceptions.error_type(type("ValueError", (Exception,), {})()) == f"{__name__}.ValueError"


def test_message_and_trace_are_masked() -> None:
    """Personal data in an exception's text does not leave."""
    failure = exceptions.describe(raised(ValueError("no user ada@example.org")))
    assert failure.message.startswith("no user ") and "ada@example.org" not in failure.message
    assert "ValueError: no user" in failure.stacktrace and "ada@example.org" not in failure.stacktrace


def test_causes_are_in_the_trace() -> None:
    """A chain of exceptions is shown whole."""
    try:
        try:
            raise KeyError("first")
        except KeyError as cause:
            raise ValueError("second") from cause
    except ValueError as error:
        stacktrace = exceptions.describe(error).stacktrace
    assert "KeyError: 'first'" in stacktrace and "direct cause" in stacktrace


def test_a_huge_message_keeps_head_and_tail() -> None:
    """Fifty megabytes become thirty-two kibibytes that still say what it was."""
    failure = exceptions.describe(raised(ValueError("head" + "x" * 50_000_000 + "tail")))
    for text in (failure.message, failure.stacktrace):
        assert len(text) < 33 * 1024
        assert "characters left out" in text
    assert failure.message.startswith("head") and failure.message.endswith("tail")


def test_a_long_chain_and_deep_recursion_are_bounded() -> None:
    """A thousand causes and frames end up within the bound."""
    error: BaseException = ValueError("0")
    for number in range(1000):
        new = ValueError(str(number))
        new.__cause__ = error
        error = new
    assert len(exceptions.describe(error).stacktrace) < 33 * 1024

    def recurse() -> None:
        recurse()

    with pytest.raises(RecursionError) as caught:
        recurse()
    assert "RecursionError" in exceptions.describe(caught.value).stacktrace


def test_an_exception_without_text_or_room_for_a_mark_is_described() -> None:
    """Whatever the class does, something is said of it."""
    failure = exceptions.describe(Refusing())
    assert failure.message == "<__str__ raised RuntimeError>"
    assert "Refusing" in failure.stacktrace
    assert exceptions.first_time(Refusing())


def test_the_mark_is_set_once_and_travels_by_pickle() -> None:
    """What a worker process recorded is not recorded again by its parent."""
    error = ValueError("x")
    assert exceptions.first_time(error)
    assert not exceptions.first_time(error)
    assert not exceptions.first_time(pickle.loads(pickle.dumps(error)))


class Raising(Exception):
    """Raises when it is asked for anything that it has not."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


class Agreeing(Exception):
    """Has an answer to every name, as classes that hand on to another object do."""

    def __getattr__(self, name: str) -> object:
        return "yes"


@pytest.mark.parametrize("kind", [Raising, Agreeing])
def test_whatever_a_class_answers_it_is_recorded(kind: type[Exception]) -> None:
    """Only our own mark says that it was recorded before."""
    error = raised(kind("boo"))
    assert exceptions.first_time(error)
    failure = exceptions.describe(error)
    assert failure.message == "boo" and failure.type == f"{__name__}.{kind.__name__}"
    assert "raised(kind(" in failure.stacktrace or "raise error" in failure.stacktrace
    assert not exceptions.first_time(error)


def test_a_huge_source_line_is_bounded(tmp_path: Path) -> None:
    """Generated code has lines of any length."""
    source = f"text = '{'a' * 200_000}'; raise ValueError('x')"
    (tmp_path / "generated.py").write_text(source)
    with pytest.raises(ValueError, match="x") as caught:
        exec(compile(source, str(tmp_path / "generated.py"), "exec"))
    stacktrace = exceptions.describe(caught.value).stacktrace
    assert len(stacktrace) < 33 * 1024 and stacktrace.endswith("ValueError: x\n")


class _Mute(Exception):
    """Answers no question."""

    def __getattribute__(self, name: str) -> object:
        raise ValueError(name)


class _Nameless(type):
    """A class that does not tell its name."""

    def __getattribute__(cls, name: str) -> object:
        if name in ("__module__", "__qualname__"):
            raise ValueError(name)
        return type.__getattribute__(cls, name)


class _NamelessError(Exception, metaclass=_Nameless):
    """Has that class."""


@pytest.mark.parametrize("kind", [_Mute, _NamelessError])
@pytest.mark.parametrize("decorate", [otel_ml.step, otel_ml.inference("model", version="1")])
def test_an_exception_that_answers_nothing_reaches_the_caller(kind: type[Exception], decorate: Any) -> None:
    """As it is, with its class's own name told."""
    error = kind("x")

    def act(features: object) -> None:
        raise error

    with pytest.raises(Exception) as caught:
        decorate(act)({"a": 1.0})
    assert caught.value is error
    assert exceptions.error_type(error) == f"{__name__}.{'_Mute' if kind is _Mute else '_NamelessError'}"
