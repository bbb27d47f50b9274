"""The reader by SQL: what the client tells, from MLflow's own tables, some fifty times faster.

Each query is short and its rows are taken at once: a SELECT that stays open would keep a server from writing to its sqlite file.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from multitrack.backend import TAG_RUN_ID, RunFilter

from . import names
from .client import translated
from .database import REVISIONS, Connection, Database, Row, UnreadableBySQL
from .native import Column, DatasetInput, Experiment, LatestMetric, ModelLink, NativeModel, NativeRun, Score
from .series import Series, append_rows

BLOCK = 1 << 20
"""Points that one query brings at most: 26 MB. The next query passes over them again."""
_FETCH = 500
"""Rows that are in memory as Python objects at a time: fewer than make Python's garbage collector look for garbage among them."""
RUN_LOOKUP = 500
"""Runs that are looked up together: as many placeholders as any sqlite takes."""

_MODELS_SINCE = REVISIONS.index("6953534de441")
_WORKSPACES_SINCE = REVISIONS.index("1b5f0d9ad7c1")
_MODEL_STATUSES = {0: "UNSPECIFIED", 1: "PENDING", 2: "READY", 3: "FAILED"}

_RUN_COLUMNS = "r.run_uuid, r.experiment_id, r.name, r.user_id, r.status, r.start_time, r.end_time, r.lifecycle_stage, r.artifact_uri"
_HISTORY = """
    SELECT m.key, m.timestamp, m.step, m.is_nan, m.value FROM metrics m WHERE m.run_uuid = ?{after}
    ORDER BY {key}, m.timestamp, m.step, m.is_nan, m.value LIMIT ?"""
_TAGGED = " AND r.run_uuid IN (SELECT t.run_uuid FROM tags t WHERE t.key = ?)"
_TAGGED_AS = " AND r.run_uuid IN (SELECT t.run_uuid FROM tags t WHERE t.key = ? AND t.value = ?)"
_AFTER = " AND ({key}, m.timestamp, m.step, m.is_nan, m.value) > (?, ?, ?, ?, ?)"
_DATASETS = """
    SELECT i.destination_id, d.dataset_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source, d.dataset_schema,
           d.dataset_profile, t.name, t.value
    FROM inputs i JOIN datasets d ON i.source_id = d.dataset_uuid LEFT JOIN input_tags t ON t.input_uuid = i.input_uuid
    WHERE i.destination_type = 'RUN' AND i.destination_id IN ({ids}) ORDER BY i.destination_id, d.dataset_uuid, t.name, t.value"""
_LINKS = """
    SELECT i.source_id, i.destination_id, i.destination_type, i.step FROM inputs i
    WHERE i.source_type IN ('RUN_OUTPUT', 'RUN_INPUT') AND i.source_id IN ({ids})"""
_MODELS = """
    SELECT m.model_id, m.name, m.artifact_location, m.creation_timestamp_ms, m.status, m.status_message,
           m.model_type, m.source_run_id
    FROM logged_models m WHERE m.model_id IN ({ids}) AND m.lifecycle_stage = 'active'"""
_SCORES = """
    SELECT s.model_id, s.metric_name, s.metric_value, s.metric_timestamp_ms, s.metric_step, s.run_id, s.dataset_name, s.dataset_digest
    FROM logged_model_metrics s WHERE s.model_id IN ({ids})"""


