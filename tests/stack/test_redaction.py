"""The gateway's last line of defence: what no sender masked does not leave it, and what is harmless does unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from receivers import OtlpReceiver
from stack.otlp_requests import SERVICE, counter, facts, gateway_into, logs, pairs, plain, record, send, span, traces

MASK = "****"
# By what is secret in it: a text that must not be found in anything that left the gateway.
SECRET_TEXTS = {
    "4111111111111111": "paid with 4111111111111111 today",
    "4012-8888-8888-1881": "card:4012-8888-8888-1881",
    "3782 822463 10005": "(3782 822463 10005)",
    "5500005555555559": "no.5500005555555559",
    "6011111111111117": "customer_6011111111111117",
    "john.doe+x@example.co.uk": "mail john.doe+x@example.co.uk!",
    "abc123DEF456ghi": "Bearer abc123DEF456ghi",
    "s3cr3t-canary": "authenticated as bearer s3cr3t-canary",
    "dXNlcjpwYXNzd29yZA==": "Basic dXNlcjpwYXNzd29yZA==",
    "eyJzdWIiOiIxMjM0In0": "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sflKxwRJSMeKKF2QT4",
    "AKIAIOSFODNN7EXAMPLE": "id AKIAIOSFODNN7EXAMPLE",
    "MIIEcanary": "-----BEGIN RSA PRIVATE KEY-----\nMIIEcanary\nline\n-----END RSA PRIVATE KEY-----",
    "MIIEcut": "-----BEGIN PRIVATE KEY-----\nMIIEcut",
    "hunter-in-url": "postgres://svc:hunter-in-url@db.internal:5432/x",
    "ss/word-in-url": "redis://user:p@ss/word-in-url@cache:6379",
    "token-in-url": "https://token-in-url@host/path",
    "hunter-in-dsn": "svc:hunter-in-dsn@tcp(db:3306)/x",
    "hunter-in-text": "login failed, password=hunter-in-text",
    "hunter, quoted": '{"db": {"password": "hunter, quoted"}}',
    "hunter-escaped": '\\"api_key\\": \\"hunter-escaped\\"',
    "hunter-in-header": "X-Api-Key: hunter-in-header",
    "hunter-in-shell": "PGPASSWORD=hunter-in-shell psql",
    "hunter-in-flag": "train --token hunter-in-flag",
    "hunter-in-cookie": "Cookie: theme=dark; session=hunter-in-cookie",
    "abcdefghijABCDEFGHIJ0123": "hf_abcdefghijABCDEFGHIJ0123",
}
SECRET_KEYS = (
    "password", "db.password", "user_password", "userPassword", "client_secret", "AWS_SECRET_ACCESS_KEY", "api_key",
    "apiKey", "X-API-Key", "http.request.header.authorization", "Authorization", "token", "access_token",
    "refreshToken", "http.response.header.set-cookie", "credentials", "private_key", "passphrase",
)  # fmt: skip
HARMLESS = {
    "uuid": "44155555-1234-4123-8123-123456789012",
    "uuid7": "0190a5b0-3c5c-7b1e-9d3a-5f2f0c1b2a3d",
    "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
    "time": "2026-11-22T19:56:03.213456Z",
    "nanoseconds": 1763840000000000000,
    "microseconds": 1763840000000000,
    "version": "1.2.3-rc.1+build.5",
    "requirement": "numpy@1.26.4",
    "order": "order 9876543210987654",
    "sixteen digits": "1234567890123456",
    "feature": 0.4111111111111111,
    "features": "[0.4532015112830366, -0.3782822463100051]",
    "nested": {"a": 1, "b": 0.4532015112830366, "c": [1, 2]},
    "url": "http://host:8080/path?x=1",
    "prose": "basic training for the bearer of news: no secret, passwordless login",
    "endings": "broken: pipe; a clearer v2 picture; rookie: yes; secretary: Ann",
    "task": "task-44155555-1234-4123-8123-123456789012",
    "flag": True,
}
HARMLESS_KEYS = (
    "token_count", "tokens_total", "max_tokens", "tokenizer", "author_session_len", "secretary", "passenger", "compass",
    "trace_id", "otel_ml.model.name",
)  # fmt: skip


@dataclass
class Passed:
    """What left the gateway."""

    span: Span
    bodies: list[Any]
    log_attributes: dict[str, Any]
    resource: dict[str, Any]
    point: dict[str, Any]
    everything: bytes
    output: str


def planted() -> dict[str, Any]:
    """Return attributes with every secret, by value, by key, as a number and inside a map and a list."""
    found: dict[str, Any] = {f"text {number}": text for number, text in enumerate(SECRET_TEXTS.values())}
    found |= dict.fromkeys(SECRET_KEYS, "plainword-of-a-key")
    return {
        **found,
        "number": 4111111111111111,
        "map": {"inner": {"n": 4111111111111111}},
        "list": ["a", "b@example.org"],
    }


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passed]:
    """Send every secret in every place through one gateway, and give what came out of it."""
    harmless = {**HARMLESS, **dict.fromkeys(HARMLESS_KEYS, "a harmless word")}
    everywhere = " | ".join(SECRET_TEXTS.values())
    whole = span(f"look up {everywhere}", error=f"failed: {everywhere}", attributes={**planted(), **harmless})
    whole.events.add(name="mail to eve@example.org", attributes=pairs({"exception.message": everywhere, **planted()}))
    bodies = [*SECRET_TEXTS.values(), {"user": planted(), "list": list(SECRET_TEXTS.values())}, *HARMLESS.values()]
    point = counter(1, {**planted(), **harmless})
    (of_resource,) = point.resource_metrics
    exemplar = of_resource.scope_metrics[0].metrics[0].sum.data_points[0].exemplars.add(as_int=1, trace_id=b"t" * 16)
    exemplar.filtered_attributes.extend(pairs(planted()))
    with OtlpReceiver() as stores, gateway_into(stores, _folder(tmp_path_factory)) as server:
        resource = {**SERVICE, **{f"r.{key}": value for key, value in planted().items()}}
        assert send(server, traces([whole], resource)).is_success
        assert send(server, logs([record(body, {**planted(), **harmless}) for body in bodies], resource)).is_success
        assert send(server, point).is_success
        (first,) = stores.wait("traces", 1)
        records = stores.wait("logs", len(bodies))
        stores.wait_until(lambda: {metric.name for metric in stores.records("metrics")} >= {
            "test.count", "traces.span.metrics.calls"
        }, "both metrics", 30)  # fmt: skip
        (sum_,) = [metric for metric in stores.records("metrics") if metric.name == "test.count"]
        requests = list(stores.requests)
        of_spans = next(item.message.resource_spans[0] for item in requests if item.signal == "traces")
        yield Passed(
            first,
            [plain(one.body) for one in records],
            facts(records[0].attributes),
            facts(of_spans.resource.attributes),
            facts(sum_.sum.data_points[0].attributes),
            b"".join(item.message.SerializeToString() for item in requests),
            server.output,
        )


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("redaction")


@pytest.mark.parametrize("secret", SECRET_TEXTS)
def test_no_secret_leaves_the_gateway(passed: Passed, secret: str) -> None:
    """Not in an attribute, event, status, name, log body, resource or metric, nor in the gateway's own output."""
    assert secret.encode() not in passed.everything
    assert secret not in passed.output


