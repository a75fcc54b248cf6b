"""Functions, coroutines, generators and async generators, each wrapped in an operation; chosen once, at decoration.

A wrapper refers to nothing but its function, its spec and modules, so that cloudpickle can send it to a worker.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Protocol

from otel_ml.instruments import instruments
from otel_ml.operations import Operation
from otel_ml.quick_call import quicken

_CACHE_METHODS = ("cache_info", "cache_clear", "cache_parameters")


class Startable(Protocol):
    """What is known at decoration, by which calls are begun."""

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """Begin an operation and make its span current."""
        ...


def wrap(function: Callable[..., Any], spec: Startable) -> Callable[..., Any]:
    """Return `function` with an operation around each call; its kind, signature and names stay the same."""
    plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    target = function if plain else getattr(function, "__call__", function)  # noqa: B004  it is looked into, not tested
    if inspect.isasyncgenfunction(target):
        wrapper = _async_generator(function, spec)
    elif inspect.iscoroutinefunction(target):
        wrapper = _coroutine(function, spec)
    elif inspect.isgeneratorfunction(target):
        wrapper = _generator(function, spec)
    else:
        wrapper = _function(function, spec)
    functools.update_wrapper(wrapper, function)
    for name in _CACHE_METHODS:  # of functools.lru_cache, which keeps them elsewhere than other attributes
        if hasattr(function, name):
            setattr(wrapper, name, getattr(function, name))
    return wrapper


def _function(function: Callable[..., Any], spec: Startable) -> Callable[..., Any]:
    start = spec.start

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not instruments.enabled:
            return function(*args, **kwargs)
        operation = start(args, kwargs)
        try:  # without names the call is a cheaper one
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            operation.fail(error)
            raise
        operation.stop(result)
        return result

    quicken(wrapper)
    return wrapper


def _coroutine(function: Callable[..., Any], spec: Startable) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        if not instruments.enabled:
            return await function(*args, **kwargs)
        operation = spec.start(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            operation.fail(error)
            raise
        operation.stop(result)
        return result

    return wrapper


def _generator(function: Callable[..., Any], spec: Startable) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        if not instruments.enabled:
            return (yield from function(*args, **kwargs))
        generator = function(*args, **kwargs)
        operation = spec.start(args, kwargs)
        advance, value = generator.send, None
        while True:
            try:
                item = advance(value)
            except StopIteration as end:
                operation.stop(end.value)
                return end.value
            except BaseException as error:
                operation.fail(error)
                raise
            operation.suspend()
            try:
                value = yield item
                advance = generator.send
            except GeneratorExit:
                with operation.abandoning():
                    generator.close()
                raise
            except BaseException as error:
                advance, value = generator.throw, error
            operation.resume()

    return wrapper


def _async_generator(function: Callable[..., Any], spec: Startable) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        operation = spec.start(args, kwargs)
        advance, value = generator.asend, None
        while True:
            try:
                item = await advance(value)
            except StopAsyncIteration:
                operation.stop(None)
                return
            except BaseException as error:
                operation.fail(error)
                raise
            operation.suspend()
            try:
                value = yield item
                advance = generator.asend
            except GeneratorExit:
                with operation.abandoning():
                    await generator.aclose()
                raise
            except BaseException as error:
                advance, value = generator.athrow, error
            operation.resume()

    return wrapper
