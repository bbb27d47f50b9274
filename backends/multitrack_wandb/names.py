"""Where the records stand in Weights & Biases, both ways. Pure: constants only.

| record | in W&B |
|---|---|
| RunStarted.id | the run's id |
| .project | project; what W&B cannot call one, or the location does, stands in `multitrack.project` |
| .name, .notes, .group, .job_type, .host | display name, notes, group, job type, host |
| .user, .reproduces | `multitrack.user`, `multitrack.reproduces` |
| .parent, .origin | `multitrack.parent`, `multitrack.origin`, written centrally |
| .tags | tags `NAME` and `NAME: VALUE` where they have up to 64 characters; all of them, whole, in `multitrack.tags` |
| tags `multitrack.X` | `multitrack.X` |
| CodeVersion .commit .remote | the run's git state |
| CodeVersion .diff | run file `diff.patch` |
| CodeVersion, all | run file `multitrack/code.json` (the record's fields, as the journal has them) |
| DataVersion | `multitrack.data`, for people; whole as run file `multitrack/data/<n>.json`, n = 8 hexadecimal digits |
| Hyperparameters | config; what JSON, or wandb-core, would change stands in `multitrack.exact` besides |
| .sources | `multitrack.sources` |
| Metrics, Points | rows of history; resource usage: system metrics |
| .step | column `multitrack/step`, and `_step` as near to it as the order allows: see `rows` |
| .time | `_timestamp`, seconds |
| Histogram | a histogram |
| ArtifactRef | image, table, HTML page or Plotly chart, in the place where the file is |
| MetricDefinition | metric definitions; as they were given, in `multitrack.definitions` |
| Summary | summary; which values were set, and what JSON would change: summary `multitrack` |
| Environment | metadata, run file `requirements.txt`; whole as run file `multitrack/environment/<host>.json` |
| Artifact with a type, but no media | W&B artifact of that type, with metadata, alias `latest` |
| Artifact | run file of the same name; its details are listed in run file `multitrack/artifacts/<batch>.jsonl` |
| LogLines | console, for people; as they were printed, run files `multitrack/console/<batch>.log` |
| CaptureFailed | `multitrack.capture_failed.WHAT`, its value the error |
| RunFinished | exit code; `multitrack.status`, `.ended`, `.error` |

`multitrack.X` stands for the key X of the mapping `multitrack` in the run's config. What is under it, and the files below
`multitrack/`, are read back only where `multitrack.run_id` is there; where W&B's own tag, config value or summary disagrees with
them, somebody has changed it since, and W&B wins.
"""

from __future__ import annotations

# -- config ----------------------------------------------------------------------------------------------------------

CONFIG = "multitrack"
"""The key of the run's config, and of its summary, that is multitrack's own."""
CONFIG_INTERNAL = "_wandb"
"""The key that is W&B's own."""

PROJECT = "project"
USER = "user"
REPRODUCES = "reproduces"
TAGS = "tags"
"""Name to value; null for a bare tag."""
SOURCES = "sources"
EXACT = "exact"
"""JSON text: a list of [path, value] of params that come back otherwise than they were sent: 1.0 as 1, an empty mapping not at all. In a
summary: of values."""
INTS = "ints"
"""Metrics whose numbers are ints, user's and system's (`system:NAME`), and `multitrack/step`; those of all others are floats. W&B itself
does not tell 1 from 1.0."""
DEFINITIONS = "definitions"
"""JSON text: a list of the fields of MetricDefinitions."""
DATA = "data"
CAPTURE_FAILED = "capture_failed."
STATUS = "status"
STARTED = "started"
"""Microseconds: as is `ended`. W&B keeps milliseconds or seconds of the one, and nothing of the other."""
ENDED = "ended"
ERROR = "error"
AXIS = "axis"
"""true: some rows could not have their own steps as `_step`, and `multitrack/step` is the x-axis of charts."""

# -- summary ---------------------------------------------------------------------------------------------------------

EXPLICIT = "explicit"
"""Names of the summary values that were set; the others are the metrics' last ones."""

# -- history ---------------------------------------------------------------------------------------------------------

STEP = "_step"
TIMESTAMP = "_timestamp"
RUNTIME = "_runtime"
OWN_STEP = "multitrack/step"
"""The step as it was given; an int beyond 2**53 as text. A row without it has none."""
OTHER_TYPE = "_multitrack_other"
"""Names of this row's metrics whose value is not of the type that `ints` tells: an int among floats, or a float among ints."""
RESERVED_METRICS = ("_step", "_timestamp", "_runtime", "_wandb", "_multitrack", "multitrack/")
RESERVED_PARAMS = ("_wandb", "multitrack")

EXACT_INTS = 2**53
"""JavaScript and JSON keep ints up to here; wandb-core makes floats of those beyond 64 bits."""
FARTHEST_STEP = 2**53
"""The largest step that may be a row's `_step`."""

# -- files -----------------------------------------------------------------------------------------------------------

CODE_FILE = "multitrack/code.json"
DATA_FILES = "multitrack/data/"
ENVIRONMENT_FILES = "multitrack/environment/"
CONSOLE_FILES = "multitrack/console/"
ARTIFACT_FILES = "multitrack/artifacts/"
DIFF_FILE = "diff.patch"
REQUIREMENTS_FILE = "requirements.txt"
WANDB_FILES = ("config.yaml", "wandb-metadata.json", "wandb-summary.json", "output.log", DIFF_FILE, REQUIREMENTS_FILE, "logs/")
"""What W&B itself, or this mapping, puts among a run's files."""

# -- limits ----------------------------------------------------------------------------------------------------------

TAG_LENGTH = 64
PROJECT_LENGTH = 128
BAD_IN_PROJECTS = r"/\\#?%:"
ARTIFACT_NAME_LENGTH = 128

# -- states ----------------------------------------------------------------------------------------------------------

EXIT_CODES = {"finished": 0, "failed": 1, "crashed": 1, "killed": 255}
"""wandb's own for a run that was interrupted is 255."""
STATUS_FROM_STATE = {
    "finished": "finished",
    "failed": "failed",
    "crashed": "crashed",
    "killed": "killed",
    "running": "running",
    "pending": "scheduled",
    "preempting": "running",
    "preempted": "killed",
}
