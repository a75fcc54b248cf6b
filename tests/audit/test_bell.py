"""What the writer's thread waits for."""

from __future__ import annotations

import threading
import time

import pytest

from otel_ml.audit.bell import Bell
from otel_ml.audit.queue import Lane


def made() -> tuple[Bell, Lane, Lane]:
    first, second = Lane(None, 1024), Lane(None, 1024)
    return Bell(first, second), first, second


def after(seconds: float, action: object) -> threading.Timer:
    timer = threading.Timer(seconds, action)  # type: ignore[arg-type]
    timer.daemon = True
    timer.start()
    return timer


def test_a_ring_ends_a_wait_of_another_thread() -> None:
    """A ring ends a wait of another thread."""
    bell, _, _ = made()
    timer = after(0.05, bell.ring)
    assert bell.wait(30.0)
    timer.join()


def test_a_ring_before_the_wait_ends_it_at_once_and_several_rings_are_one() -> None:
    """A ring before the wait ends it at once and several rings are one."""
    bell, _, _ = made()
    for _ in range(3):
        bell.ring()
    assert bell.wait(30.0)
    assert not bell.wait(0.0)
    bell.ring()
    assert bell.wait(0.0)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.02])
def test_a_wait_ends_when_its_time_is_over(seconds: float) -> None:
    """A wait ends when its time is over."""
    bell, _, _ = made()
    begin = time.monotonic()
    assert not bell.wait(seconds)
    assert time.monotonic() - begin >= seconds - 0.001


@pytest.mark.parametrize("lane", [0, 1])
def test_watching_ends_when_something_is_in_a_lane_although_nobody_rings(lane: int) -> None:
    """Watching ends when something is in a lane although nobody rings."""
    bell, *lanes = made()
    timer = after(0.05, lambda: lanes[lane].put(b"line", 4, 0))
    begin = time.monotonic()
    bell.watch(0.003, 30.0)
    assert time.monotonic() - begin < 20.0
    assert lanes[lane].items
    timer.join()


def test_watching_ends_with_a_ring_and_when_its_time_is_over() -> None:
    """Watching ends with a ring and when its time is over."""
    bell, _, _ = made()
    begin = time.monotonic()
    bell.watch(0.003, 0.03)
    assert time.monotonic() - begin >= 0.029
    timer = after(0.05, bell.ring)
    bell.watch(30.0, 60.0)
    assert time.monotonic() - begin < 20.0
    timer.join()


def test_watching_pauses_before_the_first_look_so_that_more_comes_together() -> None:
    """Watching pauses before the first look so that more comes together."""
    bell, first, _ = made()
    first.put(b"line", 4, 0)
    begin = time.monotonic()
    bell.watch(0.02, 30.0)
    assert time.monotonic() - begin >= 0.019


def test_rings_of_many_threads_are_never_lost() -> None:
    """Rings of many threads are never lost."""
    bell, _, _ = made()
    rung = [0] * 4

    def ringing(place: int) -> None:
        for _ in range(2000):
            rung[place] += 1
            bell.ring()

    threads = [threading.Thread(target=ringing, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    seen = 0
    while sum(rung) < 8000 or seen < 8000:
        assert bell.wait(10.0), f"waits for a ring after {seen} of {sum(rung)}"
        seen = sum(rung)
    for thread in threads:
        thread.join()
