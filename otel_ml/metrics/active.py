"""Which metrics an application's own server shows: those of the pipeline that is active, whenever it was started."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric


class Pipeline(Protocol):
    """What can be shown."""

    @property
    def registry(self) -> CollectorRegistry | None:
        """Its metrics; None until it was exposed."""
        ...

    def expose(self) -> None:
        """Have metrics for `registry`. Not done before somebody asks: it makes each counter of the SDK dearer."""
        ...


_mounted = False
_pipeline: Pipeline | None = None


def mount() -> None:
    """Note that an application shows metrics itself, from the pipeline of now and from later ones."""
    global _mounted  # noqa: PLW0603  there is one set of providers in a process, and so one of these
    _mounted = True
    if _pipeline is not None:
        _pipeline.expose()


def use(pipeline: Pipeline | None) -> None:
    """Show the metrics of this pipeline from now on; None: of none."""
    global _pipeline  # noqa: PLW0603
    _pipeline = pipeline
    if _mounted and pipeline is not None:
        pipeline.expose()


def collect() -> Iterable[Metric]:
    """Return the metric families of the pipeline that is active; none when there is none."""
    pipeline = _pipeline
    registry = pipeline.registry if pipeline is not None else None
    return registry.collect() if registry is not None else ()


def leave(pipeline: Pipeline) -> None:
    """Show no metrics any more, unless another pipeline has taken over."""
    if _pipeline is pipeline:
        use(None)
