"""Where the records stand in Weights & Biases, both ways. Pure: constants only.

| record | in W&B |
|---|---|
| RunStarted.id | the run's id |
| .project | project; what W&B cannot call one, or the location does, stands in `multitrack.project` |
| .name, .notes, .group, .job_type, .host | display name, notes, group, job type, host; what was sent of them in `multitrack.called` |
| .user, .host, .reproduces | `multitrack.user`, `multitrack.host`, `multitrack.reproduces` |
| .parent, .origin | `multitrack.parent`, `multitrack.origin`, written centrally |
| .tags | tags `NAME` and `NAME: VALUE` where they have up to 64 characters; all of them, whole, in `multitrack.tags` |
| tags `multitrack.X` | `multitrack.X` |
| CodeVersion | the run's git state, run file `diff.patch`; whole in a description |
| DataVersion | `multitrack.data`, for people; whole in a description |
| Hyperparameters | config; what JSON, or wandb-core, would change stands in `multitrack.exact` besides |
| .sources | `multitrack.sources` |
| Metrics, Points | rows of history; resource usage: system metrics, `system/cpu` as `cpu` |
| .step | column `multitrack/step`, and `_step` as near to it as the order allows: see `rows` |
| .time | `_timestamp`, seconds |
| Histogram | a histogram |
| ArtifactRef | image, table, HTML page or Plotly chart, in the place where the file is |
| MetricDefinition | metric definitions; as they were given, in `multitrack.definitions` |
| Summary | summary; which values were set, and what JSON would change: key `multitrack` of the summary |
| Environment | metadata, run file `requirements.txt`; whole in a description |
| Artifact | run file of the same name; whole in a description |
| Artifact with a type, or a reference | besides, in a W&B artifact of that type, with metadata, alias `latest` |
| LogLines | console, for people; as they were printed, in a description |
| CaptureFailed | `multitrack.capture_failed`, by what it was |
| RunFinished | exit code; `multitrack.status`, `.ended`, `.error` |

`multitrack.X` stands for the key X of the mapping `multitrack` in the run's config. A description is a run file
`multitrack/described/<batch>.jsonl`: records of that batch, as the journal has them. Both are read back only where
`multitrack.run_id` is there; where W&B's own tag, name, config value or summary disagrees with them, somebody has changed it since,
and W&B wins.
"""

from __future__ import annotations

# -- config ----------------------------------------------------------------------------------------------------------

CONFIG = "multitrack"
"""The key of the run's config, and of its summary, that is multitrack's own."""
CONFIG_INTERNAL = "_wandb"
"""The key that is W&B's own."""

PROJECT = "project"
CALLED = "called"
"""What name, notes, group and job type were when they were sent: where W&B's differ, somebody has changed them there. One that was
emptied, which W&B does not take, is a list of what had stood there."""
USER = "user"
HOST = "host"
"""W&B takes it, and its API does not give it back."""
REPRODUCES = "reproduces"
TAGS = "tags"
"""Name to value; null for a bare tag."""
TAGS_LEFT = "tags_left"
"""Tags that were taken away last, and that W&B goes on to show: it takes no empty list of tags."""
SOURCES = "sources"
"""JSON text, as `exact`: where params come from."""
EXACT = "exact"
"""JSON text: a list of [path, value] of params that come back otherwise than they were sent: 1.0 as 1, an empty mapping not at all. In a
summary: of values."""
INTS = "ints"
"""Metrics whose numbers are ints, user's by their names, system's by `system:NAME`; the numbers of all others are floats. W&B itself does
not tell 1 from 1.0."""
DEFINITIONS = "definitions"
"""JSON text: a list of the fields of MetricDefinitions."""
DATA = "data"
CAPTURE_FAILED = "capture_failed"
STATUS = "status"
STARTED = "started"
"""Microseconds: as is `ended`. W&B keeps milliseconds or seconds of the one, and nothing of the other."""
ENDED = "ended"
ERROR = "error"
DELETED = "deleted"
"""true: the run is among the deleted ones where it comes from; W&B keeps none."""
AXIS = "axis"
"""true: some rows could not have their own steps as `_step`, and `multitrack/step` is the x-axis of charts."""

OWN_KEYS = frozenset(
    (
        PROJECT, CALLED, USER, HOST, REPRODUCES, TAGS, TAGS_LEFT, SOURCES, EXACT, INTS, DEFINITIONS, DATA,
        CAPTURE_FAILED, STATUS, STARTED, ENDED, ERROR, DELETED, AXIS, "position",
    )
)  # fmt: skip
"""Keys of `multitrack` that are no tags of multitrack's own; neither is what is no text."""

# -- summary ---------------------------------------------------------------------------------------------------------

EXPLICIT = "explicit"
"""Names of the summary values that were set; the others are the metrics' last ones."""

SUMMARY_OWN = (CONFIG, CONFIG_INTERNAL, "_step", "_timestamp", "_runtime")
"""Keys of a summary that are no metrics."""

# -- history ---------------------------------------------------------------------------------------------------------

STEP = "_step"
TIMESTAMP = "_timestamp"
RUNTIME = "_runtime"
OWN_STEP = "multitrack/step"
"""The step as it was given; an int beyond 2**53 as text. A row without it has no step."""
OTHER_TYPE = "_multitrack_other"
"""Names of this row's metrics whose value is not of the type that `ints` tells: an int among floats, a float among ints; `multitrack/step`
where it is a whole number and a float."""
RESERVED_METRICS = ("_step", "_timestamp", "_runtime", "_wandb", "_multitrack", "multitrack/")
RESERVED_PARAMS = ("_wandb", "multitrack")

EXACT_INTS = 2**53
"""JavaScript and JSON keep ints up to here; wandb-core makes floats of those beyond 64 bits."""
FARTHEST_STEP = 2**53
"""The largest step that may be a row's `_step`."""

# -- files -----------------------------------------------------------------------------------------------------------

DESCRIBED_FILES = "multitrack/described/"
DIFF_FILE = "diff.patch"
REQUIREMENTS_FILE = "requirements.txt"
WANDB_FILES = ("config.yaml", "wandb-metadata.json", "wandb-summary.json", "output.log", DIFF_FILE, REQUIREMENTS_FILE, "logs/")
"""What W&B itself, or this mapping, puts among a run's files."""

# -- limits ----------------------------------------------------------------------------------------------------------

NO_PROJECT = "uncategorized"
"""W&B's own word for a run without a project."""
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
UNENDED = {"running", "pending", "preempting", "crashed"}
"""States of a run whose `exit` has not arrived: W&B calls it crashed once it has not heard of it for minutes."""


def has_ended(state: str | None, status: object) -> bool:
    """Return whether a run's `exit` is there, if it was to have one.

    wandb-core sends the last of a config before the `exit`, so what breaks off between the two leaves all our words, the completion
    marker among them, on a run that has not ended.

    Args:
        state: W&B's word; None where nobody else has one.
        status: ours, from the config.
    """
    return not (isinstance(status, str) and status in EXIT_CODES and state in UNENDED)
