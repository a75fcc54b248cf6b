"""From objects to bytes to the endpoint: a queue of two stages.

An object that waits is looked at by the garbage collector again and again: with 200,000 spans waiting, each look takes
some 100 ms. Bytes are not looked at. So only a few objects wait, for a fraction of a second, and a thread makes blocks
of bytes of them; what waits long, because the endpoint is slow or away, are blocks. A second thread sends them.

A caller that makes objects faster than the thread turns them into bytes finds the first stage full. It then encodes a
few itself, which takes as long as the thread would hold it up for the same; it never waits for anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from otel_ml import health
from otel_ml.export.otlp_protobuf import Block
from otel_ml.worker import ItemQueue, QueueThread

T = TypeVar("T")

MOST_OBJECTS: Final = 8192
"""Objects that wait to be encoded, at most."""

_BLOCK: Final = 512  # objects that the thread encodes at a time
_HELP: Final = 16  # objects that a caller encodes at a time: some 40 us
_ENCODE_AFTER: Final = 0.2  # seconds
_MOST_BYTES: Final = 3 * 1024 * 1024  # of a request, unless one block has more: receivers take 4 MiB by gRPC's default


class BlockSender(QueueThread[Block]):
    """Sends blocks, several to a request.

    Args:
        signal: Name under which losses are counted.
        send: Called with a request and the number of records in it; says itself what was not delivered.
        capacity: Records that may wait, those included for which there is a reservation.
        batch_size: Largest number of records in a request, unless one block has more.
        interval: Seconds between two requests; so many records are sent at once.
    """

    def __init__(
        self, signal: str, send: Callable[[bytes, int], None], *, capacity: int, batch_size: int, interval: float
    ) -> None:
        self._send = send
        self._capacity = capacity
        self._batch_size = batch_size
        self.on_room: Callable[[], None] = lambda: None
        super().__init__(signal, f"otel_ml-{signal}-send", interval)

    def _reset(self) -> None:
        super()._reset()
        self._counting = threading.RLock()  # never held for more than a sum
        self._waiting = 0

    def reserve(self, wanted: int) -> int:
        """Reserve room for records; returns for how many there is any, and tells the thread when it is less."""
        with self._counting:
            granted = min(wanted, self._capacity - self._waiting)
            self._waiting += granted
        if granted < wanted:
            self.wake()
        return granted

    def put_block(self, block: Block, reserved: int) -> None:
        """Queue a block for which there is a reservation.

        Args:
            block: May be empty.
            reserved: Number of records that it was made for.
        """
        if block.number:
            self.queue.append(block)  # before it is counted: who waits for the end must not miss it
        with self._counting:
            self._waiting += block.number - reserved
            is_full = self._waiting >= self._batch_size
        if self._closed:
            self._count_rest()
        elif self._thread is None:
            self._start()
        if is_full:
            self.wake()
        elif self._dozing:
            self._ring()

    def _is_idle(self) -> bool:
        return self._waiting == 0 and super()._is_idle()

    def _consume_some(self) -> bool:
        blocks: list[Block] = []
        number = size = 0
        while self.queue and (not blocks or self._fits(number, size)):
            block = self.queue.popleft()  # nobody else takes any, but at the very end
            blocks.append(block)
            number += block.number
            size += len(block.content)
        with self._counting:
            self._waiting -= number
        self.on_room()
        try:
            self._send(b"".join([block.content for block in blocks]), number)
        except Exception as error:  # whatever an exporter does, the thread has to live on
            health.count_dropped(self._signal, "export_failed", number)
            health.internal_error(f"export of {self._signal}", error)
        return True

    def _fits(self, number: int, size: int) -> bool:
        following = self.queue[0]
        return number + following.number <= self._batch_size and size + len(following.content) <= _MOST_BYTES

    def _discard(self) -> int:
        rest = 0
        try:
            while True:
                rest += self.queue.popleft().number
        except IndexError:
            pass
        with self._counting:
            self._waiting -= rest
        return rest


class EncodingQueue(ItemQueue[T]):
    """Both stages. Together they hold no more than `queue_size` records.

    Args:
        signal: Name under which losses are counted: `traces` or `logs`.
        encode: Makes a block of objects, and counts those that it has to leave out. Any number of threads call it.
        send: Called with a request and the number of records in it; says itself what was not delivered.
        queue_size: Records that may wait; one more is dropped and counted.
        batch_size: Largest number of records in a request.
        interval: Seconds between two requests; a full batch is sent at once.
    """

    def __init__(
        self, signal: str, encode: Callable[[list[T]], Block], send: Callable[[bytes, int], None], *,
        queue_size: int, batch_size: int, interval: float,
    ) -> None:  # fmt: skip
        objects = min(MOST_OBJECTS, max(1, queue_size // 2))
        self._encode = encode
        self._block = min(_BLOCK, batch_size)
        self._blocks = BlockSender(
            signal, send, capacity=max(1, queue_size - objects), batch_size=batch_size, interval=interval
        )
        super().__init__(signal, queue_size=objects, wake_at=objects * 3 // 4, interval=min(_ENCODE_AFTER, interval))
        self._blocks.on_room = self._wake_if_stalled

    def _reset(self) -> None:
        super()._reset()
        self._stalled = False

    def _consume_some(self) -> bool:
        self._stalled = True
        granted = self._blocks.reserve(min(self._block, len(self.queue)))
        if granted == 0:
            return False
        self._stalled = False
        self._encode_some(granted)
        return True

    def _wake_if_stalled(self) -> None:
        if self._stalled:
            self._wake_thread()

    def _put_into_full(self, item: T) -> bool:
        granted = self._blocks.reserve(min(_HELP, self._block))
        if granted == 0:
            return super()._put_into_full(item)
        self._encode_some(granted)
        self.queue.append(item)
        return True

    def _encode_some(self, number: int) -> None:
        """Make a block of objects for which room has been reserved."""
        batch = self._take(number)
        block = Block(0, b"")
        try:
            block = self._encode(batch)
        except Exception as error:
            health.count_dropped(self._signal, "encode_failed", len(batch))
            health.internal_error(f"encoding of {self._signal}", error)
        finally:
            self._blocks.put_block(block, number)

    def wake(self) -> None:
        """Have both threads look at their queues now."""
        self._wake_thread()
        self._blocks.wake()

    def flush(self, timeout: float) -> bool:
        """Wait until everything put before has been sent.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False when the time was not enough.
        """
        deadline = time.monotonic() + timeout
        while not super().flush(max(0.0, deadline - time.monotonic())):
            if time.monotonic() >= deadline or (self._thread is not None and self._thread.is_alive()):
                return False
            self._blocks.flush(max(0.0, deadline - time.monotonic()))  # no thread makes room: it is made here
        return self._blocks.flush(max(0.0, deadline - time.monotonic()))

    def _stop(self) -> None:
        super()._stop()
        self._blocks._stop()
