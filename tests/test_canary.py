"""Secrets that a program with everything on was given: they are in no byte that leaves it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_ml.audit.reading.verify import verify
from receivers import OtlpReceiver, unused_port
from support import is_ambient

PROGRAM = Path(__file__).with_name("canary_program.py")
SECRETS = {
    "mail": "canary.ada@example.org",
    "secret": "c4n4rySECRET",
    "card": "4111111111111111",
    "key": "sk-proj-canary0123456789abcdef",
}


def forms(value: str) -> Iterator[bytes]:
    """Yield what a value looks like as it is, in a URL, with blanks as on a card, and inside any base64 text."""
    yield value.encode()
    yield urllib.parse.quote(value, safe="").encode()
    if value.isdigit():
        yield b" ".join(value[place : place + 4].encode() for place in range(0, len(value), 4))
    for before in range(3):
        coded = base64.b64encode(b"x" * before + value.encode())
        yield coded[4 * before // 3 + 1 : -4]


def leaks(content: bytes) -> list[str]:
    """Name the secrets that are in there, whatever the case of their letters."""
    lower = content.lower()
    found = {name for name, value in SECRETS.items() for form in forms(value) if form in content}
    return sorted(found | {name for name, value in SECRETS.items() if value.lower().encode() in lower})


def run(folder: Path, form: str, endpoint: str, protocol: str) -> bytes:
    """Run the program; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not is_ambient(name)}
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), str(unused_port()), form, endpoint],
        input=json.dumps(SECRETS).encode(),
        env={**environment, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol},
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout + done.stderr


def written(folder: Path) -> dict[str, bytes]:
    """Return the content of every file, and of a Parquet file also what is in it once it is decompressed."""
    parquet = pytest.importorskip("pyarrow.parquet")
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
            if path.suffix == ".parquet":
                found[f"{path.name}, decompressed"] = repr(parquet.read_table(path).to_pylist()).encode()
    return found


def received(receiver: OtlpReceiver) -> dict[str, bytes]:
    """Return every request: headers, and the body after decompression."""
    return {
        f"{number} {item.signal}": repr(item.headers).encode() + item.message.SerializeToString()
        for number, item in enumerate(receiver.requests)
    }


@pytest.mark.parametrize(
    ("form", "protocol"), [("console", ""), ("json", "http/protobuf"), ("json", "grpc")], ids=["files", "http", "grpc"]
)
def test_a_canary_is_in_no_file_no_line_and_no_request_whatever_carried_it(
    tmp_path: Path, form: str, protocol: str
) -> None:
    """By features, columns, JSON in text, DSN, header, base64, chains of exceptions, spans, metrics, logs, labels."""
    with OtlpReceiver() as receiver:
        printed = run(tmp_path, form, receiver.url(protocol) if protocol else "", protocol or "http/protobuf")
        sent = received(receiver)
    files = written(tmp_path)
    found = {"the console": printed, **files, **sent}
    assert {name: leaks(content) for name, content in found.items() if leaks(content)} == {}

    # The places were not left out: something of each arrived.
    segments = [content for name, content in files.items() if name.startswith("audit/canary-")]
    events = [json.loads(line) for content in segments for line in content.splitlines()]
    predictions = [event for event in events if event["event.name"] == "otel_ml.prediction"]
    assert [sum(one["otel_ml.status"] == status for one in predictions) for status in ("ok", "error")] == [8, 8]
    assert sum(event["event.name"] == "otel_ml.outcome" for event in events) == 3
    assert verify(tmp_path / "audit")
    assert sum(name.endswith("decompressed") for name in files) == 1
    assert b'model_name="m"' in files["page"]
    assert b"failed for [redacted]" in printed
    if protocol:
        assert {item.split()[1] for item in sent} == {"traces", "logs", "metrics"}
    else:
        assert any("traces-" in name for name in files) and any("metrics-" in name for name in files)


@pytest.mark.parametrize("name", SECRETS)
def test_the_search_finds_what_it_looks_for(name: str) -> None:
    """In any form, or the test above would say nothing."""
    value = SECRETS[name]
    for padding in ("", "a", "ab", "abc"):
        text = f"{padding}{value} and more"
        for content in (text, urllib.parse.quote(text), base64.b64encode(text.encode()).decode(), text.upper()):
            assert name in leaks(content.encode())
