"""One inference call: whose model, of which version, on how many rows, and with which features when it fails.

It is compiled where that can be done.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_ml import capture, conventions, exceptions, health
from otel_ml.capture import rows_and_columns
from otel_ml.current_span import get_context
from otel_ml.errors import ConfigurationError
from otel_ml.execution import RUN_KEY, inherited
from otel_ml.instruments import instruments
from otel_ml.operations import Operation, Spec
from otel_ml.primitives import item
from otel_ml.series import SeriesBy
from otel_ml.variants import Variant, Variants

FeatureGetter = Callable[[tuple[Any, ...], dict[str, Any]], object]


class PredictionSpec:
    """What is known of an inference call when it is decorated.

    Args:
        base: The parts that it shares with a step.
        version: Model version, or a function of the call's first argument.
        feature_version: Feature version, or a function of the call's first argument.
        features: Returns the features from the call's arguments.
        prediction: Returns the prediction from the result; None: the result is the prediction.
        audited: Whether calls belong into the audit trail, if there is one.
        subject: Returns from the call's arguments whom it is about; None: nobody.

    Attributes:
        names: What the audit trail knows of the features' names; None until its first record.
    """

    __slots__ = (
        "audited", "base", "feature_version", "features", "fixed", "names", "position", "prediction", "subject",
        "variants", "version",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917  made in one place
        self,
        base: Spec,
        version: str | Callable[[Any], object] | None,
        feature_version: str | Callable[[Any], object] | None,
        features: FeatureGetter,
        prediction: Callable[[Any], object] | None,
        audited: bool = True,
        subject: FeatureGetter | None = None,
    ) -> None:
        self.base = base
        self.version = version
        self.feature_version = feature_version
        self.features = features
        self.prediction = prediction
        self.audited = audited
        self.subject = subject
        self.names: Any = None
        by_version = SeriesBy(conventions.MODEL_VERSION, base.histogram, base.metric_attributes)
        self.variants = Variants(base.attributes, by_version)
        known = not callable(version) and not callable(feature_version)
        self.fixed = self._known_variant() if known else None
        self.position = features.index if isinstance(features, _Named) else -1

    def __reduce__(self) -> tuple[Any, ...]:
        return PredictionSpec, (
            self.base, self.version, self.feature_version, self.features, self.prediction, self.audited, self.subject
        )  # fmt: skip

    def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """Begin one inference call, and count its rows."""
        call = Prediction.__new__(Prediction)
        call._call_spec = self
        call._features = call._captured = call._subject = call._prediction = None
        recorder: CallRecorder | None = instruments.recorder if self.audited else None
        call._recorder = recorder
        variant = self.fixed
        try:
            position = self.position
            features = call._features = args[position] if 0 <= position < len(args) else self.features(args, kwargs)
            if variant is None:
                variant = self._variant_of(args)
            attributes = self._shaped(variant, features)
        except Exception as error:  # version= and features= are the caller's functions
            health.internal_error("reading of features or version", error)
            variant = variant or self._known_variant()
            attributes = variant.attributes
        call._variant = variant
        if recorder is None:
            call.begin(self.base, attributes, variant.series)
        else:
            call.begin_on_record(recorder, attributes, args, kwargs)
        return call

    def _shaped(self, variant: Variant, features: object) -> Mapping[str, Any]:
        """Count the rows of the features, and return the span's attributes with them."""
        rows, columns = rows_and_columns(features)
        if rows is None:
            return variant.attributes
        shaped = variant.shaped
        if shaped[0] != rows or shaped[1] != columns:
            shaped = variant.shape(rows, columns)
        series = variant.series
        if series.rows_bound_to is not instruments.bound:
            series.bind_rows()
        series.add_rows(rows)
        return shaped[2]

    def _variant_of(self, args: tuple[Any, ...]) -> Variant:
        try:
            return self.variants.of(_resolve(self.version, args), _resolve(self.feature_version, args))
        except Exception as error:  # version= is the caller's function; the call is counted all the same
            health.internal_error("reading of features or version", error)
            return self._known_variant()

    def _known_variant(self) -> Variant:
        return self.variants.of(_if_text(self.version), _if_text(self.feature_version))


class CallRecorder:
    """What puts inference calls on record: `audit.recorder`, which a program without an audit trail never loads."""

    __slots__ = ()

    def begin(self, call: Prediction) -> None:
        """Give a call its record id, and keep its features as they are now."""
        raise NotImplementedError

    def put(self, call: Prediction, run_id: str | None) -> None:
        """Put a call that has ended on record.

        Args:
            call: The call.
            run_id: Of the run that it belongs to.
        """
        raise NotImplementedError

    def model(self, name: str, version: str | None, feature_version: str | None) -> Any:
        """Return what stands for a model, for all of its calls."""
        raise NotImplementedError


