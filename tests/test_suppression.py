"""Code that no instrumentation shall watch."""

from __future__ import annotations

import pytest
from opentelemetry.instrumentation import utils

from otel_ml import suppression


@pytest.mark.parametrize("suppress", [suppression.suppress_instrumentation, utils.suppress_instrumentation])
@pytest.mark.parametrize("is_enabled", [suppression.is_instrumentation_enabled, utils.is_instrumentation_enabled])
def test_each_sees_what_the_other_suppresses(suppress, is_enabled) -> None:
    """Ours and that of opentelemetry-instrumentation, in both directions; afterwards all is as before."""
    assert is_enabled()
    with suppress():
        assert not is_enabled()
        with suppress():
            assert not is_enabled()
        assert not is_enabled()
    assert is_enabled()


def test_it_ends_with_an_exception_too() -> None:
    """What is raised inside goes on."""
    with pytest.raises(ValueError, match="inside"), suppression.suppress_instrumentation():
        raise ValueError("inside")
    assert suppression.is_instrumentation_enabled()


def test_instrumentations_of_http_clients_obey() -> None:
    """They ask for their own key, or for the one of all instrumentations."""
    with suppression.suppress_instrumentation():
        assert not utils.is_http_instrumentation_enabled()
