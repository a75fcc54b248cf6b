"""What a type checker sees of the public API: checked by `make typecheck`, never run.

`assert_type` holds what must be seen; an ignore holds what must be refused, because an unused one is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import assert_type

from opentelemetry.trace import Span

import otel_ml


@otel_ml.step
def bare(x: int, *, scale: float = 1.0) -> str:
    return str(x * scale)


@otel_ml.step("named", attributes={"source": "s3"}, inputs=["raw.csv"], outputs=[Path("clean.parquet")])
async def called(path: Path) -> bytes:
    return path.read_bytes()


@otel_ml.step
def generator(n: int) -> Iterator[int]:
    yield from range(n)


@otel_ml.step()
async def async_generator(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


class Model:
    version = "1"

    @otel_ml.inference(model="m", version=lambda self: self.version, features="x", prediction=lambda r: r["score"])
    def predict(self, x: list[float], *, request_id: str) -> Mapping[str, float]:
        return {"score": sum(x)}

    @otel_ml.step
    @classmethod
    def load(cls, path: str) -> Model:
        return cls()

    @otel_ml.step
    @staticmethod
    def helper(x: int) -> int:
        return x


assert_type(bare(1, scale=2.0), str)
assert_type(otel_ml.step(len)([1]), int)
assert_type(generator(3), Iterator[int])
assert_type(async_generator(3), AsyncIterator[int])
assert_type(Model().predict([1.0], request_id="r"), Mapping[str, float])
assert_type(Model.load("path"), Model)
assert_type(Model.helper(1), int)

bare("1")  # type: ignore[arg-type]
bare(1, scal=2.0)  # type: ignore[call-arg]
otel_ml.step(1)  # type: ignore[call-overload]
otel_ml.step("s", atributes={})  # type: ignore[call-overload]
otel_ml.inference(model="m", features=1)  # type: ignore[call-overload]
otel_ml.configure(service_nam="s")  # type: ignore[call-arg]
otel_ml.configure(logs=True)  # type: ignore[arg-type]
otel_ml.Logs(format="xml")  # type: ignore[arg-type]


def blocks() -> None:
    with otel_ml.step("train") as span:
        assert_type(span, Span)
    with otel_ml.run("nightly", config={"lr": 0.1}) as run:
        assert_type(run, otel_ml.Run)
        assert_type(run.id, str)
    assert_type(otel_ml.current_run(), otel_ml.Run | None)
    with otel_ml.configure(service_name="s", traces=False, logs=otel_ml.Logs(format="json")) as telemetry:
        assert_type(telemetry, otel_ml.Telemetry)
        assert_type(telemetry.flush(timeout=1.0), bool)


async def async_blocks() -> None:
    assert_type(await called(Path()), bytes)
    async with otel_ml.step("train") as span:
        assert_type(span, Span)
    async with otel_ml.run("nightly") as run:
        assert_type(run, otel_ml.Run)


@otel_ml.run("main")
def main(argument: int) -> str:
    return str(argument)


assert_type(main(1), str)
callback: Callable[[int], str] = main