class SQLReader:
    """Reads a store by SQL. `page` is the number of runs that are looked up together."""

    def __init__(self, database: Database, *, page: int = RUN_LOOKUP, block: int = BLOCK) -> None:
        self._database = database
        self._page = page
        self._block = block
        self._has_models = database.revision >= _MODELS_SINCE
        if database.revision >= _WORKSPACES_SINCE:
            self._refuse_workspaces()

    def _refuse_workspaces(self) -> None:
        with translated("reading the experiments"), self._database.connect() as connection:
            others = connection.rows("SELECT 1 FROM experiments e WHERE e.workspace <> 'default' LIMIT 1")
        if others:
            raise UnreadableBySQL("it has experiments in several workspaces")

    def close(self) -> None:
        """Nothing is kept open."""

    def experiments(self, *, deleted: bool) -> list[Experiment]:
        """Return the experiments by name; the deleted ones too where asked for."""
        with translated("reading the experiments"), self._database.connect() as connection:
            rows = connection.rows("SELECT e.experiment_id, e.name, e.lifecycle_stage FROM experiments e")
        found = (Experiment(str(id_), name, stage == "deleted") for id_, name, stage in rows)
        return sorted((e for e in found if deleted or not e.deleted), key=lambda e: e.name)

    def holds_runs(self, experiment: Experiment) -> bool:
        """Return whether the experiment has a run that is not deleted."""
        query = "SELECT 1 FROM runs r WHERE r.experiment_id = ? AND r.lifecycle_stage = 'active' LIMIT 1"
        with translated("reading the runs"), self._database.connect() as connection:
            return bool(connection.rows(query, [int(experiment.id)]))

    def runs(self, experiment: Experiment, wanted: RunFilter) -> Iterator[NativeRun]:
        """Yield the experiment's runs, oldest first: at least those that match."""
        conditions, values = _push_down(wanted)
        query = f"SELECT r.run_uuid FROM runs r WHERE r.experiment_id = ?{conditions} ORDER BY COALESCE(r.start_time, 0), r.run_uuid"  # noqa: S608
        with translated("listing the runs"), self._database.connect() as connection:
            ids = [row[0] for row in connection.rows(query, [int(experiment.id), *values])]
        for start in range(0, len(ids), self._page):
            with translated("listing the runs"), self._database.connect() as connection:
                found = self._load(connection, ids[start : start + self._page])
            yield from found

    def find(self, ids: Sequence[str]) -> list[NativeRun]:
        """Return the runs that have one of these ids as their own or in their `multitrack.run_id` tag."""
        query = """
            SELECT r.run_uuid FROM runs r WHERE r.run_uuid IN ({ids})
            UNION SELECT t.run_uuid FROM tags t WHERE t.key = ? AND t.value IN ({ids})"""
        found: list[NativeRun] = []
        with translated("looking up runs"), self._database.connect() as connection:
            for start in range(0, len(ids), self._page):
                some = list(ids[start : start + self._page])
                rows = connection.rows(_with_ids(query, some), [*some, TAG_RUN_ID, *some])
                found += self._load(connection, [row[0] for row in rows])
        return found

    def run(self, native_id: str) -> NativeRun | None:
        """Return a run with its `inputs`; None when there is none of this id."""
        with translated("reading the run"), self._database.connect() as connection:
            return next(iter(self._load(connection, [native_id])), None)

    def _load(self, connection: Connection, ids: Sequence[str]) -> list[NativeRun]:
        """Return whole runs, in the order of `ids`."""
        if not ids:
            return []
        rows = connection.rows(
            _with_ids(
                f"SELECT {_RUN_COLUMNS}, e.name, e.lifecycle_stage FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "  # noqa: S608
                "WHERE r.run_uuid IN ({ids})",
                ids,
            ),
            ids,
        )
        tags = _by_run(connection.rows(_with_ids("SELECT t.run_uuid, t.key, t.value FROM tags t WHERE t.run_uuid IN ({ids})", ids), ids))
        params = _by_run(
            connection.rows(_with_ids("SELECT p.run_uuid, p.key, p.value FROM params p WHERE p.run_uuid IN ({ids})", ids), ids)
        )
        latest = self._latest(connection, ids)
        datasets = _group_datasets(connection.rows(_with_ids(_DATASETS, ids), ids))
        links = self._links(connection, ids)
        runs = {row[0]: _make_run(row, tags[row[0]], params[row[0]], latest[row[0]], datasets[row[0]], links[row[0]]) for row in rows}
        return [runs[id_] for id_ in ids if id_ in runs]

    def _latest(self, connection: Connection, ids: Sequence[str]) -> Mapping[str, dict[str, LatestMetric]]:
        query = "SELECT m.run_uuid, m.key, m.value, m.is_nan, m.timestamp, m.step FROM latest_metrics m WHERE m.run_uuid IN ({ids})"
        found: defaultdict[str, dict[str, LatestMetric]] = defaultdict(dict)
        for run_id, key, value, is_nan, time, step in connection.rows(_with_ids(query, ids), ids):
            found[run_id][key] = LatestMetric(key, math.nan if is_nan else value, time, step)
        return found

    def _links(self, connection: Connection, ids: Sequence[str]) -> Mapping[str, list[ModelLink]]:
        found: defaultdict[str, list[ModelLink]] = defaultdict(list)
        if not self._has_models:
            return found
        for run_id, model_id, kind, step in connection.rows(_with_ids(_LINKS, ids), ids):
            is_output = kind == "MODEL_OUTPUT"
            found[run_id].append(ModelLink(model_id, is_output, step if is_output else None))
        return found

    def columns(self, run: NativeRun) -> Iterator[Column]:
        """Yield every point of every metric. A query for all of a run's metrics is as quick as one for each, with or without an index."""
        with translated("reading metrics"), self._database.connect() as connection:
            first = _HISTORY.format(key=connection.key_order, after="")
            later = _HISTORY.format(key=connection.key_order, after=_AFTER.format(key=connection.key_order))
            last: Row = ()
            series: list[Series] = []
            while True:
                count = 0
                for rows in connection.batches(later if last else first, [run.id, *last, self._block], _FETCH):
                    append_rows(series, rows)
                    count, last = count + len(rows), rows[-1]
                is_last = count < self._block
                for part in series:
                    if part.key in run.latest:
                        yield from part.columns(whole=is_last or part is not series[-1])
                if is_last:
                    return
                del series[:-1]

    def models(self, run: NativeRun) -> list[tuple[ModelLink, NativeModel]]:
        """Return the logged models that the run produced or used, each once, by id."""
        if not self._has_models:
            return []
        with translated("reading logged models"), self._database.connect() as connection:
            made = connection.rows("SELECT m.model_id FROM logged_models m WHERE m.source_run_id = ?", [run.id])
            links = {row[0]: ModelLink(row[0], output=True) for row in made}
            links |= {link.model_id: link for link in (*(run.inputs or ()), *run.outputs)}
            ids = sorted(links)
            if not ids:
                return []
            models = {row[0]: row for row in connection.rows(_with_ids(_MODELS, ids), ids)}
            tags = _by_run(connection.rows(_model_pairs("tag", ids), ids))
            params = _by_run(connection.rows(_model_pairs("param", ids), ids))
            scores = defaultdict(list)
            for row in connection.rows(_with_ids(_SCORES, ids), ids):
                scores[row[0]].append(_make_score(row))
        return [(links[id_], _make_model(models[id_], tags[id_], params[id_], scores[id_])) for id_ in ids if id_ in models]


