"""Exceptions that otel_ml raises on purpose, all of them at configuration time."""

from __future__ import annotations


class Error(Exception):
    """Base of every exception that otel_ml raises on purpose."""


class ConfigurationError(Error, ValueError):
    """An option has a value that cannot work.

    Args:
        option: Name of the option as the caller wrote it, for example `Logs.level`.
        received: The value that was given.
        expected: What would have been right.
        hint: What to do about it, a sentence; empty when `expected` says it all.
    """

    def __init__(self, option: str, received: object, expected: str, hint: str = "") -> None:
        self.option = option
        self.received = received
        self.expected = expected
        self.hint = hint
        super().__init__(option, received, expected, hint)

    def __str__(self) -> str:
        message = f"{self.option}: expected {self.expected}, received {shorten(self.received)}"
        return f"{message}. {self.hint}" if self.hint else message


class MissingExtraError(Error, ImportError):
    """A library that an extra of otel_ml brings is not installed.

    Args:
        module: Name of the library's module.
        extra: The extra that brings it.
        purpose: What it is needed for, as the end of a sentence.
    """

    def __init__(self, module: str, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(
            f"{module}: expected to be installed {purpose}, received no module of that name. "
            f"Install it with: pip install 'otel-ml[{extra}]'",
            name=module,
        )


def shorten(value: object, limit: int = 200) -> str:
    """Return `repr(value)` cut to `limit` characters, or the type's name when `repr` fails."""
    try:
        text = repr(value)
    except Exception as error:  # the value is the caller's: its __repr__ may do anything
        text = f"<{type(value).__name__} whose __repr__ raised {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
