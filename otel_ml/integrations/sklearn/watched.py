"""How a call of an estimator comes here: what stands in classes for their methods.

It is compiled where that can be done.
"""

from __future__ import annotations

import copy
import functools
from types import FunctionType, MethodType
from typing import Any, cast

from otel_ml.instruments import instruments
from otel_ml.integrations.sklearn.calls import begin
from otel_ml.primitives import bound

_MOST_FUNCTIONS = 64


class WatchedMethod:
    """Stands in a class for one of its methods: on objects it gives the watched one, on the class the original.

    scikit-learn's `available_if`, and whatever descriptor a method may be, decides as before who has the method. When
    a class is pickled by value, as cloudpickle does with those of a script, the original goes.

    Args:
        original: What stood in the class.
    """

    original: Any

    def __init__(self, original: Any) -> None:
        functools.update_wrapper(cast("Any", self), original)
        self.original = original
        self._plain = WatchedFunction(original) if type(original) is FunctionType else None
        self._known: dict[Any, WatchedFunction] = {}

    def __get__(self, instance: Any, owner: type | None) -> Any:
        if self._plain is not None and instance is not None:
            return bound(self._plain, instance)
        given = self.original.__get__(instance, owner)
        if instance is None or type(given) is not MethodType or given.__self__ is not instance:
            return given
        function = given.__func__
        found = self._known.get(function)
        if found is None:
            found = self._watched(function)
        return bound(found, instance)

    def __getattr__(self, name: str) -> Any:
        if name == "original":  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.original, name)

    def __eq__(self, other: object) -> bool:
        # MLflow's autolog refuses a method that is not what stands in its class.
        return other is self or other is self.original

    def __hash__(self) -> int:
        return hash(self.original)

    def __reduce__(self) -> tuple[Any, ...]:
        return copy.copy, (self.original,)  # which returns a function as it is: no name of ours in the pickle

    def _watched(self, function: Any) -> WatchedFunction:
        if len(self._known) >= _MOST_FUNCTIONS:  # a descriptor that makes a function each time
            self._known.clear()
        self._known[function] = found = WatchedFunction(function)
        return found


class WatchedFunction:
    """A method's function with a span around each call that is worth one. Pickled, it is the function.

    Args:
        function: Takes the estimator first.
    """

    function: Any
    _method: str

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(cast("Any", self), function)
        self.function = function
        self._method = function.__name__

    def __call__(self, estimator: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        function = self.function
        call = begin(estimator, self._method, args, kwargs) if instruments.enabled else None
        if call is None:
            return function(estimator, *args, **kwargs)
        try:  # without names the call is a cheaper one
            result = function(estimator, *args, **kwargs) if kwargs else function(estimator, *args)
        except BaseException as error:
            call.fail(error)
            raise
        call.stop(result)
        return result

    def __getattr__(self, name: str) -> Any:
        if name == "function":  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.function, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return copy.copy, (self.function,)
