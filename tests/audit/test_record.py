"""One prediction as one line: fields, order, escapes and bounds."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pandas as pd
import pytest
from audit.calls import SERVICE, call, failure
from hypothesis import given
from hypothesis import strategies as st

from otel_ml.audit.record import MOST_BYTES, Encoder, Model, Service, event
from otel_ml.audit.rows import Batch

ORDER = (
    "record_id schema_version event.name time_unix_nano duration_ms trace_id span_id trace_flags service.name "
    "service.version service.instance.id deployment.environment.name otel_ml.run.id otel_ml.model.name "
    "otel_ml.model.version otel_ml.feature.version severity_number otel_ml.status error.type exception.message "
    "exception.stacktrace call_id row rows features prediction subject encrypted redacted truncated"
).split()

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


def line(item: Any, encoder: Encoder | None = None) -> bytes:
    return (encoder or Encoder(SERVICE)).body(item) + b"}"


class Hiding:
    """Encrypts, as far as a test can see."""

    def encrypt(self, subject: str, plain: bytes, record_id: str) -> str:
        return f"{subject}:{record_id}:{plain.hex()}"


def test_a_record_has_every_field_in_the_order_that_is_documented() -> None:
    """All fields that a failed call of a subject can have."""
    given = failure(
        7, trace_id=10, span_id=11, trace_flags=1, run_id="r", subject="s", features=b'{"pin":"[redacted]"}'
    )
    fields = json.loads(line(given))
    assert list(fields) == [name for name in ORDER if name in fields]
    assert fields == {
        "record_id": "7", "schema_version": 1, "event.name": "otel_ml.prediction", "time_unix_nano": given[1],
        "duration_ms": 1.5, "trace_id": "0" * 31 + "a", "span_id": "0" * 15 + "b", "trace_flags": 1,
        "service.name": "shop", "service.version": "3.1", "service.instance.id": "here",
        "deployment.environment.name": "test", "otel_ml.run.id": "r", "otel_ml.model.name": "fraud",
        "otel_ml.model.version": "1.2", "otel_ml.feature.version": "7", "severity_number": 17,
        "otel_ml.status": "error", "error.type": "ValueError", "exception.message": "no",
        "exception.stacktrace": "Traceback ...", "rows": 1, "features": {"pin": "[redacted]"}, "prediction": 0.25,
        "subject": "s", "redacted": ["pin"],
    }  # fmt: skip


def test_what_is_unknown_is_absent() -> None:
    """No trace, run, versions or error: no such fields, and no nulls."""
    fields = json.loads(line(call(model=Model("m"), features=None, prediction=None), Encoder(Service("s"))))
    assert set(ORDER) - set(fields) == {
        "trace_id", "span_id", "trace_flags", "service.version", "service.instance.id", "deployment.environment.name",
        "otel_ml.run.id", "otel_ml.model.version", "otel_ml.feature.version", "error.type", "exception.message",
        "exception.stacktrace", "call_id", "row", "features", "prediction", "subject", "encrypted", "redacted",
        "truncated",
    }  # fmt: skip
    assert (fields["severity_number"], fields["otel_ml.status"]) == (9, "ok")


@pytest.mark.parametrize("status", ["cancelled", "abandoned"])
def test_a_call_that_was_given_up_is_no_failure(status: str) -> None:
    """Its status says what it was, its severity is that of a good one, and its duration is kept."""
    fields = json.loads(line(call(status=status)))
    assert (fields["otel_ml.status"], fields["severity_number"], fields["duration_ms"]) == (status, 9, 1.5)


def test_run_and_model_are_those_of_each_call() -> None:
    """What is encoded once is not taken for the next call's."""
    encoder = Encoder(SERVICE)
    given = [(run, Model(name)) for run in ("a", None, "b") for name in ("x", "y")]
    found = [json.loads(line(call(run_id=run, model=model), encoder)) for run, model in given]
    assert [(f.get("otel_ml.run.id"), f["otel_ml.model.name"]) for f in found] == [(r, m.name) for r, m in given]


@given(PLAIN, PLAIN, st.text(), st.text())
def test_any_plain_data_is_one_line_without_control_characters(
    features: Any, prediction: Any, message: str, name: str
) -> None:
    """Newlines, escape sequences, U+2028 and the like come back as they were, and none is in the line as it is."""
    parts = {"features": orjson.dumps(features), "prediction": orjson.dumps(prediction)}
    made = line(call(status="error", exception=(message, ""), model=Model(name), **parts))
    text = made.decode()
    assert not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in text)
    fields = json.loads(text)
    assert fields["features"] == features
    assert fields["prediction"] == prediction
    assert (fields["exception.message"], fields["otel_ml.model.name"]) == (message, name)


