"""One prediction as a line of the audit trail: which fields it has, in which order, and within which bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, Protocol, TypeAlias

import orjson

from otel_ml import conventions

SCHEMA_VERSION: Final = 1
PREDICTION: Final = "otel_ml.prediction"
SEGMENT: Final = "otel_ml.audit.segment"
SEAL: Final = "otel_ml.audit.seal"
GAP: Final = "otel_ml.audit.gap"
RECOVERED: Final = "otel_ml.audit.recovered"

MOST_BYTES: Final = 64 * 1024
"""Longest line, with its line break."""

_MOST_BODY: Final = MOST_BYTES - 128  # sequence number, hash and line break come on top
_MOST_TEXT: Final = 16 * 1024
_ONE: Final = b',"rows":1'
_UNSAFE: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Model:
    """A model, shared by the records of its calls.

    Args:
        name: Its name.
        version: Its version, or None.
        feature_version: Version of the features that it is fed with, or None.

    Attributes:
        head: The three as fields of a line.
    """

    name: str
    version: str | None = None
    feature_version: str | None = None
    head: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = (conventions.MODEL_NAME, conventions.MODEL_VERSION, conventions.FEATURE_VERSION)
        values = (self.name, self.version, self.feature_version)
        object.__setattr__(self, "head", _texts(zip(names, values, strict=True)))


@dataclass(frozen=True, slots=True)
class Service:
    """The process that records are from.

    Args:
        name: Name of the service.
        version: Its version, or None.
        instance_id: What tells its processes apart, or None.
        environment: Deployment environment, or None.

    Attributes:
        head: The four as fields of a line.
    """

    name: str
    version: str | None = None
    instance_id: str | None = None
    environment: str | None = None
    head: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = ("service.name", "service.version", "service.instance.id", "deployment.environment.name")
        values = (self.name, self.version, self.instance_id, self.environment)
        object.__setattr__(self, "head", _texts(zip(names, values, strict=True)))


Captured: TypeAlias = tuple[
    str, int, float, int, int, int, str | None, Model, str, str | None, tuple[str, str] | None,
    Any, Any, str | None, int,
]  # fmt: skip
"""One call, as its thread hands it over: record id, start in nanoseconds, duration in seconds, trace id, span id (0: no
trace), trace flags, run id, model, status, type of the error, (message, stack trace), features, prediction, subject,
and about how many bytes all of it holds. Features and prediction are JSON already, or
the features are a `Batch`, which holds both."""


class Subjects(Protocol):
    """What is done for calls that have a subject."""

    def encrypt(self, subject: str, plain: bytes) -> str | None:
        """Return as text what only the subject's key makes readable; None: these calls are not encrypted."""
        ...


