"""Features that are JSON as they are: known names make the answer faster, and never another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk import trace as sdk

import otel_ml
from otel_ml import conventions, redaction
from otel_ml.audit.recording import Recording
from otel_ml.audit.simple_features import are_simple
from otel_ml.instruments import instruments
from otel_ml.options import Audit, Redaction
from otel_ml.redaction import Redactor
from otel_ml.tracing.provider import TracerProvider

NAMES = ["amount", "count", "kind", "password", "e@mail.example"]


class Text(str):
    """A text that is equal to others, and not one of Python's own."""


def judged() -> Redactor:
    redactor = Redactor()
    redactor.mapping(dict.fromkeys(NAMES, 1))
    return redactor


REDACTOR = judged()
PLAIN = REDACTOR.plain_names or set()
KEYS = st.sampled_from([*NAMES, *("".join(list(name)) for name in NAMES), Text("amount"), "new"])
VALUES = st.sampled_from([1, 1.5, 10**15, float("nan"), "plain", "a@b.example", True, None, [1]])


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.lists(st.sampled_from(NAMES[:3]), max_size=6, unique=True))
def test_known_names_change_no_answer(features: dict[Any, Any], known: list[str]) -> None:
    """In whatever order, fewer or more of them, the same objects or equal ones, beside others."""
    plain = [name for name in PLAIN if name in known]  # the very objects
    own = [name for name in features if type(name) is str and name in PLAIN]
    for names in (tuple(known), tuple(plain), tuple(own)):
        assert are_simple(features, REDACTOR, PLAIN, names) == are_simple(features, REDACTOR, PLAIN, None)
    assert not are_simple(features, REDACTOR, None, tuple(known))


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    """Put the inference calls of a test on record in a folder of its own."""
    trail, before = Trail(tmp_path / "audit"), redaction.current()
    yield trail
    redaction.use(before)
    assert trail.recording.close(10)


class Trail:
    """A recording, and the predictions that it has written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.recording = Recording(Audit(), directory, {"service.name": "tests"}, "[redacted]")

    def records(self) -> list[dict[str, Any]]:
        """Return what is on record."""
        assert self.recording.flush(10)
        texts = [path.read_text("utf-8") for path in sorted(self.directory.glob("*-0*.jsonl*"))]
        lines = [json.loads(line) for text in texts for line in text.splitlines()]
        return [line for line in lines if line.get("event.name") == "otel_ml.prediction"]


def predict(features: dict[Any, Any]) -> float:
    return 0.5


def test_a_name_that_comes_later_is_judged(trail: Trail) -> None:
    """Behind known ones, in place of one, and when they come in another order."""
    watched = otel_ml.inference(model="m")(predict)
    calls: list[dict[str, Any]] = [
        {"amount": 1.5, "count": 2},
        {"amount": 1.5, "count": 2},
        {"amount": 1.5, "count": 2, "password": 1234},
        {"amount": 1.5, "password": 1234},
        {"password": 1234, "amount": 1.5},
        {"count": 2, "amount": 1.5},
        {"amount": 1.5},
        {},
    ]
    for features in calls:
        watched(features)
    masked = [{**features, "password": "[redacted]"} if "password" in features else features for features in calls]
    assert [record["features"] for record in trail.records()] == masked
    assert [record.get("redacted") for record in trail.records()] == [
        ["password"] if "password" in features else None for features in calls
    ]


def test_features_whose_names_are_of_a_sub_class_are_on_record(trail: Trail) -> None:
    """As numpy's texts are, which equal plain ones: orjson would refuse them, so the long way is taken each time."""
    watched = otel_ml.inference(model="m")(predict)
    for _ in range(3):
        watched({Text("amount"): 1.5})
    assert [record["features"] for record in trail.records()] == [{"amount": 1.5}] * 3


def test_another_redactor_judges_anew(trail: Trail) -> None:
    """From the next call on: names that one takes for harmless another one may hide."""
    watched = otel_ml.inference(model="m")(predict)
    for _ in range(3):
        watched({"amount": 1.5})
    redaction.use(Redactor(Redaction(keys=["amount"])))
    for _ in range(2):
        watched({"amount": 1.5})
    shown = [record["features"] for record in trail.records()]
    assert shown == [{"amount": 1.5}] * 3 + [{"amount": "[redacted]"}] * 2


@pytest.mark.parametrize("kind", [sdk.TracerProvider, TracerProvider])
def test_a_span_of_any_tracer_names_its_record(kind: type[sdk.TracerProvider], trail: Trail) -> None:
    """Ours keeps the id beside shared attributes, the SDK's among its own."""
    instruments.bind(tracer_provider=kind(shutdown_on_exit=False))
    spans: list[Any] = []

    @otel_ml.inference(model="m")
    def look(features: dict[str, float]) -> float:
        spans.append(otel_ml.current_span.get_context())
        return 0.5

    try:
        look({"amount": 1.5})
    finally:
        instruments.bind()
    [record], [context] = trail.records(), spans
    [span] = [value for value in context.values() if isinstance(value, sdk.Span)]
    assert span.attributes[conventions.AUDIT_RECORD_ID] == record["record_id"]
    assert record["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert record["span_id"] == f"{span.get_span_context().span_id:016x}" and record["trace_flags"] in (1, 3)
