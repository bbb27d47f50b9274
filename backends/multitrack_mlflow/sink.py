"""The sink: one run at MLflow.

Everything is written by synchronous calls, so what has returned is acknowledged. To a server, `write` leaves the last calls that bring
points under way, so that batches follow one another without a pause; `flush`, and whatever must come after them, waits.

Writing twice counts once by what MLflow keys on: points by (metric, time, step, value), params and tags by name, files by path, data sets
by (name, digest), models by a tag of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from multitrack.backend import TAG_COMPLETE, Batch, Conclusion, Position, Rejection, Sink
from multitrack.errors import PermanentError
from multitrack.records import Artifact, RunStarted

from . import display, names
from .batches import is_of_points, log_batch
from .client import connect, store_of, translated
from .encode import Call, Content, Line, calls, console_file, encode_entries, error_tag, start_tags, why_not_a_file_name
from .location import folder_of
from .models import LoggedModels
from .parallel import Requests
from .runs import adopt_children, create_run, ensure_experiment, find_parent, settle_run
from .settings import MLflowSettings
from .uploads import Uploads

REQUESTS = 2
"""Requests at a time to a server, where a batch needs more than one."""


class MLflowSink(Sink):
    """One run at one MLflow store."""

    def __init__(self, location: str, settings: MLflowSettings) -> None:
        self._location = location
        self._settings = settings
        self._is_web = location.startswith(("http://", "https://"))
        self._uploads = Uploads()
        self._requests = Requests(REQUESTS, parallel=self._is_web)
        self._console: tuple[int, dict[Line, str]] = (0, {})

    # -- the contract -----------------------------------------------------------------------------------------------------

    def open(self, run: RunStarted) -> Position:
        """Find the run by its neutral id in the project's experiment, or create it.

        Raises:
            PermanentError: the experiment is deleted, or the location is a folder.
        """
        if folder_of(self._location) is not None:
            raise PermanentError(
                f"{self._location} is a folder of runs (MLflow's file store), which multitrack reads only: MLflow has closed it, "
                "and counts a point that is sent again twice; write to sqlite:///FILE, and move old runs with `mlflow migrate-filestore`"
            )
        self._client = connect(self._location, self._settings)
        with translated(f"opening the run in experiment {run.project!r}"):
            return self._open(run)

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Write a batch. When this returns, some of its points may be under way: a failure of theirs comes with the next call."""
        content = encode_entries(batch.entries)
        if content.start is not None and not self._is_new:
            # The run was here before, from an earlier version of itself, perhaps: what it is called may have changed since.
            content.tags = {**start_tags(content.start), **content.tags}
            content.run_name = content.run_name or content.start.name
        self._show(content)
        self._make_active()
        self._take_marker_away()
        self._update_run(content)
        scores = self._write_models(content)
        self._log([*calls(content.metrics, content.params, content.tags), *scores], leave_points=True)
        self._remove_tags(name for name, value in content.tags.items() if value is None)
        self._log_data(content)
        rejections = self._upload_all(content, batch)
        with translated("finishing the models"):
            for _, model in content.models:
                self._models.finalize(model)
        return rejections

    def flush(self) -> Position:
        """Wait for the points that are under way. MLflow keeps no count."""
        self._requests.wait()
        return Position(batches=None)

    def finish(self, conclusion: Conclusion) -> None:
        """Upload the files, set status and end time, find a parent that was not there yet, and set the tags last of all."""
        self._requests.wait()
        self._make_active()
        self._requests.each(lambda item: self._upload(*item), conclusion.files.items())
        with translated("ending the run"):
            self._link_parent()
            self._end(conclusion)
        tags: dict[str, str | None] = {**conclusion.tags}
        if conclusion.error is not None:
            self._log(calls((), {}, {names.TAG_ERROR: error_tag(conclusion.error)}))
        self._log(calls((), {}, tags))
        self._is_marked = TAG_COMPLETE in tags
        if conclusion.deleted:
            with translated("deleting the run"):
                self._client.delete_run(self._run_id)
            self._is_deleted = True

    def url(self) -> str | None:
        """Return the run's page on the server."""
        return f"{self._location}/#/experiments/{self._experiment}/runs/{self._run_id}" if self._is_web else None

    def close(self) -> None:
        """Remove what lies on the disk, and end the threads."""
        self._uploads.close()
        self._requests.close()

    # -- the run ------------------------------------------------------------------------------------------------------------

    def _open(self, run: RunStarted) -> Position:
        self._run = run
        self._experiment = ensure_experiment(self._client, run.project)
        found = settle_run(self._client, self._experiment, run.id)
        self._has_parent = run.parent is None or (found is not None and found.data.tags.get(names.TAG_PARENT_RUN) not in (None, run.parent))
        self._is_new = found is None
        if found is not None:
            self._take(found)
            return Position(batches=None, marker=found.data.tags.get(TAG_COMPLETE))
        parent = find_parent(self._client, self._experiment, run.parent) if run.parent is not None else None
        self._has_parent = run.parent is None or parent is not None
        created = create_run(self._client, self._experiment, run, parent)
        # A managed service's search may not show a run at once.
        chosen = settle_run(self._client, self._experiment, run.id, made=True) or created
        self._take(chosen)
        if chosen.info.run_id == created.info.run_id:
            self._models.assume_none()
        adopt_children(self._client, self._experiment, run, self._run_id)
        return Position(batches=0)

    def _take(self, run: Any) -> None:
        self._run_id = str(run.info.run_id)
        self._is_deleted = run.info.lifecycle_stage != "active"
        self._is_marked = TAG_COMPLETE in run.data.tags
        self._shown = {name: value for name, value in run.data.tags.items() if name.startswith("mlflow.logged")}
        self._models = LoggedModels(self._client, self._experiment, self._run_id)

    def _make_active(self) -> None:
        """Take the run out of the deleted ones, which MLflow does not write to. `finish` puts it back if it belongs there."""
        if self._is_deleted:
            with translated("restoring the run"):
                self._client.restore_run(self._run_id)
            self._is_deleted = False

    def _take_marker_away(self) -> None:
        """A run that goes on after it was concluded is not whole any more."""
        if self._is_marked:
            self._remove_tags([TAG_COMPLETE])
            self._is_marked = False

    def _link_parent(self) -> None:
        if not self._has_parent and self._run.parent is not None:
            parent = find_parent(self._client, self._experiment, self._run.parent)
            # A run may name a parent that is nowhere to be found: then it does so here too, until the parent comes.
            self._client.set_tag(self._run_id, names.TAG_PARENT_RUN, parent or self._run.parent)
            self._has_parent = parent is not None

    def _update_run(self, content: Content) -> None:
        if content.run_name is not None or content.status is not None:
            with translated("updating the run"):
                store_of(self._client).update_run_info(self._run_id, _status(content.status), None, content.run_name)

    def _end(self, conclusion: Conclusion) -> None:
        """Set status and end. Not through the client, which prints to stdout and takes no end, or one at the epoch, for now."""
        status = names.STATUS_TO_MLFLOW.get(conclusion.status, "FAILED")
        ended = conclusion.status not in {"running", "scheduled"}
        end = max(conclusion.time // 1000, 0) if ended and conclusion.time is not None else None
        store_of(self._client).update_run_info(self._run_id, _status(status), end, None)

    # -- what the run holds ---------------------------------------------------------------------------------------------------

    def _log(self, all_calls: Iterable[Call], *, leave_points: bool = False) -> None:
        store, run_id = store_of(self._client), self._run_id

        def log(call: Call) -> None:
            with translated("logging a batch"):
                log_batch(store, run_id, call)

        now: list[Call] = []
        later: list[Call] = []
        for call in all_calls:
            (later if leave_points and is_of_points(call) else now).append(call)
        self._requests.each(log, now)
        if len(later) > 1:  # one call is a batch of a run that goes on; nothing waits behind it
            self._requests.begin(log, later)
        else:
            self._requests.each(log, later)

    def _show(self, content: Content) -> None:
        """Have the tags by which MLflow's pages find images and tables among the batch's tags."""
        changed = {name: value for name, value in content.tags.items() if value is not None}
        content.tags |= display.tags_for(content.artifacts, {**self._shown, **changed})
        shown = (names.TAG_LOGGED_IMAGES, names.TAG_LOGGED_ARTIFACTS)
        self._shown |= {name: value for name in shown if (value := content.tags.get(name)) is not None}

    def _remove_tags(self, removed: Iterable[str]) -> None:
        from mlflow.exceptions import MlflowException

        for name in removed:
            with translated(f"removing the tag {name!r}"):
                try:
                    self._client.delete_tag(self._run_id, name)
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                        raise

    def _log_data(self, content: Content) -> None:
        if content.datasets:
            with translated("logging data sets"):
                self._client.log_inputs(self._run_id, datasets=content.datasets)

    def _write_models(self, content: Content) -> list[Call]:
        scores: list[Call] = []
        for _, model in content.models:
            with translated(f"logging the model {model.name!r}"):
                scores += self._models.write(model)
        return scores

    # -- files ----------------------------------------------------------------------------------------------------------------

    def _upload_all(self, content: Content, batch: Batch) -> list[Rejection]:
        files: list[tuple[str, Path | bytes]] = [*content.documents.items()]
        rejections = []
        for name, (entry, artifact) in content.artifacts.items():
            reason = why_not_a_file_name(name)
            if reason is not None:
                rejections.append(Rejection(entry.writer, entry.seq, reason))
            elif artifact.sha256 is not None:
                files += _placed(name, artifact, batch.files(artifact))
        if content.console:
            files.append((console_file(batch.number), self._console_of(batch.number, content.console)))
        self._requests.each(lambda item: self._upload(*item), files)
        return rejections

    def _console_of(self, number: int, lines: dict[Line, str]) -> bytes:
        """Return the console file of a batch: with what earlier parts of it brought, when it is written in parts."""
        known = self._console[1] if self._console[0] == number else {}
        self._console = (number, {**known, **lines})
        return "".join(self._console[1].values()).encode("utf-8", "surrogatepass")

    def _upload(self, name: str, content: Path | bytes) -> None:
        with translated(f"uploading {name!r}"):
            owner = self._models.owner(name)
            target = name if owner is None else owner[1]
            with self._uploads.named(target, content) as (local, folder):
                if owner is None:
                    self._client.log_artifact(self._run_id, local, folder)
                else:
                    self._client.log_model_artifact(owner[0], local, folder)


def _placed(name: str, artifact: Artifact, file: Path) -> list[tuple[str, Path | bytes]]:
    """Return where the artifact's content goes: for an image to where the pages look for it, with a small version beside it."""
    path = display.image_path(name, artifact.time)
    return [(name, file)] if path is None else [(path, file), (display.thumbnail_path(path), display.thumbnail(file))]


def _status(status: str | None) -> Any:
    from mlflow.entities import RunStatus

    return None if status is None else RunStatus.from_string(status)
