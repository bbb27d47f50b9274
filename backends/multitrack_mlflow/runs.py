"""Finding and making runs at MLflow by their neutral id. Everything here may raise what MLflow's client raises."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from multitrack.backend import TAG_PARENT, TAG_RUN_ID
from multitrack.errors import PermanentError
from multitrack.records import RunStarted

from . import names
from .client import store_of
from .encode import run_name, run_user, start_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

MARK_PATIENCE = 1.0
"""Seconds between finding itself alone and having said so, at most."""
EXPERIMENTS_PER_SEARCH = 200
"""How many experiments one search goes through."""


def ensure_experiment(client: MlflowClient, project: str) -> str:
    """Return the id of the project's experiment, which is made where there is none.

    Raises:
        PermanentError: the experiment is among the deleted ones, which keep their names.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(project)
    if found is None:
        try:
            return str(client.create_experiment(project))
        except MlflowException as error:
            found = client.get_experiment_by_name(project) if error.error_code == "RESOURCE_ALREADY_EXISTS" else None
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise PermanentError(
            f"the experiment {project!r} is deleted in MLflow, and its name is still taken; restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or remove it for good with `mlflow gc`"
        )
    return str(found.experiment_id)


def find_run(client: MlflowClient, experiments: Sequence[str], run_id: str) -> Any:
    """Return the run (`mlflow.entities.Run`, deleted or not) that carries the neutral id, None when these experiments have none."""
    return next(_search(client, experiments, f"tags.`{TAG_RUN_ID}` = '{run_id}'", max_results=1), None)


def settle_run(client: MlflowClient, experiment: str, run_id: str, *, made: bool = False) -> Any:
    """Return the one run that carries the neutral id, None when there is none; `made`: one was created just now.

    MLflow chooses the ids, so nothing keeps two runs from being made for one: MLflow's client asks again when the answer to `create_run`
    is lost, and ranks with separate disks have couriers that may come at the same moment. Whoever finds itself alone marks its run as the
    chosen one; whoever does not, waits for such a mark, and without one takes the run with the smallest id, as everybody does. The others,
    empty as they are, are deleted.
    """
    found = _runs_of(client, experiment, run_id)
    if len(found) > 1 and not any(names.TAG_CHOSEN in run.data.tags for run in found):
        time.sleep(MARK_PATIENCE)
        found = _runs_of(client, experiment, run_id)
    if not found:
        return None
    chosen = min(found, key=lambda run: (names.TAG_CHOSEN not in run.data.tags, str(run.info.run_id)))
    if (made or len(found) > 1) and names.TAG_CHOSEN not in chosen.data.tags:
        _mark(client, chosen.info.run_id)
    for run in found:
        if run is not chosen and run.info.lifecycle_stage == "active" and not (run.data.metrics or run.data.params):
            _discard(client, run)
    return chosen


def _mark(client: MlflowClient, native_id: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.set_tag(native_id, names.TAG_CHOSEN, "true")
    except MlflowException:  # SQL databases refuse a tag that somebody else sets at the same moment
        if names.TAG_CHOSEN not in client.get_run(native_id).data.tags:
            raise


def _runs_of(client: MlflowClient, experiment: str, run_id: str) -> list[Any]:
    return list(_search(client, [experiment], f"tags.`{TAG_RUN_ID}` = '{run_id}'", max_results=100))


def _discard(client: MlflowClient, run: Any) -> None:
    """Delete a run that was made in vain. It loses its id first: deleted runs are found as well."""
    from mlflow.exceptions import MlflowException

    try:
        client.delete_tag(run.info.run_id, TAG_RUN_ID)
        client.delete_run(run.info.run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE"):  # somebody was quicker
            raise


def find_parent(client: MlflowClient, experiment: str, parent: str) -> str | None:
    """Return the MLflow id of the run with the neutral id `parent`: from the same experiment, else from any."""
    found = find_run(client, [experiment], parent)
    if found is None:
        others = [id_ for id_ in _all_experiments(client) if id_ != experiment]
        searches = (others[start : start + EXPERIMENTS_PER_SEARCH] for start in range(0, len(others), EXPERIMENTS_PER_SEARCH))
        found = next((run for some in searches if (run := find_run(client, some, parent))), None)
    return None if found is None else str(found.info.run_id)


def adopt_children(client: MlflowClient, experiment: str, parent: RunStarted, native_id: str) -> None:
    """Tell the experiment's runs that came before their parent where it is."""
    for child in _search(client, [experiment], f"tags.`{TAG_PARENT}` = '{parent.id}'", max_results=1000):
        if child.data.tags.get(names.TAG_PARENT_RUN) in (None, parent.id) and child.info.lifecycle_stage == "active":
            client.set_tag(child.info.run_id, names.TAG_PARENT_RUN, native_id)


def create_run(client: MlflowClient, experiment: str, run: RunStarted, parent: str | None) -> Any:
    """Create a run (`mlflow.entities.Run`), tags and all, in one request: a crash leaves all of it or nothing.

    `settle_run` tells whether it stays. Not through the client, which takes a start at the epoch for none.
    """
    from mlflow.entities import RunTag

    tags = start_tags(run)
    if parent is not None:
        tags[names.TAG_PARENT_RUN] = parent
    return store_of(client).create_run(
        experiment_id=experiment,
        user_id=run_user(run),
        start_time=max(run.time // 1000, 0),
        tags=[RunTag(name, value) for name, value in tags.items()],
        run_name=run_name(run),
    )


def _search(client: MlflowClient, experiments: Sequence[str], condition: str, max_results: int) -> Iterator[Any]:
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page = client.search_runs(
            list(experiments), filter_string=condition, run_view_type=ViewType.ALL, max_results=max_results, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _all_experiments(client: MlflowClient) -> Iterator[str]:
    from mlflow.entities import ViewType

    token: str | None = None
    while True:
        page = client.search_experiments(view_type=ViewType.ALL, max_results=1000, page_token=token)
        yield from (str(experiment.experiment_id) for experiment in page)
        token = page.token
        if not token:
            return
