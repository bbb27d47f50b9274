"""Where the records stand in Comet, both ways. Pure: constants only.

| record | in Comet |
|---|---|
| RunStarted.id | experiment key, and other `multitrack.run_id` |
| .project | project |
| .name | other `Name` |
| .tags | one without a value: a tag; one with a value: an other of its name |
| .group, .job_type, .user, .host, .parent, .reproduces, .origin | others `multitrack.group`, `multitrack.job_type`, ... |
| .notes | asset `multitrack/notes.md` |
| CodeVersion .commit .branch .remote .root | git metadata (`parent`, `branch`, `origin`, `root`); .entry_point the file name |
| CodeVersion .diff | git patch |
| CodeVersion, all | asset `multitrack/code.json` (the record's fields, as the journal has them) |
| DataVersion | asset `multitrack/data/<n>.json`, n = first 8 hexadecimal digits of SHA-256 of name, role and digest |
| Hyperparameters | parameters, levels joined by a bar: `model/depth` is `model|depth` |
| Metrics, Points | metrics, with step, epoch and milliseconds; resource usage has names that start with `sys.` |
| a metric `epoch`, whole numbers | besides, the epoch of the points at the same step and time |
| Summary | others `multitrack.summary.NAME` |
| MetricDefinition | asset `multitrack/definitions/<n>.json`, n by its name |
| Environment | installed packages and system details; all of it as asset `multitrack/environment/<host>.json` |
| Artifact | asset of the same name, with type, step and metadata; what these cannot say in its metadata's `multitrack.artifact` |
| Artifact `media/images/...` | an image, under the metric's name and step |
| Artifact, reference | remote asset |
| Model | asset `multitrack/models/<n>.json`, n by its id |
| LogLines | output; with their times in assets `multitrack/console/<batch, 8 digits>.log`, a line each: ISO time, stream, text |
| CaptureFailed | other `multitrack.capture_failed.WHAT`, its value the error |
| RunFinished | state and end time; status and error besides as others `multitrack.status` and `multitrack.error` |
| an error too long for an other | its end there, all of it as asset `multitrack/texts/<n>.txt`, n by the other's name |

An other cannot be taken away there, nor a tag in an archive: an other with the value `multitrack.removed` counts as none, one with
`multitrack.bare` as a tag without a value. What starts with `multitrack` is read back only where the run has the other
`multitrack.run_id`; where git metadata or the file name disagree with the document, somebody has changed them since, and they win.
"""

from __future__ import annotations

OTHER_NAME = "Name"
"""Comet's pages take the run's name from it."""
OTHER_STATUS = "multitrack.status"
OTHER_ERROR = "multitrack.error"
OTHER_GROUP = "multitrack.group"
OTHER_JOB_TYPE = "multitrack.job_type"
OTHER_USER = "multitrack.user"
OTHER_HOST = "multitrack.host"
OTHER_REPRODUCES = "multitrack.reproduces"
OTHER_SUMMARY = "multitrack.summary."
OTHER_CAPTURE_FAILED = "multitrack.capture_failed."
OTHER_DELETED = "multitrack.deleted"
"""In archives alone: the run is among the deleted ones."""
OTHER_BATCHES = "multitrack.batches"
"""In archives alone: how many batches stand before this line."""

REMOVED = "multitrack.removed"
BARE = "multitrack.bare"

SYSTEM_METRICS = "sys."
"""Comet: so do the names of what its own SDK measures of the machine begin."""
PARAM_SEPARATOR = "|"
EPOCH = "epoch"

DETAILS = "multitrack.artifact"
"""The key, in an asset's metadata, of what an artifact has and an asset has not."""
CODE_FILE = "multitrack/code.json"
NOTES_FILE = "multitrack/notes.md"
DATA_FILES = "multitrack/data/"
DEFINITION_FILES = "multitrack/definitions/"
ENVIRONMENT_FILES = "multitrack/environment/"
MODEL_FILES = "multitrack/models/"
TEXT_FILES = "multitrack/texts/"
CONSOLE_FILES = "multitrack/console/"

HTML_FILE = "comet/html.html"
GRAPH_FILE = "comet/graph.json"
OS_PACKAGES_FILE = "comet/os_packages.txt"
"""Artifacts that stand for what Comet keeps beside the assets of somebody else's run."""

ASSET = "asset"
IMAGE = "visualization"
"""Comet's asset type of images."""
GIT_PATCH = "git-patch"
PATCH_MEMBER = "git_diff.patch"
"""The file in the zip that Comet keeps a patch in."""

MAX_NAME = 100
MAX_VALUE = 1000
"""Comet's SDK cuts names at 100 characters and values of params and others at 1000, with a warning in the log alone."""
KEPT_POINTS = 15_000
"""Comet keeps this many points of a metric; of more, a sample."""
