"""One prediction as a line of the audit trail: which fields it has, in which order, and within which bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

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

MOST_BODY: Final = MOST_BYTES - 128
"""Longest body: sequence number, hash and line break come on top."""

OPENING: Final = f',"schema_version":{SCHEMA_VERSION},"event.name":"{PREDICTION}","time_unix_nano":'.encode()
"""What stands between the id of a prediction and its time."""

_MOST_TEXT: Final = 16 * 1024
_ONE: Final = b',"rows":1'
_UNSAFE: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


class Model(NamedTuple):
    """A model, shared by the records of its calls.

    Args:
        name: Its name.
        version: Its version, or None.
        feature_version: Version of the features that it is fed with, or None.
    """

    name: str
    version: str | None = None
    feature_version: str | None = None

    @property
    def head(self) -> bytes:
        """The three as fields of a line."""
        names = (conventions.MODEL_NAME, conventions.MODEL_VERSION, conventions.FEATURE_VERSION)
        values = (self.name, self.version, self.feature_version)
        return _texts(zip(names, values, strict=True))


class Service(NamedTuple):
    """The process that records are from.

    Args:
        name: Name of the service.
        version: Its version, or None.
        instance_id: What tells its processes apart, or None.
        environment: Deployment environment, or None.
    """

    name: str
    version: str | None = None
    instance_id: str | None = None
    environment: str | None = None

    @property
    def head(self) -> bytes:
        """The four as fields of a line."""
        names = ("service.name", "service.version", "service.instance.id", "deployment.environment.name")
        values = (self.name, self.version, self.instance_id, self.environment)
        return _texts(zip(names, values, strict=True))


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

    def encrypt(self, subject: str, plain: bytes, record_id: str) -> str:
        """Return as base64 text what only the subject's key makes readable."""
        ...


class Encoder:
    """From what was captured to bodies of lines: JSON objects without the brace that closes them.

    Args:
        service: The process.
        mask: Text that stands for a masked value; names with it are listed in `redacted`.
        subjects: Encrypts features and predictions of subjects; None: they are not encrypted.

    Attributes:
        mask: The same as JSON.
    """

    def __init__(self, service: Service, mask: str = "[redacted]", subjects: Subjects | None = None) -> None:
        self._service = service.head
        self.mask = quoted(mask).encode()
        self._masked = re.compile(rb'"((?:[^"\\]|\\.)*)":' + re.escape(self.mask))
        self._subjects = subjects
        self._run_id: str | None = None
        self._model: Model | None = None
        self._origin = b""

    def middle(self, run_id: str | None, model: Model) -> bytes:
        """Return what stands between time and payload of a call of one row that went well."""
        return b"%b%b%b" % (self._origin_of(run_id, model), _OK, _ONE)

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
        payload = self._payload(item[13], identity, features, prediction)
        if item[10] is None:
            body = b"%b%b%b%b" % (self._start(item, identity), _outcome(item), which, payload)
            if len(body) <= MOST_BODY:
                return body
        return self._bounded(item, identity, self._start(item, identity) + _outcome(item) + which, features, prediction)

    def _start(self, item: Captured, identity: str) -> bytes:
        """Return the fields that come first: identity, time, trace, service, run and model."""
        trace_id, run_id, model = item[3], item[6], item[7]
        head = f'{{"record_id":"{identity}"{OPENING.decode()}{item[1]},"duration_ms":{item[2] * 1e3:.6f}'
        if trace_id:
            head += f',"trace_id":"{trace_id:032x}","span_id":"{item[4]:016x}","trace_flags":{item[5]}'
        if run_id != self._run_id or model is not self._model:
            self._run_id, self._model = run_id, model
            self._origin = self._origin_of(run_id, model)
        return head.encode() + self._origin

    def _origin_of(self, run_id: str | None, model: Model) -> bytes:
        return b"%b%b%b" % (self._service, _texts([(conventions.RUN_ID, run_id)]), model.head)

    def _payload(self, subject: str | None, identity: str, features: bytes | None, prediction: bytes | None) -> bytes:
        """Return features and prediction, hidden where they are to be, whose they are, and what was masked in them."""
        if features is None:
            payload = b"" if prediction is None else b',"prediction":' + prediction
        elif prediction is None:
            payload = b',"features":' + features
        else:
            payload = b',"features":%b,"prediction":%b' % (features, prediction)
        if not payload.isascii() or b"\x7f" in payload or b"\n" in payload or b"\r" in payload:
            payload = _escaped(payload)
        redacted = b""
        if self.mask in payload:
            names = dict.fromkeys(self._masked.findall(payload))
            redacted = b',"redacted":["%b"]' % b'","'.join(names) if names else b""
        if subject is None:
            return payload + redacted if redacted else payload
        whose = b',"subject":' + quoted(subject).encode()
        if self._subjects is not None and payload:
            hidden = self._subjects.encrypt(subject, b"{%b}" % payload[1:], identity)
            return b'%b,"encrypted":"%b"%b' % (whose, hidden.encode(), redacted)
        return payload + whose + redacted

    def _bounded(
        self, item: Captured, identity: str, head: bytes, features: bytes | None, prediction: bytes | None
    ) -> bytes:
        """Return a body that is not too long: of long parts the size stays, and what that was is said."""
        truncated = [] if all(map(_is_short, item[10] or ())) else ["exception"]
        parts = {"features": features, "prediction": prediction}
        for most in (MOST_BODY, _MOST_TEXT, 0):
            for name, part in parts.items():
                if part is not None and len(part) > most and name not in truncated:
                    parts[name] = b'{"type":"json","length":%d}' % len(part)
                    truncated.append(name)
            payload = self._payload(item[13], identity, parts["features"], parts["prediction"])
            noted = b"" if not truncated else b',"truncated":["%b"]' % '","'.join(truncated).encode()
            body = b"".join((head, payload, noted))
            if len(body) <= MOST_BODY:
                break
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


def _json(value: object) -> bytes | None:
    if value is None:
        return None
    try:
        return orjson.dumps(value)
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _texts(pairs: Iterable[tuple[str, str | None]]) -> bytes:
    return "".join(f',"{name}":{quoted(text)}' for name, text in pairs if text is not None).encode()


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
    """Return head and tail of a text whose JSON would be too long, and any other text as it is."""
    if text is None or _is_short(text):
        return text
    half = _MOST_TEXT // 2 - 32  # the note takes its place
    while half:
        shorter = f"{text[:half]}\n... [{len(text) - 2 * half} characters left out] ...\n{text[-half:]}"
        if 2 * half < len(text) and _is_short(shorter):
            return shorter
        half = half * 3 // 4
    return ""


def _is_short(text: str) -> bool:
    return len(text) <= _MOST_TEXT and len(quoted(text)) <= _MOST_TEXT + 256


def _escaped(payload: bytes) -> bytes:
    """Return JSON on one line and without control characters, some of which JSON allows as they are."""
    text = payload.decode("utf-8", "replace")
    if "\n" in text or "\r" in text:
        text = "," + json.dumps(json.loads(f"{{{text[1:]}}}"), separators=(",", ":"), allow_nan=False)[1:-1]
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()
