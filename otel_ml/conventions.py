"""Every name that otel_ml emits; no other module spells one.

A string under a constant is its documentation: `docs/conventions.md` is generated from this file.
Names that OpenTelemetry's semantic conventions define are used as they are (`error.type`, `code.*`,
`exception.*`); everything else is under `otel_ml.`, because no convention for classical machine
learning exists yet (open-telemetry/semantic-conventions#3420).
"""

from __future__ import annotations

from typing import Final

SCOPE: Final = "otel_ml"
"""Instrumentation scope of every span and metric, and the root of every logger name."""

RUN_ID: Final = "otel_ml.run.id"
"""Identity of one execution, UUIDv7 text. On spans, log records and in baggage."""

RUN_NAME: Final = "otel_ml.run.name"
"""Name given to `otel_ml.run`. On spans and in baggage."""

RUN_LABELS: Final = "otel_ml.run.labels"
"""Labels of the run that sub-processes take over, as a URL query. In baggage."""

MLFLOW_RUN_ID: Final = "otel_ml.mlflow.run_id"
"""Id of the MLflow run. A label: on all spans and log records inside of it."""

DVC_STAGE: Final = "otel_ml.dvc.stage"
"""Name of the DVC stage. A label: on all spans and log records inside of it."""

HYDRA_JOB: Final = "otel_ml.hydra.job"
"""Name of the Hydra job, with its number in a multirun: `train`, `train#3`. A label, as above."""

OPTUNA_TRIAL: Final = "otel_ml.optuna.trial"
"""Study and number of the Optuna trial: `churn#7`. A label, as above."""

PREFECT_FLOW_RUN_ID: Final = "otel_ml.prefect.flow_run_id"
"""Id of the Prefect flow run. A label, as above."""

PREFECT_TASK_RUN_ID: Final = "otel_ml.prefect.task_run_id"
"""Id of the Prefect task run. A label, as above."""

STEP_NAME: Final = "otel_ml.step.name"
"""Name of a step. On its span and on the step duration histogram."""

STEP_INPUTS: Final = "otel_ml.step.inputs"
"""Paths that a step reads. On its span."""

STEP_OUTPUTS: Final = "otel_ml.step.outputs"
"""Paths that a step writes. On its span."""

MODEL_NAME: Final = "otel_ml.model.name"
"""Name of the model that made a prediction. On spans, metrics and error logs."""

MODEL_VERSION: Final = "otel_ml.model.version"
"""Version of that model. On spans, metrics and error logs."""

FEATURE_VERSION: Final = "otel_ml.feature.version"
"""Version of the feature definitions that the model was fed with. On spans and error logs."""

INPUT_ROWS: Final = "otel_ml.input.rows"
"""Rows in the features of an inference call. On spans."""

INPUT_COLUMNS: Final = "otel_ml.input.columns"
"""Columns in the features of an inference call. On spans."""

OUTPUT_ROWS: Final = "otel_ml.output.rows"
"""Rows in the prediction of an inference call. On spans."""

FEATURES: Final = "otel_ml.features"
"""Masked and bounded features of a failed inference call. On its error log only."""

AUDIT_RECORD_ID: Final = "otel_ml.audit.record_id"
"""Identity of the audit record that a prediction wrote. On spans."""

ESTIMATOR_CLASS: Final = "otel_ml.estimator.class"
"""Class of an estimator, such as `StandardScaler`. On the spans, metrics and logs of its calls."""

ESTIMATOR_METHOD: Final = "otel_ml.estimator.method"
"""Method of an estimator that was called. On the spans and metrics of its calls."""

ESTIMATOR_STEP: Final = "otel_ml.estimator.step"
"""Name that an estimator has in the pipeline, union or ensemble that called it. On spans."""

ESTIMATOR_PARAMETERS: Final = "otel_ml.estimator.parameters"
"""Masked and bounded parameters of an estimator, as JSON. On the span of a fit."""

