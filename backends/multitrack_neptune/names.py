"""Where Neptune's attributes stand in the records. Pure: constants only.

| Neptune | record |
|---|---|
| project | RunStarted.project: `workspace/project` |
| `sys/name`; failing that the run's own id | .name |
| `sys/creation_time` | .time |
| `sys/owner` | .user |
| `sys/hostname`, else `monitoring/<8hex>/hostname` | .host |
| `sys/description` | .notes |
| `sys/tags` | .tags, without a value |
| `sys/group_tags` | .group where there is one; of several each is a tag `sys/group_tags/TAG` |
| `sys/forking/parent`, where that run is at hand | .parent |
| `sys/trashed` | RunUpdated.deleted |
| `sys/failed` | RunFinished.status: `failed`, else `finished` |
| the later of `sys/creation_time` + `sys/running_time` and `sys/ping_time` | RunFinished.time |
| `source_code/commit/commit_id`, `branch`, `remote/*`, `dirty`, `run_command` | CodeVersion |
| `source_code/entrypoint` | CodeVersion.entry_point |
| `source_code/diff`, `source_code/diff/head` | CodeVersion.diff, and an artifact |
| `source_code/upstream_diff_<sha>` | CodeVersion.commit and .diff, where the commit itself is not there; and an artifact |
| `source_code/files` | CodeVersion.modules: artifacts `code/modules/FILE` |
| `source_code/requirements` | Environment.packages and .sources, and an artifact |
| other scalars of `sys/`, `monitoring/`, `runtime/`, `source_code/` | tags, under their own paths, as text |
| other scalars and string sets | Hyperparameters, nested at every `/`; a datetime is an ISO text with its offset |
| artifact | DataVersion, its digest made of `files_list.json`, see `DATA_DIGEST`; and that file as an artifact |
| `monitoring/<8hex>/stdout`, `stderr`, `runtime/stdout`, `stderr` | LogLines; labelled with the 8 digits where several processes wrote |
| float series of `monitoring/`, `runtime/` | Points with source `system`: `system/cpu`; with several processes `system/<8hex>/cpu` |
| other series | Points of the same name; steps that are whole are ints |
| file series | artifacts with a step; of images (`media/images/...`) also Points |
| file | an artifact of the same name, with the exported file's ending |
| file set | an artifact for each file in it: `PATH/FILE` |
| model, model version | a run with job type `model` or `model version`; a version's parent is its model |

Where one path has attributes of two types, the one that is read first keeps the path; the other is called `PATH:TYPE`.

A run that multitrack writes, to a server or into an offline folder:

| record | Neptune |
|---|---|
| Metrics, Points, numbers | a float series of the metric's name; steps as `steps` tells, with `multitrack/steps/METRIC` |
| Metrics, Points, texts | a string series `multitrack/text/METRIC`, the first 1,000 characters of each |
| Hyperparameters | `parameters/` and the keys; what Neptune has no type for as JSON text |
| Summary | `summary/NAME` |
| Artifact | a file `artifacts/NAME` |
| RunStarted, RunUpdated | `sys/name`, `sys/description`, `sys/tags` (`name` or `name=value`), `sys/group_tags`, `sys/hostname` |
| CodeVersion, Environment | `source_code/entrypoint`, `source_code/diff`, `source_code/requirements` |
| LogLines | `monitoring/multitrack/stdout`, `stderr` |
| RunFinished | `sys/failed`; `multitrack/conclusion`: status, time, error, the tags that come last |
| every record, but numbers in series | a file a batch, `multitrack/records/<8 digits>`: the records as the journal has them |
| the run's id, how many batches are there, and each writer's last record | `multitrack/run_id`, `batches`, `writers/<writer>` |
"""

from __future__ import annotations

SERVICE = "neptune"
"""What neutral ids are derived with."""

SYS = "sys/"
SOURCE_CODE = "source_code/"
MONITORING = "monitoring/"
RUNTIME = "runtime/"
"""What `monitoring/` is called by neptune-scale."""
OWN_NAMESPACES = (SYS, SOURCE_CODE, MONITORING, RUNTIME)

SCALARS = frozenset({"float", "int", "string", "bool", "datetime", "string_set"})
SERIES = frozenset({"float_series", "string_series", "histogram_series"})
FILES = frozenset({"file", "file_set", "artifact"})
FILE_SERIES = "file_series"
STREAMS = ("stdout", "stderr")

SYSTEM_METRICS = "system/"
CODE_FILES = "code/modules/"
FILES_LIST = "files_list.json"
UPSTREAM_DIFF = "source_code/upstream_diff_"
TAG_GROUPS = "sys/group_tags/"

DATA_DIGEST = "neptune-files"
"""SHA-256 over the files of an artifact, sorted by path; each as `HASH SIZE PATH` and a zero byte, HASH being what Neptune noted."""

MAPPING = 1
"""Of this table; a part of every run's version, so that runs are read again where the table has changed."""

PARAMETERS = "parameters/"
SUMMARY = "summary/"
ARTIFACTS = "artifacts/"
TEXTS = "multitrack/text/"
OURS = "multitrack/"
RUN_ID = "multitrack/run_id"
BATCHES = "multitrack/batches"
WRITERS = "multitrack/writers/"
RECORDS = "multitrack/records/"
STATE = "multitrack/state"
STEPS = "multitrack/steps/"
CONCLUSION = "multitrack/conclusion"
WRITTEN = (SYS, SOURCE_CODE, MONITORING, PARAMETERS, SUMMARY, ARTIFACTS, OURS)
"""Namespaces in which a run that multitrack writes has its metrics not."""
