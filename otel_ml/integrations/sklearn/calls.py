"""One call of an estimator: whether it is watched, its span, and what is said of it at its end.

It is compiled where that can be done.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry.context import Context

from otel_ml import conventions, health
from otel_ml.capture import rows_and_columns
from otel_ml.clean_attributes import clean
from otel_ml.current_span import get_context
from otel_ml.instruments import instruments
from otel_ml.integrations.sklearn import facts, policy
from otel_ml.integrations.sklearn.progress import Progress, begin_fit
from otel_ml.integrations.sklearn.step_names import name_of
from otel_ml.loggers import own_logger
from otel_ml.operations import Operation, Spec
from otel_ml.primitives import item, put
from otel_ml.summaries import recognised

CALL_KEY: Final = context_api.create_key("otel_ml.estimator")
"""Where a context keeps the innermost `Call` that it is in."""

_MOST_CALLS: Final = policy.MOST_CALLS
_MOST_CLASSES = 256
_MOST_SHAPES = 64
_logger = own_logger("sklearn")


@dataclass
class Options:
    """What the instrumentor was told: see `SklearnInstrumentor.instrument`; `everything`: not selected ones only."""

    worth_span: Callable[[type[Any], str, type[Any] | None], bool] = policy.worth_span
    feature_importances: bool = False
    progress: bool | None = None
    everything: bool = False


options = Options()
_selected: dict[int, weakref.ref[Any]] = {}
_subjects: dict[tuple[type[Any], str], Subject] = {}


class Subject:
    """One method of one class of estimators.

    Args:
        kind: The class.
        method: Name of the method.
    """

    __slots__ = ("_known", "_last", "_worth", "is_fit", "kind", "method", "spec")

    def __init__(self, kind: type[Any], method: str) -> None:
        named = {conventions.ESTIMATOR_CLASS: kind.__name__, conventions.ESTIMATOR_METHOD: method}
        self.kind = kind
        self.method = method
        self.is_fit = method in policy.FITTING
        self.spec = Spec(f"{kind.__name__}.{method}", _logger, _histogram, named, named)
        self._known: dict[Any, Any] = {}
        self._last: tuple[Any, Any, Any, Any, Any] = (None, None, None, None, None)
        self._worth: dict[type[Any] | None, bool] = {}

    def is_worth_span(self, inside: type[Any] | None) -> bool:
        """Whether a call from inside one of such a class gets a span."""
        found = self._worth.get(inside)
        if found is None:
            found = self._worth[inside] = bool(options.worth_span(self.kind, self.method, inside))
        return found

    def attributes(self, step: str | None, data: Any) -> Any:
        """Return the attributes of a span: those of the call before where they are the same, as they most often are."""
        kind, last = type(data), self._last
        is_known = last[0] is kind or recognised(kind) is not None  # what else data is may take long to say its shape
        shape, dtype = (getattr(data, "shape", None), getattr(data, "dtype", None)) if is_known else (None, None)
        if is_known and last[1] is dtype and last[2] is step and type(shape) is tuple and last[3] == shape:
            return last[4]  # to hash a dtype takes as long as all of this
        rows, columns = rows_and_columns(data)
        described = kind, rows, columns, dtype
        found = self._known.get((step, described))
        if found is None:
            if len(self._known) >= _MOST_SHAPES:
                self._known.clear()
            found = self._known[step, described] = self.plain(step, described)
        if is_known:
            self._last = (kind, dtype, step, shape, found)
        return found

    def plain(self, step: str | None, described: Any) -> Any:
        """Return attributes that nobody remembers."""
        named = {} if step is None else {conventions.ESTIMATOR_STEP: step}
        return clean({**self.spec.attributes, **named, **facts.input_attributes(described)})


class Call:
    """One call under way, or one in another process that this one belongs to.

    Args:
        estimator: Whose call it is; None: one of another process.
        kind: Its class.

    Attributes:
        children: Calls of other estimators inside it that got a span.
        hidden: Those that did not.
        progress: How far a search is; None: it is none.
        in_workers: Whether its tasks are counted where they come back from workers.
    """

    __slots__ = (
        "__weakref__", "_operation", "_outer", "_subject", "children", "estimator", "hidden", "in_workers",
        "kind", "progress",
    )  # fmt: skip

    def __init__(self, estimator: object | None, kind: type[Any]) -> None:
        self.estimator = estimator
        self.kind = kind
        self.children = self.hidden = 0
        self.in_workers = False
        self.progress: Progress | None = None

    def _begin(self, subject: Subject, outer: Call | None, context: Context, data: tuple[Any, ...]) -> None:
        self._subject = subject
        self._outer = outer
        self._operation = operation = Operation.__new__(Operation)
        step = None if outer is None else name_of(self.estimator, outer.estimator)
        given = data[0] if data else None
        try:
            attributes = subject.attributes(step, given)
        except Exception as error:  # data of a foreign class may do anything
            health.internal_error("description of an estimator's input", error)
            attributes = subject.plain(step, (type(given), None, None, None))
        operation.begin(subject.spec, attributes, subject.spec.series)
        current = get_context()
        if current is not context and type(current) is Context:
            put(current, CALL_KEY, self)  # made just now, so one copy less is made
        if subject.is_fit:
            try:
                self._begin_fit(data)
            except Exception as error:  # a search's parameters may be anything
                health.internal_error("description of an estimator", error)

    def stop(self, result: object) -> None:
        """End a call that returned."""
        try:
            self._describe(result)
        except Exception as error:  # attributes of an estimator may do anything
            health.internal_error("description of an estimator", error)
        self._operation.stop(result)
        self._leave()

    def fail(self, error: BaseException) -> None:
        """End a call that raised."""
        self._operation.fail(error)
        self._leave()

    def _begin_fit(self, data: tuple[Any, ...]) -> None:
        span, name = self._operation.span, self._subject.spec.span_name
        if span.is_recording():
            span.set_attributes(facts.before_fit(self.estimator, data))
        is_outermost = self._outer is None
        self.progress = begin_fit(
            self.estimator, name, data, span=span, is_outermost=is_outermost, bar=options.progress
        )

    def _describe(self, result: object) -> None:
        span = self._operation.span
        if self.hidden:
            span.set_attribute(conventions.ESTIMATOR_HIDDEN, self.hidden)
        if self._subject.is_fit:
            if span.is_recording():
                span.set_attributes(facts.after_fit(self.estimator, importances=options.feature_importances))
        elif self._subject.method == "score":
            score = facts.number(result)
            if score is not None:
                span.set_attribute(conventions.ESTIMATOR_SCORE, score)

    def _leave(self) -> None:
        if self.progress is not None:
            self.progress.end()
        outer = self._outer
        if self._subject.is_fit and outer is not None and outer.progress is not None and not outer.in_workers:
            outer.progress.done(None)


def begin(estimator: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """Begin a call; None when it is not watched: it is one on the same object, or not worth a span.

    Args:
        estimator: Whose call it is.
        method: Name of the method.
        args: What it is given.
        kwargs: The same by name.
    """
    try:
        context = get_context()
        outer: Call | None = item(context, CALL_KEY)
        if outer is None:
            if not options.everything and id(estimator) not in _selected:
                return None
        elif outer.estimator is estimator:
            return None
        kind = type(estimator)
        subject = _subjects.get((kind, method)) or _learn(kind, method)
        if not subject.is_worth_span(None if outer is None else outer.kind):
            if outer is not None:
                outer.hidden += 1
            return None
        if outer is not None:
            if outer.children >= _MOST_CALLS:
                outer.hidden += 1
                return None
            outer.children += 1
        call = Call(estimator, kind)
        call._begin(subject, outer, context, args or facts.by_name(kwargs))
    except Exception as error:  # an estimator, or the caller's worth_span, may do anything
        health.internal_error("start of an estimator's span", error)
        return None
    return call


def current() -> Call | None:
    """Return the innermost call that the caller is in."""
    found: Call | None = item(get_context(), CALL_KEY)
    return found


def select(estimator: object) -> None:
    """Watch the calls of one estimator, as long as it lives."""
    key = id(estimator)
    _selected[key] = weakref.ref(estimator, lambda _: _selected.pop(key, None))


def deselect(estimator: object) -> None:
    """Undo `select`."""
    _selected.pop(id(estimator), None)


def has_selected() -> bool:
    """Whether an estimator is selected."""
    return bool(_selected)


def forget() -> None:
    """Forget what earlier options had decided."""
    _subjects.clear()


def _learn(kind: type[Any], method: str) -> Subject:
    if len(_subjects) >= _MOST_CLASSES:  # classes that are made anew each time would be kept for ever
        _subjects.clear()
    subject = _subjects[kind, method] = Subject(kind, method)
    return subject


def _histogram() -> Any:
    return instruments.estimator_duration
