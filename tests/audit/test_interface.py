"""What `otel_ml.audit` offers, by the names that its documentation has for it, in programs of their own."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest

from otel_ml import audit
from otel_ml.audit import interface
from support import run_python


def test_no_module_has_the_name_of_a_function() -> None:
    """Or what is got by that name depends on what was imported before."""
    assert not {module.name for module in pkgutil.iter_modules(audit.__path__)} & set(audit.__all__)


def test_all_names_are_there_and_no_others() -> None:
    """They load when they are used; the interface has the same."""
    assert audit.__all__ == interface.__all__
    for name in audit.__all__:
        assert getattr(audit, name) is getattr(interface, name)
    with pytest.raises(AttributeError, match="has no attribute 'unknown'"):
        _ = audit.unknown


def test_a_program_that_is_recorded_loads_nothing_of_what_reads() -> None:
    """Each process of a pipeline would pay for it."""
    done = run_python(
        """
        import sys, otel_ml
        with otel_ml.configure(logs=otel_ml.Logs(format="none"), audit=otel_ml.Audit(directory="trail")):
            otel_ml.inference(model="fraud", version="1")(abs)(-3)
        print([name for name in sys.modules if name.startswith(("otel_ml.audit.reading", "otel_ml.audit.interface"))])
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("imported", ["import otel_ml", "import otel_ml.audit"])
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
