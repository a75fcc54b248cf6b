# Everything lives in .venv, made here on the first call; stamp files in it make the second call quick, and need no
# network. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first of these that runs and is new enough; `make PYTHON=/path/to/python test` takes another.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

VENV := .venv
OLDEST := .venv-sklearn-oldest
BENCH_VENV = .venv-bench-$(notdir $(PYTHON))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet
WHEEL := $$(echo dist/otel_ml-*.whl)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PIP_ROOT_USER_ACTION := ignore

# Folders are listed too: their time changes when a file in them goes away.
PURE := $(CURDIR)/$(VENV)/pure
# Those of modules that are compiled; both kinds of wheel together give the coverage.
PURE_TESTS := $(addprefix tests/, audit/test_bell.py audit/test_chain.py audit/test_feed.py audit/test_queue.py audit/test_quick_line.py \
	audit/test_recorder.py audit/test_sealing.py audit/test_simple_features.py export/test_encoding_queue.py integrations/sklearn logs metrics spans tracing \
	test_capture.py test_correlation.py test_current_span.py test_decorators.py test_exceptions.py test_stack_text.py test_worker.py)

SOURCES := $(shell find otel_ml hydra_plugins -name __pycache__ -prune -o -print) $(wildcard README.md) LICENSE
CHECKED := otel_ml hydra_plugins tests $(wildcard benchmarks scripts examples grafana)

.PHONY: help demo example-pipeline install test sdk-test sklearn-test sklearn-test-oldest lint typecheck format docs docs-check dashboards stack-env stack-test stack-load \
	bench soak clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo $(VENV)/.installed ## Train and serve a small model, and show its trace, logs, metrics and audit trail
	@$(BIN)/otel-ml demo

example-pipeline: $(VENV)/.test $(VENV)/.installed ## Run Hydra, DVC, MLflow, Optuna and Prefect together, and show their one trace
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/pipeline/run.sh $(PIPELINE)

install: $(VENV)/.test $(VENV)/.installed ## Make the environment that the tests run in

test: install $(VENV)/.pure ## Run the tests on the built wheel, and those of the hot path on one that is not compiled too
	@$(BIN)/coverage erase
	@echo "Running the tests of the hot path without its compiled modules ..."
	@PYTHONPATH=$(PURE) $(BIN)/python -P -m coverage run -m pytest $(PURE_TESTS)
	@echo "Running the tests on the installed wheel ..."
	@$(BIN)/python -P -m coverage run -m pytest
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

lint: $(VENV)/.lint ## Check style and formatting with ruff
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/ruff format --check $(CHECKED)

typecheck: $(VENV)/.lint $(VENV)/.test ## Check the types with mypy --strict
	@$(BIN)/mypy

format: $(VENV)/.lint ## Format the code and sort its imports
	@$(BIN)/ruff check --fix $(CHECKED)
	@$(BIN)/ruff format $(CHECKED)

docs: $(VENV)/.test $(VENV)/.installed ## Write the pages that are generated from the code
	@$(BIN)/python scripts/generate_docs.py

docs-check: $(VENV)/.test $(VENV)/.installed ## Check that the generated pages say what the code says
	@$(BIN)/python scripts/generate_docs.py --check

dashboards: $(VENV)/.test $(VENV)/.installed ## Write the Grafana dashboards from their code
	@$(BIN)/python grafana/dashboards

stack-env: ## Write the secrets that docker compose needs into .env
	@$(PYTHON) scripts/write_stack_environment.py

# Plain output, for a run of minutes; `--dist=loadgroup` has the tests that share one stack run in one process.
STACK_TEST = servers=$$($(BIN)/python scripts/build_servers.py) && \
	OTEL_ML_SERVERS="$$servers" $(BIN)/python -P -m pytest tests/stack --numprocesses=2 --dist=loadgroup

stack-test: $(VENV)/.test $(VENV)/.installed ## Build the real servers, once, and test the stack end to end
	@$(STACK_TEST)

stack-load: $(VENV)/.test $(VENV)/.installed ## The same with outages of a minute and a load of two, and their figures
	@export OTEL_ML_STACK_LONG=1; $(STACK_TEST) -rP -k "load or outage"

sdk-test: $(VENV)/.test $(VENV)/.installed ## Run OpenTelemetry's own tests of its tracing SDK against our tracer
	@$(BIN)/python scripts/run_sdk_tests.py

sklearn-test: $(VENV)/.test $(VENV)/.installed ## Run scikit-learn's own tests with every estimator watched, and without
	@$(BIN)/python scripts/run_sklearn_tests.py $(SKLEARN_TESTS)

sklearn-test-oldest: $(OLDEST)/.installed ## Test the instrumentation with the oldest scikit-learn and joblib that are supported
	@PYTHONPATH=tests $(OLDEST)/bin/python -P -m pytest tests/integrations/sklearn tests/integrations/test_joblib.py

bench: $(BENCH_VENV)/.installed ## Measure the cost of a call, beside other instrumentations
	@$(BENCH_VENV)/bin/python -m benchmarks

