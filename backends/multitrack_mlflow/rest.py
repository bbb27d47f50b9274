"""The reader through MLflow's own client: servers, the file store, every plugin's scheme, and databases that SQL cannot read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitrack.backend import TAG_RUN_ID, RunFilter
from multitrack.errors import TransientError

from . import names
from .client import store_of, translated
from .native import CHUNK, Column, DatasetInput, Experiment, LatestMetric, ModelLink, NativeModel, NativeRun, Score

if TYPE_CHECKING:
    from mlflow import MlflowClient

HISTORY_PAGE = 25_000
"""Points a request. MLflow's client asks for as many."""
RUN_PAGE = 1_000
"""Runs a request. MLflow: at most 50,000; a run brings its params, tags and last metrics along."""

_PLAIN = re.compile(r"[\w.:/+-][\w.:/+ -]*")
"""Text that MLflow's filter language takes between quotes as it is."""
_HISTORY_ROUTE = "/api/2.0/mlflow/metrics/get-history"
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND", "NOT_FOUND", "INVALID_PARAMETER_VALUE", "FEATURE_DISABLED", "NOT_IMPLEMENTED"}

Point = tuple[int, int, float]
"""Time in milliseconds, step, value."""


class ClientReader:
    """Reads a store through its client. `run_page` and `history_page` are the sizes of a request's answer."""

    def __init__(self, client: MlflowClient, *, run_page: int = RUN_PAGE, history_page: int = HISTORY_PAGE) -> None:
        self._client = client
        self._run_page = run_page
        self._history_page = history_page
        self._experiments: dict[str, Experiment] = {}

    def close(self) -> None:
        """Nothing is kept open."""

    def experiments(self, *, deleted: bool) -> list[Experiment]:
        """Return the experiments by name; the deleted ones too where asked for."""
        with translated("reading the experiments"):
            from mlflow.entities import ViewType

            view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
            found: list[Experiment] = []
            token: str | None = None
            while True:
                page = self._client.search_experiments(view_type=view, max_results=1000, page_token=token)
                found += [_make_experiment(e) for e in page]
                token = page.token
                if not token:
                    break
        self._experiments.update((e.id, e) for e in found)
        return sorted(found, key=lambda e: e.name)

    def holds_runs(self, experiment: Experiment) -> bool:
        """Return whether the experiment has a run that is not deleted."""
        with translated("reading the runs"):
            return bool(self._client.search_runs([experiment.id], max_results=1))

    def runs(self, experiment: Experiment, wanted: RunFilter) -> Iterator[NativeRun]:
        """Yield the experiment's runs, oldest first: at least those that match."""
        return self._search([experiment], _push_down(wanted), deleted=wanted.deleted)

    def _search(self, experiments: Sequence[Experiment], text: str, *, deleted: bool) -> Iterator[NativeRun]:
        from mlflow.entities import ViewType

        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        known = {experiment.id: experiment for experiment in experiments}
        token: str | None = None
        while True:
            with translated("listing the runs"):
                page = self._client.search_runs(
                    list(known),
                    filter_string=text,
                    run_view_type=view,
                    max_results=self._run_page,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                found = [_make_run(run, known[run.info.experiment_id]) for run in page]
            yield from found
            token = page.token
            if not token:
                return

    def find(self, ids: Sequence[str]) -> list[NativeRun]:
        """Return the runs that have one of these ids as their own or in their `multitrack.run_id` tag."""
        experiments = self.experiments(deleted=True)
        found: dict[str, NativeRun] = {}
        for id_ in ids:
            own = self.run(id_)
            if own is not None:
                found[own.id] = own
            if _PLAIN.fullmatch(id_):
                found |= {run.id: run for run in self._search(experiments, f"tags.`{TAG_RUN_ID}` = '{id_}'", deleted=True)}
        return list(found.values())

    def run(self, native_id: str) -> NativeRun | None:
        """Return a run with its `inputs`; None when there is none of this id."""
        with translated("reading the run"):
            from mlflow.exceptions import MlflowException

            try:
                run = self._client.get_run(native_id)
            except MlflowException as error:
                if error.error_code in _ABSENT:
                    return None
                raise
            return _make_run(run, self._experiment(run.info.experiment_id), whole=True)

    def _experiment(self, id_: str) -> Experiment:
        if id_ not in self._experiments:
            self._experiments[id_] = _make_experiment(self._client.get_experiment(id_))
        return self._experiments[id_]

    def columns(self, run: NativeRun) -> Iterator[Column]:
        """Yield every point of every metric, page by page.

        Raises:
            TransientError: the answer lacks the metric's last point, so it cannot be whole.
        """
        for key, last in sorted(run.latest.items()):
            column, is_whole = Column(key), False
            for time, step, value in _in_order(self._pages(run, key)):
                column.times.append(time)
                column.steps.append(step)
                column.values.append(value)
                is_whole = is_whole or time == last.time
                if len(column.times) == CHUNK:
                    yield column
                    column = Column(key)
            if not is_whole:
                raise TransientError(f"MLflow's history of metric {key!r} in run {run.id} lacks its last point")
            if column.times:
                yield column

    def _pages(self, run: NativeRun, key: str) -> Iterator[list[Point]]:
        """Yield a metric's points as the store's pages bring them."""
        from mlflow.store.tracking.file_store import FileStore
        from mlflow.store.tracking.rest_store import RestStore

        store = store_of(self._client)
        if isinstance(store, FileStore):
            with translated(f"reading metric {key!r}"):
                folder = store._get_run_dir(run.experiment.id, run.id)
                points = _read_file(Path(folder, FileStore.METRICS_FOLDER_NAME, key))
            yield points
            return
        one_page = _ask_server if type(store) is RestStore else _ask_store
        token: str | None = None
        while True:
            with translated(f"reading metric {key!r}"):
                points, token = one_page(store, run.id, key, self._history_page, token)
            yield points
            if not token:
                return

    def models(self, run: NativeRun) -> list[tuple[ModelLink, NativeModel]]:
        """Return the logged models that the run produced or used, each once, by id."""
        with translated("reading logged models"):
            models = {model.model_id: model for model in self._models_made_by(run)}
            links = {id_: ModelLink(id_, output=True) for id_ in models}
            links |= {link.model_id: link for link in (*(run.inputs or ()), *run.outputs)}
            for id_ in links.keys() - models.keys():
                model = self._model(id_)
                if model is not None:
                    models[id_] = model
            return [(links[id_], _make_model(model)) for id_, model in sorted(models.items())]

    def _models_made_by(self, run: NativeRun) -> Iterator[Any]:
        from mlflow.exceptions import MlflowException

        token: str | None = None
        try:
            while True:
                page = self._client.search_logged_models(
                    [run.experiment.id], filter_string=f"source_run_id = '{run.id}'", max_results=50, page_token=token
                )
                yield from page
                token = page.token
                if not token:
                    return
        except MlflowException as error:
            if not _is_absent(error):
                raise

    def _model(self, model_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_logged_model(model_id)
        except MlflowException as error:
            if _is_absent(error):
                return None
            raise


def _is_absent(error: Any) -> bool:
    """Return whether the store says that there is no such thing, or that it does not know the question: MLflow before 3.0."""
    return error.error_code in _ABSENT or "failed with error code 404 " in str(error)


# -- one page of points -----------------------------------------------------------------------------------------------


def _ask_server(store: Any, run_id: str, key: str, size: int, token: str | None) -> tuple[list[Point], str | None]:
    """Ask a server's documented route: the client's own way by way of protobuf takes half as long again."""
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    asked = {"run_id": run_id, "metric_key": key, "max_results": size, **({"page_token": token} if token else {})}
    answer = verify_rest_response(http_request(store.get_host_creds(), _HISTORY_ROUTE, "GET", params=asked), _HISTORY_ROUTE).json()
    points = [(int(m.get("timestamp", 0)), int(m.get("step", 0)), float(m.get("value", 0))) for m in answer.get("metrics", ())]
    return points, answer.get("next_page_token")


def _ask_store(store: Any, run_id: str, key: str, size: int, token: str | None) -> tuple[list[Point], str | None]:
    """Ask any store. One that does not page returns all there is."""
    page = store.get_metric_history(run_id, key, max_results=size, page_token=token)
    return [(m.timestamp, m.step, float(m.value)) for m in page], getattr(page, "token", None)


def _read_file(file: Path) -> list[Point]:
    """Read a file of a file store: a line a point, with time, value, step (not in the oldest), data set.

    MLflow 3.17 itself loses the step of a point that names a data set when it reads such a file.
    """
    with file.open(encoding="utf-8") as lines:
        parts = [line.split(" ", 3) for line in lines if line.strip()]
    return [(int(time), int(rest[0]) if rest else 0, float(value)) for time, value, *rest in parts]


def _in_order(pages: Iterator[list[Point]]) -> Iterator[Point]:
    """Yield points by time, step, NaN last, value.

    Pages of a database come by time, step and value, where a NaN counts as 0; all other stores give points as they were logged,
    and that order stays where there are several pages.
    """
    first = next(pages, [])
    second = next(pages, None)
    if second is None:
        yield from sorted(first, key=_rank)
        return

    def all_points() -> Iterator[Point]:
        yield from first
        yield from second
        for page in pages:
            yield from page

    for _, same in groupby(all_points(), key=lambda point: point[:2]):
        yield from sorted(same, key=_rank)


def _rank(point: Point) -> tuple[int, int, bool, float]:
    time, step, value = point
    is_nan = math.isnan(value)
    return time, step, is_nan, 0.0 if is_nan else value


# -- filters and forms ------------------------------------------------------------------------------------------------


def _push_down(wanted: RunFilter) -> str:
    """Return the filter in MLflow's language, as far as it can say it: it knows AND alone, and no test that a tag is there."""
    conditions = [f"attributes.start_time >= {-(-wanted.since // 1000)}"] if wanted.since is not None else []
    if wanted.until is not None:
        conditions.append(f"attributes.start_time < {-(-wanted.until // 1000)}")
    if wanted.statuses is not None and len(wanted.statuses) == 1 and wanted.statuses[0] in names.STATUS_TO_MLFLOW:
        conditions.append(f"attributes.status = '{names.STATUS_TO_MLFLOW[wanted.statuses[0]]}'")
    conditions += [
        f"tags.`{key}` = '{value}'"
        for key, value in wanted.tags.items()
        if value is not None and _PLAIN.fullmatch(key) and _PLAIN.fullmatch(value)
    ]
    return " AND ".join(conditions)


def _make_experiment(found: Any) -> Experiment:
    return Experiment(str(found.experiment_id), found.name, found.lifecycle_stage == "deleted")


def _make_run(run: Any, experiment: Experiment, *, whole: bool = False) -> NativeRun:
    info, data = run.info, run.data
    datasets = [_make_dataset(used) for used in (run.inputs.dataset_inputs if run.inputs else ())]
    outputs = run.outputs.model_outputs if run.outputs else ()
    inputs = run.inputs.model_inputs if run.inputs else ()
    return NativeRun(
        id=info.run_id,
        experiment=experiment,
        name=info.run_name or data.tags.get(names.TAG_RUN_NAME),
        user=info.user_id or None,
        status=info.status,
        start=info.start_time,
        end=info.end_time or None,
        deleted=info.lifecycle_stage == "deleted" or experiment.deleted,
        artifact_uri=info.artifact_uri or "",
        tags=data.tags,
        params=data.params,
        latest={m.key: LatestMetric(m.key, m.value, m.timestamp, m.step) for m in data._metric_objs},
        datasets=sorted(datasets, key=lambda d: (d.name, d.digest)),
        outputs=tuple(ModelLink(made.model_id, output=True, step=made.step) for made in outputs),
        inputs=tuple(ModelLink(used.model_id, output=False) for used in inputs) if whole else None,
    )


def _make_dataset(used: Any) -> DatasetInput:
    d = used.dataset
    tags = {tag.key: tag.value for tag in sorted(used.tags, key=lambda tag: (tag.key, tag.value))}
    return DatasetInput(d.name, d.digest, d.source_type, d.source, d.schema, d.profile, tags)


def _make_model(model: Any) -> NativeModel:
    return NativeModel(
        id=model.model_id,
        name=model.name,
        artifact_uri=model.artifact_location,
        created=model.creation_timestamp,
        status=str(model.status),
        status_message=model.status_message,
        type=model.model_type,
        source_run=model.source_run_id,
        tags=model.tags or {},
        params=model.params or {},
        scores=[
            Score(m.key, math.nan if m.value is None else m.value, m.timestamp, m.step, m.run_id, m.dataset_name, m.dataset_digest)
            for m in model.metrics or ()
        ],
    )
