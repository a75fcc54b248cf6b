"""A program for test_concurrency: processes, each with threads and tasks at once, all of which predict and log.

Arguments: folder, port of `/metrics`, processes, threads a process, calls a thread, tasks a process. It prints the
`/metrics` page that it has when all is over, for its child processes are gone by then.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import sys
import threading
import urllib.request
from pathlib import Path

import otel_ml

logger = logging.getLogger("application")
ROOM = 200_000


@otel_ml.inference(model="crowd", version="1")
def predict(features: dict[str, float]) -> float:
    logger.info("predicted %s", 0.25)
    return 0.25


@otel_ml.inference(model="crowd", version="1")
async def predict_async(features: dict[str, float]) -> float:
    await asyncio.sleep(0)
    logger.info("predicted %s", 0.5)
    return 0.5


async def run_tasks(number: int) -> None:
    await asyncio.gather(*(predict_async({"x": float(index)}) for index in range(number)))


def run_calls(number: int) -> None:
    for index in range(number):
        predict({"x": float(index)})


def work(threads: int, calls: int, tasks: int) -> None:
    """Do one process's share: all threads and the event loop run at the same time."""
    crowd = [threading.Thread(target=run_calls, args=(calls,)) for _ in range(threads)]
    crowd.append(threading.Thread(target=asyncio.run, args=(run_tasks(tasks),)))
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()


def main() -> None:
    folder, port, processes, threads, calls, tasks = Path(sys.argv[1]), *map(int, sys.argv[2:])
    otel_ml.configure(
        service_name="crowd",
        directory=folder,
        traces=otel_ml.Traces(queue_size=ROOM),
        metrics=otel_ml.Metrics(port=port),
        logs=otel_ml.Logs(format="none", queue_size=ROOM),
    )
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=work, args=(threads, calls, tasks)) for _ in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert all(child.exitcode == 0 for child in children), [child.exitcode for child in children]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        sys.stdout.write(page.read().decode())


if __name__ == "__main__":
    main()