soak: $(BENCH_VENV)/.installed ## Ten minutes at full speed, to an endpoint that is down at first
	@$(BENCH_VENV)/bin/python -m benchmarks.soak --minutes 10

clean: ## Remove the environments, caches and everything built
	rm -rf $(VENV) $(OLDEST) .venv-bench-* dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A clear word instead of a stack trace from pip when Python is missing or old.
define new_venv
@test -n "$(PYTHON)" || { echo "No Python found: install Python 3.11 or newer, or say make PYTHON=/path/to/python" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "$(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo no Python): Python 3.11 or newer is needed; say make PYTHON=/path/to/python" >&2; exit 1; }
@echo "Creating $(1) with $$($(PYTHON) -V) ..."
@$(PYTHON) -m venv --clear $(1)
@$(1)/bin/python -m pip --quiet install --upgrade 'pip>=25.1' 'cython>=3.3' 'hatchling>=1.27' 'setuptools>=80'
endef

$(VENV)/.tools:
	$(call new_venv,$(VENV))
	@touch $@

dist/.built: $(SOURCES) pyproject.toml hatch_build.py | $(VENV)/.tools
	@echo "Building the wheel ..."
	@rm -rf dist
	@$(BIN)/python -m hatchling build --target wheel
	@touch $@

$(VENV)/.installed: dist/.built
	@$(PIP) install --no-index --no-deps --force-reinstall "$(WHEEL)"
	@touch $@

# The same without compiled modules, in a folder of its own that goes before the installed one.
$(VENV)/.pure: $(SOURCES) pyproject.toml hatch_build.py | $(VENV)/.tools
	@rm -rf $(PURE) $(PURE)-dist
	@OTEL_ML_COMPILE=0 $(BIN)/python -m hatchling build --target wheel --directory $(PURE)-dist
	@$(PIP) install --no-index --no-deps --target $(PURE) "$$(echo $(PURE)-dist/otel_ml-*.whl)"
	@touch $@

$(VENV)/.demo: pyproject.toml | dist/.built
	@echo "Installing what the demo needs (the first time takes about a minute) ..."
	@$(PIP) install "$(WHEEL)[demo]"
	@touch $@

$(VENV)/.test: pyproject.toml | dist/.built
	@echo "Installing what the tests need (the first time takes one or two minutes) ..."
	@$(PIP) install "$(WHEEL)[all]" --group test
	@touch $@

# Another Python needs a wheel of its own, for it is compiled.
$(BENCH_VENV)/.tools:
	$(call new_venv,$(BENCH_VENV))
	@touch $@

$(BENCH_VENV)/.built: $(SOURCES) pyproject.toml hatch_build.py | $(BENCH_VENV)/.tools
	@echo "Building the wheel ..."
	@rm -rf $(BENCH_VENV)/dist
	@$(BENCH_VENV)/bin/python -m hatchling build --target wheel --directory $(BENCH_VENV)/dist
	@touch $@

$(BENCH_VENV)/.peers: pyproject.toml | $(BENCH_VENV)/.built
	@echo "Installing the instrumentations to compare with (the first time takes a few minutes) ..."
	@$(BENCH_VENV)/bin/python -m pip --quiet install "$$(echo $(BENCH_VENV)/dist/otel_ml-*.whl)"
	@$(BENCH_VENV)/bin/python -m pip --quiet install --group bench || { echo "Not all are to be had for this Python: trying each"; \
		$(BENCH_VENV)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["bench"], sep="\n")' | \
		while read -r peer; do $(BENCH_VENV)/bin/python -m pip --quiet install --only-binary :all: \
			"$$(echo $(BENCH_VENV)/dist/otel_ml-*.whl)" "$$peer" || echo "$$peer is not to be had: its rows will say so"; done; }
	@touch $@

$(BENCH_VENV)/.installed: $(BENCH_VENV)/.built | $(BENCH_VENV)/.peers
	@$(BENCH_VENV)/bin/python -m pip --quiet install --no-index --no-deps --force-reinstall "$$(echo $(BENCH_VENV)/dist/otel_ml-*.whl)"
	@touch $@

# scipy and pandas are of the time of that scikit-learn, which newer ones warn about.
$(OLDEST)/.installed: dist/.built pyproject.toml
	@test -x $(OLDEST)/bin/python || { echo "Creating $(OLDEST) ..."; $(PYTHON) -m venv $(OLDEST); \
		$(OLDEST)/bin/python -m pip --quiet install --upgrade 'pip>=25.1'; }
	@$(OLDEST)/bin/python -m pip --quiet install "$(WHEEL)" --group test 'scikit-learn==1.7.0' 'joblib==1.5.0' 'scipy<1.16' 'pandas<3'
	@$(OLDEST)/bin/python -m pip --quiet install --no-index --no-deps --force-reinstall "$(WHEEL)"
	@touch $@

$(VENV)/.lint: pyproject.toml | $(VENV)/.tools
	@echo "Installing ruff and mypy ..."
	@$(PIP) install --group lint
	@touch $@
