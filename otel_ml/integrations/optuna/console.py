"""Optuna's own log lines, by our log pipeline where it has a console; its functions say so once for all of Optuna."""

from __future__ import annotations

from logging import getLogger

from otel_ml.integrations.console import has_pipeline

logger = getLogger("optuna")
_taken: list[bool] = []


def take_over() -> None:
    """Have Optuna's records go to the root logger instead of to a handler of its own, where our pipeline shows them."""
    if has_pipeline():
        from optuna import logging  # noqa: PLC0415  the program has imported it

        logging.disable_default_handler()
        logging.enable_propagation()
        for handler in logger.handlers[:]:
            if type(handler).__module__.startswith("optuna."):  # of its bar, there while that is shown
                logger.removeHandler(handler)
        _taken[:] = [True]


def give_back() -> None:
    """Undo it."""
    if _taken:
        from optuna import logging  # noqa: PLC0415  as above

        logging.enable_default_handler()
        logging.disable_propagation()
        _taken.clear()
