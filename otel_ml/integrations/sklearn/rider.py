"""What goes to joblib's workers and comes back: which call their tasks belong to, and how far a search is."""

from __future__ import annotations

import importlib
import operator
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakValueDictionary

from otel_ml.current_span import detach, get_context, make_current
from otel_ml.integrations.sklearn import calls
from otel_ml.primitives import derived

Name = tuple[str, str]
"""Module and qualified name: a class itself may be one that cannot be pickled."""


class Rider:
    """See `otel_ml.luggage.Rider`."""

    def __init__(self) -> None:
        self._calls: WeakValueDictionary[int, calls.Call] = WeakValueDictionary()

    def __reduce__(self) -> str:
        return "RIDER"

    def board(self) -> object:
        """Return whose call the tasks belong to; None where they belong to none."""
        call = calls.current()
        if call is None:
            return None
        if call.progress is not None:
            call.in_workers = True
        self._calls[id(call)] = call
        return id(call), _name(call.kind), _name(calls.options.worth_span), calls.options.feature_importances

    def ride(self, payload: object) -> AbstractContextManager[object]:
        """Watch estimators in a worker process as in the process that sent the task."""
        return _inside(payload)

    def arrived(self, payload: object, results: list[Any]) -> None:
        """Count the fits of a search that came back."""
        call = self._calls.get(payload[0]) if isinstance(payload, tuple) else None
        if call is not None and call.progress is not None:
            for result in results:
                call.progress.done(_score(result))


RIDER = Rider()


@contextmanager
def _inside(payload: Any) -> Iterator[None]:
    from otel_ml.integrations.sklearn.instrumentor import SklearnInstrumentor  # noqa: PLC0415  it imports this module

    _, kind, worth_span, importances = payload
    instrumentor = SklearnInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(worth_span=_found(worth_span), feature_importances=importances, progress=False)
    call = calls.Call(None, _found(kind) or object)
    token = make_current(derived(get_context(), calls.CALL_KEY, call))
    try:
        yield
    finally:
        detach(token)


def _name(named: Any) -> Name:
    return str(getattr(named, "__module__", "")), str(getattr(named, "__qualname__", ""))


def _found(name: Name) -> Any:
    """Return what has a name here, or None: a script's `__main__` is another one in a worker."""
    module, qualified = name
    try:
        return operator.attrgetter(qualified)(importlib.import_module(module))
    except (ImportError, AttributeError, ValueError):
        return None


def _score(result: object) -> float | None:
    """Return the score of one fit of scikit-learn's searches, or None where a task returns something else."""
    scores = result.get("test_scores") if isinstance(result, dict) else None
    if isinstance(scores, dict):
        scores = scores.get("score")
    return scores if isinstance(scores, float) else None
