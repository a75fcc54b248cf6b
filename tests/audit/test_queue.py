"""Two bounded lanes, and the count of what found no room."""

from __future__ import annotations

import json
import threading

from hypothesis import given
from hypothesis import strategies as st

from otel_ml import health
from otel_ml.audit.queue import Gap, Lane


@given(st.lists(st.integers(0, 2000), max_size=60), st.integers(1, 20), st.integers(1, 8000))
def test_a_lane_never_holds_more_than_its_bounds(sizes: list[int], most_items: int, most_bytes: int) -> None:
    """Neither items nor bytes, but for one item that is larger than all of the room; what is refused is not held."""
    lane = Lane(most_items, most_bytes)
    accepted = [size for size in sizes if lane.put(size, size, 0)]
    assert len(lane.items) == len(accepted) <= most_items
    held = [size for _, size, _ in lane.items]
    assert lane.held == sum(held)
    assert lane.held <= most_bytes or len(held) == 1
    assert [item for item, _, _ in lane.items] == accepted


def test_an_item_takes_room_until_it_is_released() -> None:
    """What the writer has taken but not encoded is still in memory."""
    lane = Lane(None, 1000)
    assert lane.put("a", 600, 0)
    lane.items.popleft()
    assert not lane.put("b", 600, 0)
    lane.release(600)
    assert lane.put("b", 600, 0)


def test_tiny_items_are_counted_for_what_their_objects_take() -> None:
    """A size of nothing does not make the lane endless."""
    lane = Lane(None, 10_000)
    assert sum(lane.put(number, 0, 0) for number in range(1000)) < 100


def test_a_gap_tells_what_was_lost_since_it_was_last_told() -> None:
    """What is added while a line is on its way to the disk is in the next one."""
    gap = Gap("shop")
    assert not gap
    gap.add("queue_full", 3)
    gap.add("shutdown")
    body = gap.body()
    gap.add("queue_full", 2)
    gap.settle(body)
    fields = json.loads(body + b"}")
    assert (fields["service.name"], fields["lost"]) == ("shop", {"queue_full": 3, "shutdown": 1})
    assert 0 < fields["first_time_unix_nano"] <= fields["last_time_unix_nano"]
    assert json.loads(gap.body() + b"}")["lost"] == {"queue_full": 2}
    gap.settle(gap.body())
    assert not gap
    assert health.dropped() == {("audit", "queue_full"): 5, ("audit", "shutdown"): 1}


def test_losing_nothing_is_no_gap() -> None:
    """A count of zero leaves no trace."""
    gap = Gap("shop")
    gap.add("shutdown", 0)
    assert not gap and not health.dropped()


def test_threads_that_lose_records_are_all_counted() -> None:
    """The sum is exact."""
    gap = Gap("shop")
    threads = [threading.Thread(target=lambda: [gap.add("queue_full") for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(gap.body() + b"}")["lost"] == {"queue_full": 4000}