def _push_down(wanted: RunFilter) -> tuple[str, list[object]]:
    """Return the filter's conditions on the table `runs r`, as far as the tables alone decide them."""
    conditions, values = "", list[object]()
    if not wanted.deleted:
        conditions += " AND r.lifecycle_stage = 'active'"
    if wanted.statuses is not None:
        statuses = [names.STATUS_TO_MLFLOW[status] for status in wanted.statuses if status in names.STATUS_TO_MLFLOW]
        conditions += f" AND r.status IN ({_marks(statuses)})" if statuses else " AND 1 = 0"
        values += statuses
    for bound, operator in ((wanted.since, ">="), (wanted.until, "<")):
        if bound is not None:
            conditions += f" AND r.start_time {operator} ?"
            values.append(-(-bound // 1000))
    for key, value in wanted.tags.items():
        conditions += _TAGGED_AS if value else _TAGGED
        values += [key, value] if value else [key]
    return conditions, values


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _with_ids(query: str, ids: Sequence[str]) -> str:
    return query.replace("{ids}", _marks(ids))


def _model_pairs(what: str, ids: Sequence[str]) -> str:
    return _with_ids(f"SELECT p.model_id, p.{what}_key, p.{what}_value FROM logged_model_{what}s p WHERE p.model_id IN ({{ids}})", ids)  # noqa: S608


def _by_run(rows: Sequence[Row]) -> Mapping[str, dict[str, str]]:
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for owner, key, value in rows:
        found[owner][key] = value if value is not None else ""
    return found


def _group_datasets(rows: Sequence[Row]) -> Mapping[str, list[DatasetInput]]:
    """Return each run's data sets by name and digest; a row holds one tag of one input."""
    tags: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        first.setdefault(row[:2], row)
        if row[8] is not None:
            tags[row[:2]][row[8]] = row[9]
    found: defaultdict[str, list[DatasetInput]] = defaultdict(list)
    for key, row in first.items():
        found[row[0]].append(_make_dataset(row, tags[key]))
    for inputs in found.values():
        inputs.sort(key=lambda d: (d.name, d.digest))
    return found


def _make_dataset(row: Row, tags: Mapping[str, str]) -> DatasetInput:
    _, _, name, digest, source_type, source, schema, profile, _, _ = row
    return DatasetInput(name, digest, source_type, source, schema, profile, tags)


def _make_run(  # noqa: PLR0917 - one row of each table
    row: Row,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    latest: Mapping[str, LatestMetric],
    datasets: Sequence[DatasetInput],
    links: Sequence[ModelLink],
) -> NativeRun:
    id_, experiment_id, name, user, status, start, end, stage, artifact_uri, project, project_stage = row
    return NativeRun(
        id=id_,
        experiment=Experiment(str(experiment_id), project, project_stage == "deleted"),
        name=name or tags.get(names.TAG_RUN_NAME),
        user=user or None,
        status=status,
        start=start,
        end=end or None,
        deleted=stage == "deleted" or project_stage == "deleted",
        artifact_uri=artifact_uri or "",
        tags=tags,
        params=params,
        latest=latest,
        datasets=datasets,
        outputs=tuple(link for link in links if link.output),
        inputs=tuple(link for link in links if not link.output),
    )


def _make_model(row: Row, tags: Mapping[str, str], params: Mapping[str, str], scores: Sequence[Score]) -> NativeModel:
    id_, name, artifact_uri, created, status, status_message, type_, source_run = row
    return NativeModel(
        id=id_,
        name=name,
        artifact_uri=artifact_uri,
        created=created,
        status=_MODEL_STATUSES.get(status, str(status)),
        status_message=status_message,
        type=type_,
        source_run=source_run,
        tags=tags,
        params=params,
        scores=scores,
    )


def _make_score(row: Row) -> Score:
    _, name, value, time, step, run_id, dataset_name, dataset_digest = row
    return Score(name, math.nan if value is None else value, time, step, run_id, dataset_name, dataset_digest)
