"""Who waits for a record to be on the disk."""

from __future__ import annotations

import threading

import pytest

from otel_ml.audit.waiters import Waiters


@pytest.mark.parametrize("durable", [True, False])
def test_a_ticket_that_is_settled_says_how_before_and_after(durable: bool) -> None:
    """Whoever asks first, caller or writer, the answer is the same."""
    waiters = Waiters()
    early, late = waiters.ticket(), waiters.ticket()
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(waiters.wait(early, 10.0)))
    thread.start()
    waiters.settle([early, late], durable=durable)
    thread.join()
    assert answers == [durable]
    assert waiters.wait(late, 0.0) is durable


def test_waiting_ends_after_the_time_that_was_given() -> None:
    """A ticket that nobody settles is not on the disk."""
    waiters = Waiters()
    assert not waiters.wait(waiters.ticket(), 0.01)


def test_giving_up_wakes_everybody_and_later_success_changes_nothing() -> None:
    """A record may get to the disk after its caller was told that it had not."""
    waiters = Waiters()
    tickets = [waiters.ticket() for _ in range(3)]
    waiters.give_up()
    waiters.settle(tickets, durable=True)
    assert [waiters.wait(ticket, 0.0) for ticket in tickets] == [False] * 3


def test_nothing_is_left_behind() -> None:
    """A million calls later the memory is what it was."""
    waiters = Waiters()
    for number in range(1000):
        ticket = waiters.ticket()
        waiters.settle([ticket], durable=number % 2 == 0)
        waiters.wait(ticket, 0.0)
    assert not waiters._open and not waiters._lost
