"""How many records were handed to the audit trail, for who watches it."""

from __future__ import annotations

from collections.abc import Callable

from otel_ml import conventions
from otel_ml.audit.record import Model
from otel_ml.instruments import instruments


class Counts:
    """Records by model and status, as the counter `otel_ml.audit.records`."""

    def __init__(self) -> None:
        self._bound: object = None
        self._known: dict[tuple[str, str | None, str], Callable[[int], object]] = {}

    def add(self, model: Model, status: str, number: int) -> None:
        """Count records.

        Args:
            model: Whose calls they are of.
            status: How these ended.
            number: How many.
        """
        self.of(model, status)(number)

    def of(self, model: Model, status: str) -> Callable[[int], object]:
        """Return what counts records of a model and a status, as long as the instruments are these."""
        if self._bound is not instruments.bound:
            self._bound, self._known = instruments.bound, {}
        key = (model.name, model.version, status)
        add = self._known.get(key)
        if add is None:
            add = self._known[key] = self._adder(*key)
        return add

    @staticmethod
    def _adder(name: str, version: str | None, status: str) -> Callable[[int], object]:
        attributes = {conventions.MODEL_NAME: name, conventions.STATUS: status}
        if version is not None:
            attributes[conventions.MODEL_VERSION] = version
        bind = getattr(instruments.audit_records, "bind", None)
        if bind is not None:
            add: Callable[[int], object] = bind(attributes).add
            return add
        return lambda number: instruments.audit_records.add(number, attributes)
