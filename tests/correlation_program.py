"""A program for test_correlation: runs random nestings of watched calls, each of which logs its own span's name."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import itertools
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import otel_ml

logger = logging.getLogger("application")
numbers = itertools.count()

KINDS = st.sampled_from(["sync", "coroutine", "generator", "async_generator", "thread", "task", "block"])
PROGRAMS = st.recursive(
    st.tuples(KINDS, st.just(())),
    lambda children: st.tuples(KINDS, st.lists(children, min_size=1, max_size=3).map(tuple)),
    max_leaves=10,
)
Inside = Callable[[], Awaitable[None]]


def say(name: str) -> None:
    """Log a line whose message is the name of the span that is open by the program's structure."""
    logger.info("%s", name)


async def execute(program: Any, around: str) -> None:
    """Run one node: a watched call of its kind with its children inside, then one more line of the node around it."""
    kind, children = program
    name = f"{kind}-{next(numbers)}"

    async def inside() -> None:
        say(name)
        for child in children:
            await execute(child, name)
        say(name)

    await CALLS[kind](name, inside, around)
    say(around)


def in_a_loop_of_its_own(inside: Inside) -> None:
    """Run asynchronous children from synchronous code: in a thread that takes this context along."""
    context = contextvars.copy_context()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(context.run, asyncio.run, inside()).result()


async def sync(name: str, inside: Inside, around: str) -> None:
    otel_ml.step(name)(in_a_loop_of_its_own)(inside)


async def coroutine(name: str, inside: Inside, around: str) -> None:
    await otel_ml.step(name)(inside)()


async def generator(name: str, inside: Inside, around: str) -> None:
    @otel_ml.step(name)
    def items() -> Iterator[int]:
        say(name)
        yield 1
        in_a_loop_of_its_own(inside)
        yield 2

    for _ in items():
        say(around)


async def async_generator(name: str, inside: Inside, around: str) -> None:
    @otel_ml.step(name)
    async def items() -> AsyncIterator[int]:
        say(name)
        yield 1
        await inside()
        yield 2

    async for _ in items():
        say(around)


async def thread(name: str, inside: Inside, around: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(otel_ml.step(name)(in_a_loop_of_its_own), inside).result()


async def task(name: str, inside: Inside, around: str) -> None:
    @otel_ml.step(name)
    async def work() -> None:
        await asyncio.sleep(0)
        await inside()

    async def beside() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            say(around)

    await asyncio.gather(asyncio.create_task(work()), asyncio.create_task(beside()))


async def block(name: str, inside: Inside, around: str) -> None:
    async with otel_ml.step(name):
        await inside()


CALLS: dict[str, Callable[[str, Inside, str], Awaitable[None]]] = {
    "sync": sync, "coroutine": coroutine, "generator": generator, "async_generator": async_generator,
    "thread": thread, "task": task, "block": block,
}  # fmt: skip


@settings(max_examples=80, deadline=None, database=None, derandomize=True)
@given(program=PROGRAMS)
def run_one(program: Any) -> None:
    """Run one random program under a root of its own."""
    root = f"root-{next(numbers)}"
    with otel_ml.step(root):
        asyncio.run(execute(program, root))


if __name__ == "__main__":
    with otel_ml.configure(directory=sys.argv[1], logs=otel_ml.Logs(format="none")):
        run_one()
