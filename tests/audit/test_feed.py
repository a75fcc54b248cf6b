"""From a lane to lines: some at a time, and one bad item spoils nothing else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from audit.calls import SERVICE, call

from otel_ml import health
from otel_ml.audit.feed import MOST_LINES, Feed
from otel_ml.audit.queue import Gap, Lane
from otel_ml.audit.record import Encoder
from otel_ml.audit.rows import Batch


def feed_of(*items: Any, tickets: bool = False) -> tuple[Feed, Lane, Gap]:
    lane, gap = Lane(None, 1 << 30), Gap("shop")
    for number, item in enumerate(items, 1):
        lane.put(item, 300, number if tickets else 0)
    return Feed(lane, Encoder(SERVICE), gap), lane, gap


def ids(feed: Feed) -> list[str]:
    return [json.loads(body + b"}").get("record_id", "") for body in feed.bodies]


def test_what_was_not_written_stays_what_is_next() -> None:
    """Filling again changes nothing until the bodies are written."""
    feed, lane, _ = feed_of(*map(call, range(3)))
    assert feed.fill()
    lane.put(call(3), 300, 0)
    assert feed.fill()
    assert ids(feed) == ["0", "1", "2"]
    feed.written()
    assert feed.fill() and ids(feed) == ["3"]
    feed.written()
    assert not feed.fill() and feed.is_empty() and lane.held == 0


def test_one_write_is_bounded() -> None:
    """Neither many records nor one batch of many rows make a single write of any size."""
    batch = Batch.of(np.zeros((3000, 2)), np.zeros(3000), 10_000)
    feed, _, _ = feed_of(*map(call, range(1500)), call(9, features=batch, prediction=None))
    written = []
    while feed.fill():
        assert len(feed.bodies) <= MOST_LINES
        written += ids(feed)
        feed.written()
    assert written == [*map(str, range(1500)), *(f"9-{row}" for row in range(3000))]


def test_a_ticket_is_complete_with_the_last_row_of_its_batch() -> None:
    """Not before: a caller who waits for a batch waits for all of it."""
    batch = Batch.of(np.zeros((MOST_LINES + 10, 2)), None, 10_000)
    feed, _, _ = feed_of(call(1, features=batch, prediction=None), call(2), tickets=True)
    assert feed.fill() and feed.written() == []
    assert feed.fill() and feed.written() == [1, 2]


def test_one_bad_record_in_512_leaves_the_others() -> None:
    """It is counted, and in the gap; the rest is written."""
    items = [call(number) for number in range(512)]
    items[100] = call(100, features=b'{"broken":"\n"}')  # what is in quotes there is no JSON
    items[200] = call(200, model=None)
    feed, lane, gap = feed_of(*items, tickets=True)
    feed.fill()
    assert ids(feed) == [str(number) for number in range(512) if number not in (100, 200)]
    assert len(feed.written()) == 512  # nobody waits for ever
    assert json.loads(gap.body() + b"}")["lost"] == {"encode_failed": 2}
    assert health.dropped()["audit", "encode_failed"] == 2
    assert lane.held == 0


def test_discarding_counts_what_is_there() -> None:
    """What is encoded, what is under way, and what waits."""
    batch = Batch.of(np.zeros((MOST_LINES + 10, 2)), None, 10_000)
    feed, lane, _ = feed_of(call(1, features=batch, prediction=None), call(2), call(3))
    feed.fill()
    assert feed.discard() == MOST_LINES + 1 + 2
    assert feed.is_empty() and not feed.fill() and lane.held == 0