class Prediction(Operation):
    """One inference call under way.

    This is where a call's features, prediction, duration and failure meet: an audit record is written from here.
    """

    __slots__ = (
        "_call_spec", "_captured", "_features", "_prediction", "_record_id", "_recorder", "_subject", "_variant"
    )  # fmt: skip

    _call_spec: PredictionSpec
    _captured: Any
    _features: object
    _prediction: object
    _record_id: str
    _recorder: CallRecorder | None
    _subject: object
    _variant: Variant

    def begin_on_record(
        self, recorder: CallRecorder, attributes: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Keep the features as they are now, for the model may change them, and begin."""
        spec = self._call_spec
        try:
            recorder.begin(self)
            self._subject = None if spec.subject is None else spec.subject(args, kwargs)
        except Exception as error:  # subject= is the caller's function
            health.internal_error("capture of an audit record", error)
        self.begin(spec.base, attributes, self._variant.series)
        span: Any = self.span
        try:
            span.put_record_id(self._record_id)
        except AttributeError:  # it is a span of another tracer
            span.set_attribute(_RECORD_ID, self._record_id)

    def stop(self, result: object) -> None:
        """End a call that returned, with the rows of its prediction."""
        try:
            extract = self._call_spec.prediction
            prediction = self._prediction = result if extract is None else extract(result)
            rows, _ = rows_and_columns(prediction)
            if rows is not None:
                self.span.set_attribute(_OUTPUT_ROWS, rows)
        except Exception as error:  # prediction= is the caller's function
            health.internal_error("reading of a prediction", error)
        Operation.stop(self, result)

    def _record(self, error: BaseException) -> None:
        Operation._record(self, error)
        if self._failure is None and self._recorder is not None:  # said before, by a step inside
            try:
                self._failure = exceptions.describe(error)
            except Exception as own:
                health.internal_error("recording of an exception", own)

    def _end_span(self) -> None:
        recorder = self._recorder
        if recorder is not None:
            self._put_on_record(recorder)
        Operation._end_span(self)

    def _put_on_record(self, recorder: CallRecorder) -> None:
        variant, self._recorder = self._variant, None
        try:
            if variant.model is None:
                known = variant.attributes
                variant.model = recorder.model(
                    known[conventions.MODEL_NAME],
                    known.get(conventions.MODEL_VERSION),
                    known.get(conventions.FEATURE_VERSION),
                )
            run = item(get_context(), RUN_KEY)
            if run is None:
                run = inherited()
            recorder.put(self, None if run is None else run.id)
        except Exception as error:  # a span of a foreign class may do anything
            health.internal_error("writing of an audit record", error)

    def failure_extra(self) -> dict[str, Any]:
        """Return model, versions and the masked features that the model was given."""
        of_call: dict[str, Any] = {key: self._attributes[key] for key in _OF_CALL if key in self._attributes}
        return {**self._series.attributes, **of_call, conventions.FEATURES: capture.features(self._features)}


_RECORD_ID: Final = conventions.AUDIT_RECORD_ID
_OUTPUT_ROWS: Final = conventions.OUTPUT_ROWS
_OF_CALL: Final = (
    conventions.MODEL_VERSION,
    conventions.FEATURE_VERSION,
    conventions.INPUT_ROWS,
    conventions.INPUT_COLUMNS,
)


def feature_getter(
    function: Callable[..., Any] | None,
    features: str | Callable[..., object] | None,
    *,
    option: str = "inference(features=)",
) -> FeatureGetter:
    """Return a function that finds the features among a call's arguments.

    Args:
        function: The decorated function; None for a block, which has no features.
        features: Name of a parameter, a function of the call's arguments, or None for the first parameter that is
            not `self` or `cls`.
        option: What is set, for the message of an error.

    Raises:
        ConfigurationError: `features` is neither, or the function has no such parameter.
    """
    if features is not None and not isinstance(features, str):
        if not callable(features):
            raise ConfigurationError(option, features, "a parameter's name or a function")
        return _Called(features)
    parameters = _parameters(function)
    if features is None:
        names = [name for name in parameters if name not in ("self", "cls")]
        if not names:
            return _first
        return _Named(names[0], parameters.index(names[0]))
    if function is not None and parameters and features not in parameters:
        raise ConfigurationError(option, features, f"one of the parameters {', '.join(parameters)}")
    return _Named(features, parameters.index(features) if features in parameters else -1)


class _Named:
    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        return args[self.index] if 0 <= self.index < len(args) else kwargs.get(self.name)


class _Called:
    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
        return self.function(*args, **kwargs)


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return args[0] if args else kwargs or None


def _parameters(function: Callable[..., Any] | None) -> list[str]:
    """Names of positional and keyword parameters, in order; `*args` and `**kwargs` are not features."""
    if function is None:
        return []
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some built-in functions have no signature
        return []
    return [p.name for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _if_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _resolve(value: str | Callable[[Any], object] | None, args: tuple[Any, ...]) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value(*args[:1]))
