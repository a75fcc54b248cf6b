"""OTLP protobuf of our own encoder says what the official encoder would put on the wire, and bears what it does not."""

from __future__ import annotations

import copy
import enum
import itertools
import math
import threading

import numpy as np
import pytest
from export import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs as official_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otel_ml import Redaction, health, redaction
from otel_ml.export.otlp_json.traces import encode_spans as json_spans
from otel_ml.export.otlp_protobuf import KeyValues, LogEncoder, SpanEncoder
from otel_ml.redaction import Redactor
from otel_ml.spans.redacting import masked
from otel_ml.tracing.provider import TracerProvider
from otel_ml.tracing.switch import SwitchProcessor
from receivers import parse_line, records_of

CONTEXT = SpanContext(0x1234 << 64, 0x5678, is_remote=False, trace_flags=TraceFlags(1))
RESOURCE = Resource({"service.name": "shop"})
SCOPE = InstrumentationScope("scope")
SPANS = SpanEncoder()  # shared by all tests, so that what is kept from one batch meets the next
LOGS = LogEncoder()


@pytest.fixture(autouse=True)
def own_redactor():
    """Give the process its redactor back after each test."""
    before = redaction.current()
    yield
    redaction.use(before)


def same(block, expected):
    """Whether a block reads as the expected message, to the last bit: `==` of messages would call NaN different."""
    read = type(expected).FromString(block.content)
    equal = read.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert equal, difference(read, expected)


def difference(read, expected):
    """The first lines in which two messages differ: pytest's own explanation of large ones takes minutes."""
    pairs = itertools.zip_longest(str(read).splitlines(), str(expected).splitlines())
    return list(itertools.islice((pair for pair in pairs if pair[0] != pair[1]), 5))


def unmasked():
    redaction.use(Redactor.off())


@given(samples.span_batches)
def test_spans_equal_the_official_encoding(spans):
    """Any batch of spans reads as the message that the official encoder makes of it."""
    unmasked()
    block = SPANS.encode(spans)
    same(block, official_spans(spans))
    assert block.number == len(spans)


@given(samples.log_batches)
def test_logs_equal_the_official_encoding(records):
    """Any batch of log records reads as the message that the official encoder makes of it."""
    block = LOGS.encode(records)
    same(block, official_logs(records))
    assert block.number == len(records)


# What our own tracer makes

ACTIONS = st.one_of(
    st.tuples(st.just("set_attribute"), samples.keys, samples.values),
    st.tuples(st.just("set_attributes"), st.dictionaries(samples.keys, samples.values, max_size=3)),
    st.tuples(st.just("add_event"), samples.text, st.dictionaries(samples.keys, samples.values, max_size=3)),
    st.tuples(st.just("add_link"), samples.contexts, st.dictionaries(samples.keys, samples.values, max_size=3)),
    st.tuples(st.just("set_status"), samples.statuses),
    st.tuples(st.just("update_name"), samples.text),
    st.tuples(st.just("record_exception"), st.just(ValueError("wrong"))),
)
LIMITS = SpanLimits(max_span_attributes=4, max_events=2, max_links=2, max_event_attributes=2, max_link_attributes=2)


@given(
    st.lists(st.tuples(samples.text, st.sampled_from(SpanKind), st.lists(ACTIONS, max_size=6)), max_size=4),
    st.none() | samples.contexts,
    st.sampled_from([SpanLimits(), LIMITS]),
)
def test_spans_of_our_own_tracer_equal_the_official_encoding(programs, parent, limits):
    """Spans read by their slots, with whatever was done to them before they ended, and of several tracers."""
    unmasked()
    ended = []
    switch = SwitchProcessor()
    switch.open((), (ended.append,), ())
    provider = TracerProvider(resource=RESOURCE, span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(switch)
    context = None if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent))
    for number, (name, kind, actions) in enumerate(programs):
        tracer = provider.get_tracer(f"t{number % 2}", "1", "https://example.org/schema", {"k": [1]})
        span = tracer.start_span(name, context, kind)
        for action, *arguments in actions:
            getattr(span, action)(*arguments)
        span.end()
    same(SPANS.encode(ended), official_spans(ended))
    assert SPANS.encode(ended) == SPANS.encode([span._readable_span() for span in ended])