def test_json_that_was_written_over_several_lines_becomes_one_line() -> None:
    """Whitespace of the caller's JSON does not tear a record apart."""
    made = line(call(features=b'{\n  "a": [1,\r\n 2]\n}'))
    assert b"\n" not in made and b"\r" not in made
    assert json.loads(made)["features"] == {"a": [1, 2]}


@given(
    st.integers(0, 80_000), st.integers(0, 80_000), st.integers(0, 200_000), st.integers(0, 200_000),
    st.sampled_from(["x", "é", "\x7f", "\u2028", "\n"]),
)  # fmt: skip
def test_no_line_is_longer_than_64_kib(features: int, prediction: int, message: int, stack: int, letter: str) -> None:
    """What is too long is told by its length, or by its head and tail, and `truncated` says which it was."""
    parts = [orjson.dumps(letter * size) for size in (features, prediction)]
    made = line(
        call(status="error", exception=(letter * message, letter * stack), features=parts[0], prediction=parts[1])
    )
    assert len(made) < MOST_BYTES - 100  # room for seq and hash
    fields = json.loads(made)
    for name, size in (("features", features), ("prediction", prediction)):
        assert (fields[name] == letter * size) is (name not in fields.get("truncated", []))
    whole = (fields["exception.message"], fields["exception.stacktrace"]) == (letter * message, letter * stack)
    assert whole is ("exception" not in fields.get("truncated", []))


def test_head_and_tail_of_a_huge_exception_are_kept() -> None:
    """Fifty megabytes of text become a few kilobytes that show how it began and ended."""
    fields = json.loads(line(call(status="error", exception=(f"begin{'x' * 50_000_000}end", "s"))))
    message = fields["exception.message"]
    assert message.startswith("begin") and message.endswith("end") and "characters left out" in message
    assert fields["truncated"] == ["exception"]


def test_names_of_what_was_masked_are_listed_once() -> None:
    """At any depth, of the mask in use, also where the name needs escapes."""
    data = {"a": {"pin": "***"}, "b": [{"pin": "***"}, {'q"': "***"}], "c": "not ***"}
    fields = json.loads(line(call(features=orjson.dumps(data)), Encoder(SERVICE, mask="***")))
    assert fields["redacted"] == ["pin", 'q"']


def test_payload_of_a_subject_is_hidden_whole() -> None:
    """Features and prediction are only in `encrypted`, bound to the record; the names that were masked stay."""
    given = call(5, subject="s", features=b'{"pin":"[redacted]"}')
    fields = json.loads(line(given, Encoder(SERVICE, subjects=Hiding())))
    assert "features" not in fields and "prediction" not in fields
    assert fields["redacted"] == ["pin"]
    subject, record_id, hidden = fields["encrypted"].split(":")
    assert (subject, record_id) == (fields["subject"], fields["record_id"]) == ("s", "5")
    assert json.loads(bytes.fromhex(hidden)) == {"features": {"pin": "[redacted]"}, "prediction": 0.25}


def test_calls_without_a_subject_are_not_hidden() -> None:
    """Encryption is for subjects."""
    assert json.loads(line(call(), Encoder(SERVICE, subjects=Hiding())))["features"] == {"amount": 12.5}


def test_a_batch_is_a_record_for_each_row_with_one_call_id() -> None:
    """Each row has an id of its own, its index, its features and its prediction."""
    batch = Batch.of(pd.DataFrame({"a": [1, 2, 3]}), [0.1, None, 0.3], 10)
    made = [json.loads(body + b"}") for body in Encoder(SERVICE).bodies(call(9, features=batch, prediction=None))]
    assert [(f["record_id"], f["call_id"], f["row"], f["rows"]) for f in made] == [
        (f"9-{index}", "9", index, 1) for index in range(3)
    ]
    assert [(f["features"], f.get("prediction")) for f in made] == [({"a": 1}, 0.1), ({"a": 2}, None), ({"a": 3}, 0.3)]


def test_a_batch_above_the_bound_is_one_record_that_says_how_many_rows_it_stands_for() -> None:
    """It has no row index, and describes the features."""
    batch = Batch.of(pd.DataFrame({"a": range(50)}), list(range(50)), 10)
    (made,) = [json.loads(body + b"}") for body in Encoder(SERVICE).bodies(call(9, features=batch, prediction=None))]
    assert (made["record_id"], made["call_id"], made["rows"]) == ("9", "9", 50)
    assert "row" not in made and made["features"]


def test_an_event_refuses_what_json_cannot_say() -> None:
    """NaN is to be a text by then."""
    with pytest.raises(ValueError, match="JSON"):
        event("e", {"label": float("nan")})
    assert json.loads(event("e", {"label": "\x7f\u2028"}) + b"}")["label"] == "\x7f\u2028"
