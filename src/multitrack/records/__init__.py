"""The records: everything that multitrack knows about a run is a stream of these."""

from .artifacts import Artifact, Model, ModelScore
from .base import (
    FORMAT_VERSION,
    RUN_ID,
    ArtifactRef,
    Ending,
    Histogram,
    Microseconds,
    Omission,
    ParamValue,
    Record,
    RunStatus,
    Step,
    TaggedValue,
    Value,
    derive_writer_id,
    new_run_id,
    new_writer_id,
    now,
    replaces,
)
from .code_version import CodeVersion, Submodule
from .codec import UnknownRecord, decode, encode, from_wire, json_schema, read_fields, to_wire
from .data_version import DataColumn, DataFile, DataVersion
from .environment import Environment, Gpu, PackageSource
from .hyperparameters import Hyperparameters
from .lifecycle import CaptureFailed, LogLines, Origin, RunFinished, RunStarted, RunUpdated
from .metrics import MetricDefinition, Metrics, MetricSource, Points, Summary
from .requirements import not_rebuildable, requirements

__all__ = [
    "FORMAT_VERSION",
    "RUN_ID",
    "Artifact",
    "ArtifactRef",
    "CaptureFailed",
    "CodeVersion",
    "DataColumn",
    "DataFile",
    "DataVersion",
    "Ending",
    "Environment",
    "Gpu",
    "Histogram",
    "Hyperparameters",
    "LogLines",
    "MetricDefinition",
    "MetricSource",
    "Metrics",
    "Microseconds",
    "Model",
    "ModelScore",
    "Omission",
    "Origin",
    "PackageSource",
    "ParamValue",
    "Points",
    "Record",
    "RunFinished",
    "RunStarted",
    "RunStatus",
    "RunUpdated",
    "Step",
    "Submodule",
    "Summary",
    "TaggedValue",
    "UnknownRecord",
    "Value",
    "decode",
    "derive_writer_id",
    "encode",
    "from_wire",
    "json_schema",
    "new_run_id",
    "new_writer_id",
    "not_rebuildable",
    "now",
    "read_fields",
    "replaces",
    "requirements",
    "to_wire",
]
