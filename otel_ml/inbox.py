"""What callers put items into: one comparison and one append. It is compiled where that can be done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


class Inbox:
    """The caller's side of a bounded queue.

    Attributes:
        queue: What waits; another object after a fork.
        append: Of that queue.
        quiet: Number of items up to which one more is just appended. Above it somebody has to be told, or there is no
            room: then `put_attentively` of the sub-class decides.
    """

    __slots__ = ("append", "queue", "quiet")

    append: Callable[[Any], object]
    queue: deque[Any]
    quiet: int

    def put(self, item: Any) -> bool:
        """Queue one item; never blocks and never raises.

        Returns:
            False when the item was dropped, because the queue is full or closed; the loss is counted.
        """
        if len(self.queue) < self.quiet:
            self.append(item)
            return True
        return self.put_attentively(item)  # type: ignore[attr-defined, no-any-return]
