#!/bin/sh
# The whole pipeline once, in this folder, with what it recorded. Arguments are those of `dvc repro`, such as --force.
set -e
cd "$(dirname "$0")"
export DVC_NO_ANALYTICS=1 PREFECT_HOME="$PWD/.prefect" PREFECT_SERVER_ANALYTICS_ENABLED=false MLFLOW_DISABLE_TELEMETRY=true
export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=90  # a busy machine needs more than the default 20
[ -d .dvc ] || dvc init --no-scm --quiet
code=0
otel-ml run --name pipeline -- python flow.py "$@" || code=$?
otel-ml show pipeline --no-logs
exit "$code"