ESTIMATOR_FITTED: Final = "otel_ml.estimator.fitted"
"""What a fit found, as JSON: counts, scores, chosen parameters, shapes; no values. On the span of a fit."""

ESTIMATOR_IMPORTANCES: Final = "otel_ml.estimator.feature_importances"
"""Importances of features, largest first, as JSON. On the span of a fit, where that was asked for."""

ESTIMATOR_SCORE: Final = "otel_ml.estimator.score"
"""What an estimator's `score` returned. On its span."""

ESTIMATOR_VERSION: Final = "otel_ml.estimator.version"
"""Library that an estimator is from, and its version. On the span of a fit."""

ESTIMATOR_HIDDEN: Final = "otel_ml.estimator.calls_without_span"
"""Calls of other estimators inside a call that got no span of their own. On its span."""

INPUT_TYPE: Final = "otel_ml.input.type"
"""Class of an estimator's input, such as `pandas.DataFrame`. On spans."""

INPUT_DTYPES: Final = "otel_ml.input.dtypes"
"""Type of an input's items, or as JSON of each column. On spans; by column on those of a fit only."""

FIT_STARTED: Final = "otel_ml.fit.start"
"""`event.name` of the log record that says that an estimator is being fitted."""

FIT_PROGRESS: Final = "otel_ml.fit.progress"
"""`event.name` of the log record, and name of the span event, that tells how far a search is."""

FITS_DONE: Final = "otel_ml.fit.done"
"""Fits of a search that have ended. On the records of its progress."""

FITS_TOTAL: Final = "otel_ml.fit.total"
"""Fits that a search will make, without the last one on all data. On the records of its start and progress."""

BEST_SCORE: Final = "otel_ml.fit.best_score"
"""Best score of a single fit of a search so far. On the records of its progress."""

STATUS: Final = "otel_ml.status"
"""How a call ended when it neither returned nor failed: `cancelled` or `abandoned`. On spans."""

CANCELLED: Final = "cancelled"
"""`otel_ml.status` of a call that was cancelled from outside (asyncio, Ctrl-C)."""

ABANDONED: Final = "abandoned"
"""`otel_ml.status` of a generator whose consumer stopped before its end."""

ITEMS: Final = "otel_ml.items"
"""Items that a generator step yielded. On its span."""

ERROR_TYPE: Final = "error.type"
"""Qualified class name of the exception. On spans, metrics and error logs of failed calls."""

CODE_FUNCTION_NAME: Final = "code.function.name"
"""Module and qualified name of the decorated function. On spans."""

EXCEPTION_TYPE: Final = "exception.type"
"""Qualified class name of an exception. On log records that carry one."""

EXCEPTION_MESSAGE: Final = "exception.message"
"""Text of an exception. On log records that carry one."""

EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
"""Stack trace of an exception. On log records that carry one."""

STEP_DURATION: Final = "otel_ml.step.duration"
"""Histogram, seconds: wall-clock time of a step."""

INFERENCE_DURATION: Final = "otel_ml.inference.duration"
"""Histogram, seconds: wall-clock time of an inference call."""

ESTIMATOR_DURATION: Final = "otel_ml.estimator.duration"
"""Histogram, seconds: wall-clock time of a call of an estimator, by `ESTIMATOR_CLASS` and `ESTIMATOR_METHOD`."""

INFERENCE_ROWS: Final = "otel_ml.inference.rows"
"""Counter, rows: rows that inference calls were given."""

AUDIT_RECORDS: Final = "otel_ml.audit.records"
"""Counter, records: what inference calls handed to the audit trail, by `MODEL_NAME`, `MODEL_VERSION` and `STATUS`."""

DROPPED: Final = "otel_ml.dropped"
"""Counter, items: telemetry that was lost, by `SIGNAL` and `REASON`."""

SIGNAL: Final = "otel_ml.signal"
"""Which signal was lost: `traces`, `logs`, `metrics`, `audit` or `internal`. On the dropped counter."""