# Masking

SECRETS = ["ada@example.org", "password=hunter2", "4111111111111111", "plain", "Bearer abcdefghijklmnop0123456789"]
secret_text = st.sampled_from(SECRETS) | samples.text
secret_keys = (
    st.sampled_from(["password", "api_key", "to ada@example.org", "rows", "author_session_len"]) | samples.keys
)
secret_values = st.recursive(
    samples.scalars | secret_text | st.sampled_from([4111111111111111, 4111111111111111.0, 10**15, -1, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(secret_keys, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def secret_attributes(draw):
    """Attributes some of which have to be masked."""
    kept = samples.BoundedAttributes(attributes=draw(st.dictionaries(secret_keys, secret_values, max_size=4)))
    kept.dropped = draw(st.sampled_from([0, 3]))
    return kept


secret_spans = samples.batches(
    st.fixed_dictionaries(
        {
            "name": secret_text,
            "context": samples.contexts,
            "attributes": secret_attributes(),
            "events": samples.bounded(st.builds(Event, secret_text, secret_attributes(), samples.uint64)),
            "links": samples.bounded(st.builds(Link, samples.contexts, secret_attributes())),
            "status": st.builds(Status, st.just(StatusCode.ERROR), secret_text),
        }
    ),
    lambda record, about, by: ReadableSpan(**record, resource=about, instrumentation_scope=by),
)


def shout(key, value):
    return value.upper() if isinstance(value, str) else value


REDACTORS = [
    Redactor(),
    Redactor(Redaction(keys=("rows",), patterns=("pl..n",), mask="***")),
    Redactor(Redaction(callback=shout)),
    Redactor.off(),
]


@settings(max_examples=200)
@given(secret_spans, st.sampled_from(REDACTORS))
def test_masking_equals_the_official_encoding_of_masked_spans(spans, redactor):
    """What is masked, and by which redactor, is the same as where spans are copied, and never stays in what is kept."""
    redaction.use(redactor)
    same(SPANS.encode(spans), official_spans([masked(span) for span in spans]))
    same(SPANS.encode(spans), official_spans([masked(span) for span in spans]))  # now with what was kept


@given(secret_spans)
def test_masking_equals_that_of_lines(spans):
    """Local files and OTLP show the same."""
    redaction.use(REDACTORS[0])
    same(SPANS.encode(spans), parse_line("traces", json_spans([masked(span) for span in spans])))


def test_a_callback_is_asked_each_time():
    """What a callback made of a text once says nothing about the next time."""
    numbers = itertools.count()
    redaction.use(Redactor(Redaction(callback=lambda key, value: f"{value}-{next(numbers)}")))
    encoder = SpanEncoder()
    read = [read_one(encoder, span("name", attributes={"key": "text"})) for _ in range(3)]
    assert len({item.name for item in read}) == 3
    assert len({item.attributes[0].value.string_value for item in read}) == 3


def test_what_is_kept_belongs_to_the_redactor():
    """Once another redactor is in force, nothing is shown that only the one before it showed."""
    encoder = SpanEncoder()
    redaction.use(Redactor.off())
    subject = span("for ada@example.org", attributes={"password": "hunter2"})
    assert b"hunter2" in encoder.encode([subject]).content
    redaction.use(Redactor())
    content = encoder.encode([subject]).content
    assert b"hunter2" not in content and b"ada@example.org" not in content


def test_secrets_do_not_stay_in_memory():
    """What was masked is not kept, in whatever form."""
    redaction.use(Redactor())
    encoder = SpanEncoder()
    attributes = {"password": "hunter2", "to": "ada@example.org", "rows": 5, "ada@example.org": 1}
    encoder.encode([span("ada@example.org", attributes=attributes)])
    kept = repr([vars(encoder._masks), encoder._masks._names, encoder._masks._attributes._keys])
    texts = [*itertools.chain(*(key.texts for key in encoder._masks._attributes._keys.values()))]
    assert "ada@" not in kept + repr(texts) and "hunter2" not in repr(texts)


# What is kept is bounded


def test_names_keys_and_texts_of_which_no_two_are_equal_do_not_grow():
    """A program with a million different names, keys, texts, scopes and resources costs bounded memory."""
    redaction.use(Redactor())
    encoder, logs = SpanEncoder(), LogEncoder()
    for number in range(30_000):
        word = f"w{number}x"
        encoder.encode(
            [span(word, attributes={"same": word, word: 1}, instrumentation_scope=InstrumentationScope(word))]
        )
    for number in range(3000):
        logs.encode([log(severity_text=f"s{number}")])
    masks = encoder._masks
    kept = masks._attributes._keys
    assert sum(len(key.texts) for key in kept.values()) + len(kept) <= 8193
    assert all(len(names) <= 2048 for names in masks._names)
    assert len(encoder._places._by_id) <= 1024 and len(encoder._places._places) <= 1024
    assert len(logs._severities) <= 256
    encoder.encode([span("x" * 1000, attributes={"k" * 1000: 1, "same": "v" * 1000})])
    assert "x" * 1000 not in masks._names[0] and "v" * 1000 not in masks._attributes._keys["same"].texts


# What the official encoder does not bear


def span(name="good", **changes):
    fields = {"context": CONTEXT, "resource": RESOURCE, "instrumentation_scope": SCOPE, "start_time": 1, "end_time": 2}
    return ReadableSpan(name, **(fields | changes))


def log(body="good", **changes):
    fields = {"timestamp": 1, "observed_timestamp": 2, "body": body, "attributes": {}}
    return ReadableLogRecord(LogRecord(**(fields | changes)), RESOURCE, SCOPE)


def read_one(encoder, subject):
    (read,) = records_of("traces", ExportTraceServiceRequest.FromString(encoder.encode([subject]).content))
    return read


def attribute(value):
    """How one attribute value reads after it was written."""
    return read_one(SPANS, span(attributes={"key": value})).attributes[0].value


class Unprintable:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "bad",
    [
        span(context=None),
        span(start_time=-1),
        span(end_time=2**64),
        span(context=SpanContext(2**128, 1, is_remote=False)),
        span(parent=SpanContext(1, -1, is_remote=False)),
        span(start_time="yesterday"),
        span(kind=None),
        "no span at all",
    ],
)
def test_a_bad_span_costs_only_itself(bad):
    """A span that cannot be encoded is dropped and counted, and its neighbours are sent as ever."""
    good = [span("first"), span("last")]
    block = SPANS.encode([good[0], bad, good[1]])
    same(block, official_spans(good))
    assert (block.number, health.dropped()) == (2, {("traces", "encode_failed"): 1})


@pytest.mark.parametrize("bad", [log(timestamp=-1), log(observed_timestamp=2**64), log(attributes=5), None])
def test_a_bad_log_record_costs_only_itself(bad):
    """A log record that cannot be encoded is dropped and counted, and its neighbours are sent as ever."""
    good = [log("first"), log("last")]
    block = LOGS.encode([good[0], bad, good[1]])
    same(block, official_logs(good))
    assert (block.number, health.dropped()) == (2, {("logs", "encode_failed"): 1})


def test_nothing_but_bad_spans_is_an_empty_block():
    """There is nothing to send then."""
    assert SPANS.encode(["bad"]) == SPANS.encode([]) == (0, b"")


@given(st.lists(st.text(st.characters(categories=["Cs", "L"]), max_size=5), min_size=1, max_size=4))
def test_lone_surrogates_stay_readable_and_cost_nothing(texts):
    """Text that is not Unicode, wherever it is, is sent with the offending code points spelled out."""
    spans = [span("good"), *(span(item, attributes={f"k{item}": item}) for item in texts)]
    read = records_of("traces", ExportTraceServiceRequest.FromString(SPANS.encode(spans).content))
    spelled = [item.encode("utf-8", "backslashreplace").decode() for item in texts]
    assert [item.name for item in read] == ["good", *spelled]
    assert [item.attributes[0].key for item in read[1:]] == [f"k{item}" for item in spelled]
    assert [item.attributes[0].value.string_value for item in read[1:]] == spelled


def test_a_lone_surrogate_in_a_log_costs_nothing():
    """A log body that is not Unicode leaves its neighbours whole."""
    block = LOGS.encode([log("caf\udce9"), log("good")])
    read = records_of("logs", ExportLogsServiceRequest.FromString(block.content))
    assert [item.body.string_value for item in read] == ["caf\\udce9", "good"]


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        (2**63, "string_value", str(2**63)),
        (-(2**63), "int_value", -(2**63)),
        (Colour.RED, "string_value", "red"),
        (enum.IntEnum("Level", {"LOW": 3}).LOW, "int_value", 3),
        (np.int64(5), "int_value", 5),
        (np.float32(0.5), "double_value", 0.5),
        (np.float64("inf"), "double_value", math.inf),
        (np.str_("text"), "string_value", "text"),
        (np.bool_(True), "string_value", "True"),
        ({1, 2}, "string_value", "{1, 2}"),
        (Unprintable(), "string_value", "<Unprintable whose __repr__ raised RuntimeError>"),
    ],
)
def test_values_that_otlp_has_no_type_for_are_mapped(value, field, expected):
    """Odd numbers become numbers or decimal text, other objects their text, whatever their `__str__` does."""
    read = attribute(value)
    assert read.WhichOneof("value") == field
    assert getattr(read, field) == expected
    assert not health.dropped()


@given(st.dictionaries(samples.keys, st.integers() | samples.floats | samples.text | st.booleans(), max_size=4))
def test_files_and_otlp_show_every_attribute_alike(attributes):
    """The endpoint decides where attributes go, not what becomes of them; integers of any size are among them."""
    unmasked()
    subject = [span(attributes=attributes)]
    same(SPANS.encode(subject), parse_line("traces", json_spans(subject)))


def test_a_cycle_ends():
    """A container that contains itself is written up to where it starts again."""
    unmasked()
    cycle: list = [1]
    cycle.append(cycle)
    assert attribute(cycle).array_value.values[1].string_value == "<cycle>"


def test_a_deep_value_ends_before_readers_give_up():
    """However deep a value nests, protobuf's readers with their limit of 100 levels read the request."""
    deep: object = "bottom"
    for _ in range(500):
        deep = {"k": [deep]}
    block = SPANS.encode([span(attributes={"deep": deep}), span("good")])
    assert len(records_of("traces", ExportTraceServiceRequest.FromString(block.content))) == 2
    assert b"<depth>" in block.content


def test_a_resource_with_bytes_is_written():
    """A resource with bytes among its attributes is one resource."""
    resource = Resource({"key": b"\x00"})
    read = ExportTraceServiceRequest.FromString(
        SPANS.encode([span(resource=resource), span(resource=copy.deepcopy(resource))]).content
    )
    assert len(read.resource_spans) == 1
    assert read.resource_spans[0].resource.attributes[0].value.bytes_value == b"\x00"


def test_blocks_that_are_joined_are_a_request():
    """So a request can be made of blocks without looking into them."""
    first, second = SPANS.encode([span("one")]), SPANS.encode([span("two"), span("three")])
    read = ExportTraceServiceRequest.FromString(first.content + second.content)
    assert [item.name for item in records_of("traces", read)] == ["one", "two", "three"]


def test_threads_may_encode_at_once():
    """Sixteen threads share an encoder whose keeping overflows all the time, and none gets another's bytes."""
    encoder, failures = SpanEncoder(), []

    def work(thread):
        for number in range(300):
            attributes = {f"k{thread}-{number}": f"v{thread}-{number}", "n": number, "same": f"t{number % 7}"}
            subject = [span(f"s{thread}", attributes=attributes)]
            if ExportTraceServiceRequest.FromString(encoder.encode(subject).content) != official_spans(subject):
                failures.append((thread, number))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_keys_are_the_same_whichever_field_they_are_in():
    """The same attributes are attributes of a span, an event and a link: only the tag differs."""
    parts: list[list[bytes]] = [[], []]
    for tag, found in zip((b"\x0a", b"\x1a"), parts, strict=True):
        KeyValues(tag, None).add(found, {"a": "b", "c": 1.5, "d": None, "e": -1, "f": False})
    assert [item[1:] for item in parts[0]] == [item[1:] for item in parts[1]]