def test_what_stands_under_the_name_of_a_secret_is_masked(passed: Passed) -> None:
    """Whatever it looks like, in attributes, resources and inside the map of a log body."""
    assert b"plainword-of-a-key" not in passed.everything
    body = next(body for body in passed.bodies if isinstance(body, dict) and "user" in body)
    for place in (facts(passed.span.attributes), passed.log_attributes, passed.point, body["user"]):
        assert {place[key] for key in SECRET_KEYS} == {MASK}
    assert {passed.resource[f"r.{key}"] for key in SECRET_KEYS} == {MASK}


def test_numbers_maps_and_lists_are_searched(passed: Passed) -> None:
    """A card number as an integer, at the top and inside a map, and a mail address in a list."""
    assert facts(passed.span.attributes)["number"] == MASK
    assert b"b@example.org" not in passed.everything and b"eve@example.org" not in passed.everything
    assert str(4111111111111111).encode() not in passed.everything
    assert _varint(4111111111111111) not in passed.everything


def test_the_text_around_a_secret_stays(passed: Passed) -> None:
    """A message that was cut to pieces would help nobody."""
    assert passed.span.status.message.startswith("failed: paid with")
    assert passed.span.name.startswith("look up paid with")
    assert passed.bodies[0] == "paid with****today"
    assert [event.name for event in passed.span.events] == ["mail to ****"]


def test_harmless_values_are_untouched(passed: Passed) -> None:
    """In attributes and as log bodies, with their types."""
    attributes = facts(passed.span.attributes)
    expected = {**HARMLESS, **dict.fromkeys(HARMLESS_KEYS, "a harmless word")}
    assert {key: attributes[key] for key in expected} == expected
    assert {key: passed.log_attributes[key] for key in expected} == expected
    assert {key: passed.point[key] for key in expected} == expected
    assert passed.bodies[-len(HARMLESS) :] == list(HARMLESS.values())


def test_nothing_of_the_redaction_itself_is_left(passed: Passed) -> None:
    """Neither the attributes that it works with, nor a summary that names the masked keys."""
    assert b"otel_ml.exposed" not in passed.everything and b"redaction." not in passed.everything


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])
