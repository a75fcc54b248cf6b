"""What calls of a model with the same versions have in common: attributes and series, made once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_ml import conventions
from otel_ml.clean_attributes import clean
from otel_ml.series import Series, SeriesBy

_MOST: Final = 1000


class Variant:
    """What all calls of a model with the same versions have in common.

    Args:
        attributes: Of their spans.
        series: Where they are counted.

    Attributes:
        model: What the audit trail calls it; None until its first record.
        shaped: Rows and columns of a call, and the attributes with them: the next one's are most often the same.
    """

    __slots__ = ("attributes", "model", "series", "shaped")

    def __init__(self, attributes: Mapping[str, Any], series: Series) -> None:
        self.attributes = clean(attributes)
        self.series = series
        self.model: Any = None
        self.shaped: tuple[int, int | None, Mapping[str, Any]] = (-1, None, self.attributes)

    def shape(self, rows: int, columns: int | None) -> tuple[int, int | None, Mapping[str, Any]]:
        """Return rows and columns, and the attributes with them, for the next calls too."""
        attributes = {**self.attributes, conventions.INPUT_ROWS: rows}
        if columns is not None:
            attributes[conventions.INPUT_COLUMNS] = columns
        self.shaped = shaped = (rows, columns, clean(attributes))
        return shaped


class Variants:
    """The variants of a model, one for each pair of versions that its calls named.

    Args:
        attributes: That all their spans have.
        series: Where they are counted, by model version.
    """

    __slots__ = ("_attributes", "_known", "_series")

    def __init__(self, attributes: Mapping[str, Any], series: SeriesBy) -> None:
        self._attributes = attributes
        self._series = series
        self._known: dict[tuple[str | None, str | None], Variant] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Variants, (self._attributes, self._series)

    def of(self, version: str | None, feature_version: str | None) -> Variant:
        """Return the variant with these versions."""
        found = self._known.get((version, feature_version))
        if found is None:
            versions = ((conventions.MODEL_VERSION, version), (conventions.FEATURE_VERSION, feature_version))
            named = {key: value for key, value in versions if value is not None}
            found = Variant({**self._attributes, **named}, self._series.of(version))
            if len(self._known) >= _MOST:  # a version that differs with each call would fill the memory
                self._known.clear()
            self._known[version, feature_version] = found
        return found
