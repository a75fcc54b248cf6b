"""The identity of one execution: a root span, one id on everything inside it, also in the processes that it starts."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, StatusCode

from otel_ml import capture, conventions, environment, health, identity, instruments, propagation
from otel_ml.errors import ConfigurationError
from otel_ml.identity import folder_name
from otel_ml.operations import end_of_failure

__all__ = ["RUN_KEY", "Run", "any_failed", "current_run", "folder_name", "process_run_id", "run"]
