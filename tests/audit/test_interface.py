"""What `otel_ml.audit` offers, by the names that its documentation has for it, in programs of their own."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest

from otel_ml import audit
from support import run_python

SHARED_NAMES = sorted({module.name for module in pkgutil.iter_modules(audit.__path__)} & set(audit.__all__))


def test_some_functions_have_a_module_of_their_name() -> None:
    """Or the next test would check nothing."""
    assert {"export", "performance", "query", "stats", "tail", "verify"} <= set(SHARED_NAMES)


@pytest.mark.parametrize("first", SHARED_NAMES)
def test_a_function_goes_before_the_module_of_its_name(first: str) -> None:
    """Also when someone has imported the module first, or imports it later."""
    done = run_python(
        f"""
        import importlib, types
        importlib.import_module("otel_ml.audit.{first}")
        import otel_ml
        for _ in range(2):
            for name in otel_ml.audit.__all__:
                assert callable(getattr(otel_ml.audit, name)), name
            for name in {SHARED_NAMES}:
                found = importlib.import_module(f"otel_ml.audit.{{name}}")
                assert isinstance(found, types.ModuleType), name
        """
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("imported", ["import otel_ml", "import otel_ml.audit", "import otel_ml.audit.query"])
def test_everything_works_by_its_public_name(tmp_path: Path, imported: str) -> None:
    """From the package, which loads it when it is used, and from the module."""
    pytest.importorskip("duckdb")
    pytest.importorskip("sklearn")
    done = run_python(
        f"""
        {imported}
        from pathlib import Path

        @otel_ml.inference(model="fraud", version="1")
        def predict(features):
            return 10 // features["amount"]

        audit, quiet = otel_ml.audit, otel_ml.Logs(format="none")
        with otel_ml.configure(traces=False, metrics=False, logs=quiet, audit=otel_ml.Audit(directory="trail")):
            predict({{"amount": 5}})
            try:
                predict({{"amount": 0}})
            except ZeroDivisionError:
                pass
            good, bad = audit.query("select record_id, status from predictions order by time")
            assert (good["status"], bad["status"]) == ("ok", "error")
            assert audit.outcome(good["record_id"], 2)
            (measured,) = audit.performance("fraud")
            assert (measured.labelled, measured.value) == (1, 1.0)
            assert [record["event_name"] for record in audit.tail(follow=False)][-1] == "otel_ml.outcome"
        assert [row["failures"] for row in audit.named("models")] == [1]
        assert audit.compact().segments == 1
        assert audit.export("all.csv") == 2 and Path("all.csv").exists()
        hold = audit.hold("case 1")
        assert audit.stats().holds == {{hold: "case 1"}} and audit.stats().records == 2
        audit.release(hold)
        assert audit.erase("nobody") is False
        assert audit.verify() and isinstance(audit.verify(), audit.Report)
        """,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
