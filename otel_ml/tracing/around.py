"""A context manager around each call of a function, which stays a function of Python."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


def around_each_call(
    enter: Callable[[], AbstractContextManager[object]], function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a function or coroutine function with a context manager around each call.

    Args:
        enter: Returns the context manager of a call.
        function: Is called in it.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def around_coroutine(*args: Any, **kwargs: Any) -> Any:
            with enter():
                return await function(*args, **kwargs)

        return around_coroutine

    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        with enter():
            return function(*args, **kwargs)

    return around