REASON: Final = "otel_ml.reason"
"""Why it was lost, for example `queue_full` or `export_failed`. On the dropped counter."""

OVERFLOW: Final = "otel.metric.overflow"
"""True on the one series that stands for all attribute sets above the bound."""

RUN_CONFIG: Final = "otel_ml.run.config"
"""Resolved and masked configuration at the start of a run. On its log record, and as JSON on the run's span."""

RUN_ENVIRONMENT: Final = "otel_ml.run.environment"
"""Relevant, masked environment variables at the start of a run. On its log record."""

RUN_PACKAGES: Final = "otel_ml.run.packages"
"""Versions of the distributions imported at the start of a run. On its log record."""

RUN_COMMAND: Final = "otel_ml.run.command"
"""Masked command line of the process. On the run's span and log record."""

RUN_SEED: Final = "otel_ml.run.seed"
"""Random seed that the configuration names. On the run's span and log record."""

RUN_OVERRIDES: Final = "otel_ml.run.overrides"
"""Hydra's overrides of the configuration. On the run's span and log record."""

EVENT_NAME: Final = "event.name"
"""What a log record stands for. On the log records of runs."""

RUN_STARTED: Final = "otel_ml.run.start"
"""`event.name` of the log record that describes how a run was started."""

RUN_ENDED: Final = "otel_ml.run.end"
"""`event.name` of the log record that says how a run ended, and after how long."""

RUN_STATUS: Final = "otel_ml.run.status"
"""How a run ended: `ok`, `error` or `cancelled`. On its last log record."""

OK: Final = "ok"
"""`otel_ml.run.status` of a run that neither failed nor was cancelled."""

FAILED: Final = "error"
"""`otel_ml.run.status` of a run that an exception left, or whose command failed."""

RUN_DURATION: Final = "otel_ml.run.duration"
"""Wall-clock seconds from start to end of a run. On its last log record."""

CONFIG_CHANGED: Final = "otel_ml.run.config.change"
"""`event.name` of the log record, and name of the span event, of a later change of a run's configuration."""

CONFIG_CHANGES: Final = "otel_ml.run.config.changes"
"""Old and new value by dotted name, masked. On that log record, and as JSON on that span event."""

RUN_PLATFORM: Final = "otel_ml.run.platform"
"""Operating system and machine, as Python names them. On the run's log record."""

RUNTIME_NAME: Final = "process.runtime.name"
"""Python implementation, for example `cpython`. On the run's log record."""

RUNTIME_VERSION: Final = "process.runtime.version"
"""Version of Python. On the run's log record."""

RUN_EXIT_CODE: Final = "otel_ml.run.exit_code"
"""Exit code of a command started by `otel-ml run`. On the run's span."""

GIT_COMMIT: Final = "vcs.ref.head.revision"
"""Commit checked out at the start of a run. On the run's span and log record."""

GIT_BRANCH: Final = "vcs.ref.head.name"
"""Branch checked out at the start of a run. On the run's span and log record."""

GIT_DIRTY: Final = "otel_ml.run.git.dirty"
"""Whether tracked files differed from that commit. On the run's span and log record."""

STEP_BUCKETS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0,
)  # fmt: skip
"""Bucket bounds of the step duration histogram, seconds: 1 ms to 1 h."""

INFERENCE_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Bucket bounds of the inference duration histogram, seconds: 100 us to 10 s."""

ESTIMATOR_BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
)  # fmt: skip
"""Bucket bounds of the estimator duration histogram, seconds: 100 us to 1 h, for one row and for a night's search."""

TRACE_ID: Final = "otel_ml.trace_id"
"""Trace that a run of MLflow was started in, lower-case hex. A tag of that run."""

OPTUNA_STUDY: Final = "otel_ml.optuna.study"
"""Name of an Optuna study. On the spans and log records of its optimization and of its trials."""

OPTUNA_TRIALS: Final = "otel_ml.optuna.trials"
"""Trials that an optimization was asked for, or that it made. On its span, and on its last log record."""

