"""`SklearnInstrumentor`: all estimators of a process, or one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from otel_ml.errors import ConfigurationError
from otel_ml.integrations import joblib
from otel_ml.integrations.sklearn import calls, patching, policy, rider
from otel_ml.patches import Undo, when_imported

_BASE = "sklearn.base"


class SklearnInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Watches scikit-learn: spans named `Class.method`, nested as they ran, and a duration histogram.

    `fit`, `transform`, `predict` and the like of every estimator are watched: of scikit-learn, of libraries and of
    your own, those that are defined later too. Spans carry the name of the pipeline's step, shapes and dtypes of the
    input, and for a fit parameters, fitted sizes and scores; never values of the data. Estimators themselves are not
    changed: what is pickled holds nothing of ours.

    Like every instrumentor of OpenTelemetry it is one object a process, is found by `opentelemetry-instrument`, and
    uses the providers that are set. scikit-learn is not imported before the program does that.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return what must be installed for it to work."""
        return ("scikit-learn >= 1.7",)

    def instrument(self, instance: object | None = None, **kwargs: Any) -> None:
        """Begin to watch.

        Args:
            instance: One estimator: its calls are watched, and those of other estimators inside them. Default: all.
            **kwargs: `worth_span`, a function of an estimator's class, a method's name and the class of the estimator
                that calls it (None: none does) that says whether such calls get spans; default:
                `otel_ml.integrations.sklearn.policy.worth_span`, which leaves out the members of an ensemble.
                `feature_importances`: whether a fit's span has the importances that the estimator gives, largest
                first; default False. `progress`: whether a search shows a bar; default: on a terminal. Further ones
                are those of every instrumentor.

        Raises:
            ConfigurationError: An argument is of the wrong type.
        """
        _check(kwargs)
        if instance is None:
            if self.is_instrumented_by_opentelemetry and kwargs:
                _options(kwargs)  # what a program says itself goes before what was set up around it
                return
            super().instrument(**kwargs)
            return
        if not callable(getattr(instance, "fit", None)) and not callable(getattr(instance, "predict", None)):
            raise ConfigurationError("SklearnInstrumentor.instrument(instance)", instance, "an estimator")
        _options(kwargs)
        calls.select(instance)
        _patch()
        patching.patch_tree(type(instance))

    def uninstrument(self, instance: object | None = None, **kwargs: Any) -> None:
        """Stop watching, and put every class back as it was.

        Args:
            instance: What `instrument` was given.
            **kwargs: Those of every instrumentor.
        """
        if instance is not None:
            calls.deselect(instance)
            if not self.is_instrumented_by_opentelemetry and not calls.has_selected():
                self._uninstrument()
            return
        super().uninstrument(**kwargs)

    def _instrument(self, **kwargs: Any) -> None:
        _options(kwargs)
        calls.options.everything = True
        _patch()

    def _uninstrument(self, **kwargs: Any) -> None:
        calls.options.everything = False
        while _undo:
            _undo.pop()()


_undo: list[Undo] = []


def _patch() -> None:
    if not _undo:
        _undo.append(when_imported(_BASE, lambda: [patching.patch_all(), joblib.propagate(rider.RIDER)]))


def _check(kwargs: dict[str, Any]) -> None:
    worth_span = kwargs.get("worth_span")
    if worth_span is not None and not callable(worth_span):
        raise ConfigurationError("SklearnInstrumentor.instrument(worth_span=)", worth_span, "a function")
    for name in ("feature_importances", "progress"):
        value = kwargs.get(name)
        if value is not None and not isinstance(value, bool):
            raise ConfigurationError(f"SklearnInstrumentor.instrument({name}=)", value, "True or False")


def _options(kwargs: dict[str, Any]) -> None:
    calls.options.worth_span = kwargs.get("worth_span") or policy.worth_span
    calls.options.feature_importances = bool(kwargs.get("feature_importances"))
    calls.options.progress = kwargs.get("progress")
    calls.forget()
