"""Loki refuses what is too large, for good: the gateway cuts it so that it is taken, and says what it cut."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from receivers import OtlpReceiver
from stack.otlp_requests import SERVICE, facts, gateway_into, logs, record, send
from stack.servers import loki

MANY = {f"package{number}": "1.2.3" for number in range(300)}
# What Loki refuses as it is, by the text of the record.
TOO_LARGE: dict[str, dict[str, Any]] = {
    "a map of many": {"packages": MANY},
    "many attributes": MANY,
    "a long stack trace": {"exception.stacktrace": "x" * 200_000, "exception.message": "y" * 100_000},
    "many long ones": {f"key{number}": "v" * 2000 for number in range(200)},
    "what is long when it is escaped": {f"key{number}": '\n"\\' * 500 for number in range(100)},
    "long keys": {"q" * 3000 + str(number): "1" for number in range(40)},
    "a key without a name": {"": "x"},
    "a key that Loki cannot write": {"\u043a\u043b\u044e\u0447": "x", "kept": "y"},
    "a long line: " + "z" * 1_000_000: {},
    "a long line of letters of two bytes: " + "\u00e9" * 300_000: {},
}
# Loki's own defaults, which a hosted one may have; ours are higher.
DEFAULTS = ("-limits.max-structured-metadata-size=64KB", "-limits.max-structured-metadata-entries-count=128")


@pytest.mark.parametrize("limits", [DEFAULTS, ()], ids=["Loki's defaults", "our config"])
def test_loki_takes_every_record(tmp_path: Path, limits: tuple[str, ...]) -> None:
    """Also those beside a bad one in its request, and nothing is counted as failed."""
    store = loki(tmp_path)
    store.command = [*store.command, *limits]
    store.start()
    try:
        store.wait()
        with OtlpReceiver() as others, gateway_into(others, tmp_path, OTEL_ML_LOKI_ENDPOINT=store.otlp) as server:
            expected = len(TOO_LARGE) + 3
            for text, attributes in TOO_LARGE.items() if limits else ():
                alone = httpx.post(
                    f"{store.otlp}/v1/logs",
                    content=logs([record(text, attributes)]).SerializeToString(),
                    headers={"Content-Type": "application/x-protobuf"},
                )
                assert alone.status_code == (400 if attributes else 204), "our config has Loki itself cut a line"
                expected += alone.is_success
            records = [record(text, attributes) for text, attributes in TOO_LARGE.items()]
            records += [record({"a map": "w" * 500_000}), record("neighbour", event_name="my.event")]
            resource = {**SERVICE, **{f"r{number}": "m" * 3000 for number in range(60)}}
            assert send(server, logs(records)).is_success
            assert send(server, logs([record("of a large resource")], resource)).is_success
            found = _lines(store.url, expected)
            assert len(found) == expected
            starts = {
                text[:20] for text in (*TOO_LARGE, "neighbour", "of a large resource", '{"a map":"wwwwwwwwwwwwww')
            }
            assert {text[:20] for _, text in found} == starts
            metadata = next(labels for labels, text in found if text == "neighbour")
            assert metadata["event_name"] == "my.event", "which Loki itself would drop"
            assert "exporter_send_failed_log_records" not in httpx.get(f"{server.url}/metrics", timeout=10).text
    finally:
        store.stop()


def test_what_was_cut_is_marked_and_the_rest_is_untouched(tmp_path: Path) -> None:
    """A cut text ends in a mark, attributes that were left out are counted, the important ones stay."""
    large = {
        **{f"key{number}": "v" * 2000 for number in range(200)},
        "otel_ml.run.id": "run",
        "error.type": "ValueError",
    }
    small = {"n": 1, "nested": {"a": [1, 2.5], "b": True}, "exception.stacktrace": "s" * 20_000}
    with OtlpReceiver() as stores, gateway_into(stores, tmp_path) as server:
        assert send(server, logs([record("large", large), record("z" * 300_000), record("small", small)])).is_success
        found = {one.body.string_value[:5]: one for one in stores.wait("logs", 3)}
        attributes = facts(found["large"].attributes)
        assert len(attributes) == 80, list(attributes)
        assert found["large"].dropped_attributes_count == len(large) - 80
        assert attributes["otel_ml.run.id"] == "run" and attributes["error.type"] == "ValueError"
        assert all(value.endswith(" [cut]") for key, value in attributes.items() if key.startswith("key"))
        assert sum(len(key) + len(value) for key, value in attributes.items()) < 60_000
        assert found["zzzzz"].body.string_value == "z" * 200_000 + " [cut]"
        assert facts(found["small"].attributes) == small and not found["small"].dropped_attributes_count


def _lines(url: str, number: int, seconds: float = 60) -> list[tuple[dict[str, str], str]]:
    """Return so many lines of the service with their metadata, as soon as they are there."""
    deadline = time.monotonic() + seconds
    while True:
        parameters = {"query": '{service_name="credit-api"}', "limit": 1000}
        answer = httpx.get(f"{url}/loki/api/v1/query_range", params=parameters, timeout=30)
        found = [(one["stream"], text) for one in answer.json()["data"]["result"] for _, text in one["values"]]
        if len(found) >= number or time.monotonic() > deadline:
            return found
        time.sleep(0.5)