OPTUNA_JOBS: Final = "otel_ml.optuna.jobs"
"""Threads that an optimization was asked for. On its span."""

OPTUNA_NUMBER: Final = "otel_ml.optuna.number"
"""Number of an Optuna trial in its study. On its span and log records."""

OPTUNA_PARAMETERS: Final = "otel_ml.optuna.parameters"
"""Masked and bounded parameters of a trial, or of the best one of a study. On log records, and as JSON on spans."""

OPTUNA_VALUE: Final = "otel_ml.optuna.value"
"""Value of a trial of a study with one objective. On its span and log records."""

OPTUNA_VALUES: Final = "otel_ml.optuna.values"
"""Values of a trial of a study with several objectives. On its span and log records."""

OPTUNA_STATE: Final = "otel_ml.optuna.state"
"""How a trial ended: `complete`, `pruned` or `fail`. On its span and log records."""

OPTUNA_STEP: Final = "otel_ml.optuna.step"
"""Last step that a trial reported a value of: the one where it was pruned, if it was. On its span and log records."""

OPTUNA_DURATION: Final = "otel_ml.optuna.duration"
"""Wall-clock seconds of a trial. On its span and log records."""

OPTUNA_BEST_NUMBER: Final = "otel_ml.optuna.best.number"
"""Number of the best trial of a study with one objective. On the span and the last log record of an optimization."""

OPTUNA_BEST_VALUE: Final = "otel_ml.optuna.best.value"
"""Value of that trial. On the span and the last log record of an optimization."""

OPTUNA_TRIAL_ENDED: Final = "otel_ml.optuna.trial.end"
"""`event.name` of the log record of a trial."""

OPTUNA_STUDY_ENDED: Final = "otel_ml.optuna.study.end"
"""`event.name` of the log record of an optimization."""

DVC_EXPERIMENT: Final = "otel_ml.dvc.experiment"
"""Name of the experiment of DVC (`dvc exp run`) that a stage runs in. A label, as above."""

DVC_OUTCOME: Final = "otel_ml.dvc.outcome"
"""What `dvc repro` did with a stage: `ran`, `skipped` or `restored` from its run cache. On its span and log record."""

DVC_COMMAND: Final = "otel_ml.dvc.command"
"""Masked command of a DVC stage. On its span."""

DVC_DEPS: Final = "otel_ml.dvc.deps"
"""Path, hash and size of what a DVC stage depends on, as in `dvc.lock`. On its span as JSON, and on its log record."""

DVC_OUTS: Final = "otel_ml.dvc.outs"
"""Path, hash and size of what a DVC stage made, as in `dvc.lock`. On its span as JSON, and on its log record."""

DVC_STAGE_ENDED: Final = "otel_ml.dvc.stage.end"
"""`event.name` of the log record that says what became of a DVC stage."""

STEP_INPUTS_DESCRIBED: Final = "otel_ml.step.inputs.described"
"""Size, SHA-256, rows, columns and schema of each file that a step reads, as JSON. On its span."""

STEP_OUTPUTS_DESCRIBED: Final = "otel_ml.step.outputs.described"
"""Size, SHA-256, rows, columns and schema of each file that a step wrote, as JSON. On its span."""

STEP_ARGUMENTS: Final = "otel_ml.step.arguments"
"""Masked and bounded arguments of a function that `otel-ml step --call` calls, as JSON. On its span."""

STEP_COMMAND: Final = "otel_ml.step.command"
"""Masked command line of a step that is a command. On its span."""

ARTIFACT_READ: Final = "otel_ml.artifact.read"
"""`event.name` of the log record of a file or folder that a step reads."""

ARTIFACT_WRITTEN: Final = "otel_ml.artifact.write"
"""`event.name` of the log record of a file or folder that a step wrote."""

ARTIFACT: Final = "otel_ml.artifact"
"""Description of that file or folder: path, size, SHA-256, rows, columns, schema. On that log record."""