class Encoder:
    """From what was captured to bodies of lines: JSON objects without the brace that closes them.

    Args:
        service: The process.
        mask: Text that stands for a masked value; names with it are listed in `redacted`.
        subjects: Encrypts features and predictions of subjects; None: they are not encrypted.
    """

    def __init__(self, service: Service, mask: str = "[redacted]", subjects: Subjects | None = None) -> None:
        self._service = service.head
        self._mask = quoted(mask).encode()
        self._masked = re.compile(rb'"((?:[^"\\]|\\.)*)":' + re.escape(self._mask))
        self._subjects = subjects
        self._run_id: str | None = None
        self._model: Model | None = None
        self._origin = b""

    def body(self, item: Captured) -> bytes:
        """Return the one body of a call that is no batch."""
        return self._body(item, item[0], item[11], item[12])

    def bodies(self, item: Captured) -> Iterator[bytes]:
        """Yield the bodies of a batch: one for each row, or one that stands for all of them."""
        batch, call = item[11], item[0]
        if batch.is_summary:
            for _, features, prediction in batch.rows():
                which = b',"call_id":"%b","rows":%d' % (call.encode(), batch.length)
                yield self._body(item, call, _json(features), _json(prediction), which)
            return
        for index, features, prediction in batch.rows():
            which = b',"call_id":"%b","row":%d,"rows":1' % (call.encode(), index)
            yield self._body(item, f"{call}-{index}", _json(features), _json(prediction), which)

    def _body(
        self, item: Captured, identity: str, features: bytes | None, prediction: bytes | None, which: bytes = _ONE
    ) -> bytes:
        start = self._start(item, identity)
        if item[10] is not None and max(map(len, item[10])) > _MOST_TEXT:
            return _escaped(self._shortened(item, start, which, features, prediction))
        payload = b"" if features is None else b',"features":' + features
        if prediction is not None:
            payload += b',"prediction":' + prediction
        if item[13] is not None or self._mask in payload:
            payload = self._marked(payload, item[13])
        body = b"".join((start, _outcome(item), which, payload))
        if len(body) > _MOST_BODY:
            body = self._shortened(item, start, which, features, prediction)
        return body if body.isascii() and b"\x7f" not in body and b"\n" not in body else _escaped(body)

    def _start(self, item: Captured, identity: str) -> bytes:
        """Return the fields that come first: identity, time, trace, service, run and model."""
        trace_id, run_id, model = item[3], item[6], item[7]
        head = (
            f'{{"record_id":"{identity}","schema_version":{SCHEMA_VERSION},"event.name":"{PREDICTION}",'
            f'"time_unix_nano":{item[1]},"duration_ms":{item[2] * 1e3:.6f}'
        )
        if trace_id:
            head += f',"trace_id":"{trace_id:032x}","span_id":"{item[4]:016x}","trace_flags":{item[5]}'
        if run_id != self._run_id or model is not self._model:
            self._run_id, self._model = run_id, model
            self._origin = b"%b%b%b" % (self._service, _texts([(conventions.RUN_ID, run_id)]), model.head)
        return head.encode() + self._origin

    def _marked(self, payload: bytes, subject: str | None) -> bytes:
        """Add whose record it is and what was masked; hide the payload where it is to be encrypted."""
        names = list(dict.fromkeys(self._masked.findall(payload)))
        redacted = b',"redacted":["%b"]' % b'","'.join(names) if names else b""
        if subject is None:
            return payload + redacted
        whose = b',"subject":' + quoted(subject).encode()
        hidden = self._subjects.encrypt(subject, b"{%b}" % payload[1:]) if self._subjects and payload else None
        if hidden is not None:
            return b'%b,"encrypted":"%b"%b' % (whose, hidden.encode(), redacted)
        return payload + whose + redacted

    def _shortened(
        self, item: Captured, start: bytes, which: bytes, features: bytes | None, prediction: bytes | None
    ) -> bytes:
        """Return a body that is not too long: of long parts the size stays, of long texts head and tail."""
        parts, truncated = {"features": features, "prediction": prediction}, []
        for name, part in parts.items():
            if part is not None and len(part) > _MOST_TEXT:
                parts[name] = b'{"type":"json","length":%d}' % len(part)
                truncated.append(name)
        if any(len(text) > _MOST_TEXT for text in item[10] or ()):
            truncated.append("exception")
        payload = b"".join(b',"%b":%b' % (name.encode(), part) for name, part in parts.items() if part is not None)
        payload = self._marked(payload, item[13])
        noted = b',"truncated":' + json.dumps(truncated, separators=(",", ":")).encode()
        body = b"".join((start, _outcome(item), which, payload, noted))
        if len(body) > _MOST_BODY:  # non-ASCII text that escapes made longer, or names without end
            body = b"".join((start, _outcome((*item[:10], None, *item[11:])), which, _EVERYTHING))
        return body


def event(name: str, fields: Mapping[str, Any]) -> bytes:
    """Return the body of a line that is not a prediction.

    Args:
        name: Its `event.name`.
        fields: Further fields, plain data.

    Raises:
        ValueError: A number is NaN or infinite, which JSON cannot say.
        TypeError: A value is not plain data.
    """
    fields = {conventions.EVENT_NAME: name, "schema_version": SCHEMA_VERSION, **fields}
    body = json.dumps(fields, separators=(",", ":"), allow_nan=False)[:-1].encode()
    return body.replace(b"\x7f", b"\\u007f")


def _json(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _texts(pairs: Iterable[tuple[str, str | None]]) -> bytes:
    return "".join(f',"{name}":{quoted(text)}' for name, text in pairs if text is not None).encode()


_EVERYTHING: Final = b',"truncated":["features","prediction","exception"]'
_OK: Final = b',"severity_number":9' + _texts([(conventions.STATUS, conventions.OK)])


def _outcome(item: Captured) -> bytes:
    status, kind = item[8], item[9]
    if status == conventions.OK and kind is None:
        return _OK
    message, stacktrace = item[10] or (None, None)
    texts = (
        (conventions.STATUS, status),
        (conventions.ERROR_TYPE, kind),
        (conventions.EXCEPTION_MESSAGE, _cut(message)),
        (conventions.EXCEPTION_STACKTRACE, _cut(stacktrace)),
    )
    return b',"severity_number":%d%b' % (17 if status == conventions.FAILED else 9, _texts(texts))


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= _MOST_TEXT:
        return text
    half = _MOST_TEXT // 2
    return f"{text[:half]}\n... [{len(text) - _MOST_TEXT} characters left out] ...\n{text[-half:]}"


def _escaped(body: bytes) -> bytes:
    """Return a body as one line without control characters: what is JSON already may hold some in other forms."""
    text = body.decode("utf-8", "backslashreplace")
    if "\n" in text or "\r" in text:
        text = json.dumps(json.loads(text + "}"), separators=(",", ":"), allow_nan=False)[:-1]
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()
