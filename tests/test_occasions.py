"""What waits for a reason is done once there is one."""

from __future__ import annotations

import threading

from otel_ml.occasions import Occasion


def test_what_waits_is_done_when_it_happens_and_what_comes_later_at_once() -> None:
    """In the order in which it was asked for, each once, however often it happens."""
    occasion, done = Occasion(), list[str]()
    occasion.then(lambda: done.append("first"))
    occasion.then(lambda: done.append("second"))
    assert done == []
    occasion.happen()
    occasion.then(lambda: done.append("later"))
    occasion.happen()
    assert done == ["first", "second", "later"]


def test_what_waits_may_ask_for_more() -> None:
    """Also for the same occasion, from within."""
    occasion, done = Occasion(), list[str]()
    occasion.then(lambda: occasion.then(lambda: done.append("inner")))
    occasion.happen()
    assert done == ["inner"]


def test_nothing_is_lost_or_done_twice_between_threads() -> None:
    """Threads that ask while it happens in another."""
    for _ in range(50):
        occasion, done = Occasion(), list[int]()
        start = threading.Barrier(5)

        def ask(occasion: Occasion = occasion, done: list[int] = done, start: threading.Barrier = start) -> None:
            start.wait()
            for number in range(20):
                occasion.then(lambda number=number: done.append(number))  # type: ignore[misc]

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        start.wait()
        occasion.happen()
        for thread in threads:
            thread.join()
        assert sorted(done) == sorted([*range(20)] * 4)
