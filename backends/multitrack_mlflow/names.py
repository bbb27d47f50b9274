"""Where the records stand in MLflow, both ways. Pure: constants only.

| record | in MLflow |
|---|---|
| RunStarted.project | experiment |
| .name | run name (`info.run_name`, tag `mlflow.runName`) |
| .user | `info.user_id` and tag `mlflow.user` |
| .notes | tag `mlflow.note.content` |
| .parent | tag `mlflow.parentRunId` (the parent's id here, or its neutral id), and `multitrack.parent` (its neutral id) |
| .group, .job_type, .host, .reproduces | tags `multitrack.group`, `multitrack.job_type`, `multitrack.host`, `multitrack.reproduces` |
| .origin | tag `multitrack.origin`, written centrally |
| .tags | tags, as they are, `mlflow.*` ones without a row in this table included |
| CodeVersion .commit .branch .remote .entry_point | tags `mlflow.source.git.commit`, `.branch`, `.repoURL`, `mlflow.source.name` |
| CodeVersion, all | artifact `multitrack/code.json` (the record's fields, as the journal has them) |
| CodeVersion .diff | for people, artifact `multitrack/diff.patch` as well |
| DataVersion | a dataset input; its role is the input tag `mlflow.data.context` |
| DataVersion, all | artifact `multitrack/data/<n>.json`, n = first 8 hexadecimal digits of SHA-256 of name, role and digest |
| Hyperparameters | params |
| Metrics, Points | metrics, with step and time in milliseconds; resource usage has names that start with `system/` |
| Summary | metrics `_summary/NAME` at step 0 for numbers, tags `multitrack.summary.NAME` for text |
| Environment | artifact `multitrack/environment/<host>.json`, and `multitrack/requirements.txt` |
| Artifact | artifact of the same name |
| Artifact `media/images/...`, PNG or WebP | artifact `images/...` and a small version, see `display`; tag `mlflow.loggedImages` |
| Artifact `media/tables/...` | artifact of the same name, listed in the tag `mlflow.loggedArtifacts` |
| Model | a logged model; its own tag `multitrack.model_id` holds the record's id; its files are the logged model's artifacts |
| LogLines | artifacts `multitrack/console/<batch, 8 digits>.log`, a line each: ISO time, stream (`stderr[rank 3]`: with its label), text |
| CaptureFailed | tag `multitrack.capture_failed.WHAT`, its value the error |
| RunFinished | status, end time; .error as tag `multitrack.error` |
| RunUpdated.deleted | the run's lifecycle stage |

The artifacts under `multitrack/` are read back only where the run carries the tag `multitrack.run_id`; where a tag or dataset input
disagrees with them, somebody has changed it since, and the tag or input wins.
"""

from __future__ import annotations

TAG_RUN_NAME = "mlflow.runName"
TAG_USER = "mlflow.user"
TAG_NOTE = "mlflow.note.content"
TAG_PARENT_RUN = "mlflow.parentRunId"
TAG_SOURCE_NAME = "mlflow.source.name"
TAG_SOURCE_TYPE = "mlflow.source.type"
TAG_GIT_COMMIT = "mlflow.source.git.commit"
TAG_GIT_BRANCH = "mlflow.source.git.branch"
TAG_GIT_REMOTE = "mlflow.source.git.repoURL"
TAG_DATA_CONTEXT = "mlflow.data.context"
TAG_LOGGED_IMAGES = "mlflow.loggedImages"
TAG_LOGGED_ARTIFACTS = "mlflow.loggedArtifacts"

TAG_GROUP = "multitrack.group"
TAG_JOB_TYPE = "multitrack.job_type"
TAG_HOST = "multitrack.host"
TAG_REPRODUCES = "multitrack.reproduces"
TAG_ERROR = "multitrack.error"
TAG_CAPTURE_FAILED = "multitrack.capture_failed."
TAG_SUMMARY = "multitrack.summary."
TAG_OUR_IMAGES = "multitrack.logged_images"
"""The run has `mlflow.loggedImages` because of our images, not because somebody has set it."""
TAG_CHOSEN = "multitrack.chosen"
"""Of several runs made for one, the one that is it: see `runs.settle_run`."""
TAG_MODEL_ID = "multitrack.model_id"
TAG_MODEL_PATH = "multitrack.model_path"
"""The record's `path`: a sink that opens the run again tells by it which artifacts are the model's."""
TAG_MODEL_NAME = "multitrack.model_name"
"""The model's name, where MLflow cannot hold it."""

SYSTEM_METRICS = "system/"
SUMMARY_METRICS = "_summary/"

CODE_FILE = "multitrack/code.json"
DIFF_FILE = "multitrack/diff.patch"
DATA_FILES = "multitrack/data/"
ENVIRONMENT_FILES = "multitrack/environment/"
REQUIREMENTS_FILE = "multitrack/requirements.txt"
CONSOLE_FILES = "multitrack/console/"

STATUS_TO_MLFLOW = {
    "scheduled": "SCHEDULED",
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
}
STATUS_FROM_MLFLOW = {there: here for here, there in STATUS_TO_MLFLOW.items()}
