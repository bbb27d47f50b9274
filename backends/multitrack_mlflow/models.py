"""The logged models of one run. What they may raise is what MLflow's client raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multitrack.errors import PermanentError
from multitrack.records import Model

from . import names
from .encode import Call, model_name, score_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODELS_PER_PAGE = 50
_FINAL = frozenset({"READY", "FAILED"})


class LoggedModels:
    """The logged models of one run: found by their `multitrack.model_id` tag, else made."""

    def __init__(self, client: MlflowClient, experiment: str, run: str) -> None:
        self._client = client
        self._experiment = experiment
        self._run = run
        self._known: dict[str, Any] | None = None
        self._paths: dict[str, str] = {}

    def assume_none(self) -> None:
        """Spare the search: the run was created just now."""
        self._known = {}

    def write(self, model: Model) -> list[Call]:
        """Bring the model there with its params, tags and its place in the run; return the scores, to be written with the run's metrics.

        Raises:
            PermanentError: an input model that nobody brought here.
        """
        found = self._find(model)
        if found is None:
            if model.role == "input":
                raise PermanentError(
                    f"the model {model.name!r} ({model.id}) that the run used is not there; deliver the run that made it first"
                )
            found = self._create(model)
        elif model.role != "input":
            self._complete(found, model)
        self._paths[model.path] = found.model_id
        self._link(found.model_id, model)
        scores = score_metrics(model, found.model_id, self._run)
        return [(scores[start : start + 1000], (), ()) for start in range(0, len(scores), 1000)]

    def finalize(self, model: Model) -> None:
        """Give the model its status; one without a status is ready, one that was pending stays so."""
        status = (model.status or "READY").upper()
        if model.role != "input" and status in _FINAL:
            self._client.finalize_logged_model(self._paths[model.path], status)

    def owner(self, artifact: str) -> tuple[str, str] | None:
        """Return (model id, name within the model) of an artifact that is a model's; None for one of the run's."""
        if self._known is None:
            self._load()
        folder = next((path for path in self._paths if artifact.startswith(f"{path}/")), None)
        return None if folder is None else (self._paths[folder], artifact[len(folder) + 1 :])

    # -- finding ----------------------------------------------------------------------------------------------------------

    def _load(self) -> dict[str, Any]:
        """Learn the models that this run made at an earlier time."""
        if self._known is None:
            self._known = {}
            for found in self._search(f"source_run_id = '{self._run}'"):
                self._known[found.tags.get(names.TAG_MODEL_ID, found.model_id)] = found
                if names.TAG_MODEL_PATH in found.tags:
                    self._paths[found.tags[names.TAG_MODEL_PATH]] = found.model_id
        return self._known

    def _find(self, model: Model) -> Any:
        found = self._load().get(model.id)
        if found is not None or model.role != "input":
            return found
        quoted = model.id.replace("'", "")
        return next(iter(self._search(f"tags.`{names.TAG_MODEL_ID}` = '{quoted}'")), None) or self._own(model.id)

    def _own(self, model_id: str) -> Any:
        """Return the model that has this id here, as one does where the run comes from this very server."""
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_logged_model(model_id)
        except MlflowException:
            return None

    def _search(self, condition: str) -> list[Any]:
        from mlflow.exceptions import MlflowException

        found: list[Any] = []
        token: str | None = None
        try:
            while True:
                page = self._client.search_logged_models(
                    [self._experiment], filter_string=condition, max_results=MODELS_PER_PAGE, page_token=token
                )
                found += page
                token = page.token
                if not token:
                    return found
        except MlflowException as error:
            if error.error_code in {"ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED", "FEATURE_DISABLED"}:
                return []  # a server from before logged models
            raise

    # -- making -----------------------------------------------------------------------------------------------------------

    def _create(self, model: Model) -> Any:
        name = model_name(model)
        tags = {**model.tags, names.TAG_MODEL_ID: model.id, names.TAG_MODEL_PATH: model.path}
        if name != model.name:
            tags[names.TAG_MODEL_NAME] = model.name
        made = self._client.create_logged_model(
            self._experiment, name=name, source_run_id=self._run, tags=tags, params=dict(model.params) or None, model_type=model.type
        )
        self._load()[model.id] = made
        return made

    def _complete(self, found: Any, model: Model) -> None:
        """Bring a model that is there up to a later record: tags change, params are only added."""
        tags = {name: value for name, value in model.tags.items() if found.tags.get(name) != value}
        if tags:
            self._client.set_logged_model_tags(found.model_id, tags)
        params = {name: value for name, value in model.params.items() if name not in found.params}
        if params:
            self._client.log_model_params(found.model_id, params)

    def _link(self, model_id: str, model: Model) -> None:
        """Show the model on the run's page. An output that is linked twice is an error at MLflow."""
        from mlflow.entities import LoggedModelInput, LoggedModelOutput
        from mlflow.exceptions import MlflowException

        if model.role == "input":
            self._client.log_inputs(self._run, models=[LoggedModelInput(model_id)])
            return
        if model.role == "unlisted" or self._is_linked(model_id):
            return
        try:
            self._client.log_outputs(self._run, [LoggedModelOutput(model_id, step=model.step or 0)])
        except MlflowException:
            if not self._is_linked(model_id):  # it is when the client asked again after an answer that was lost
                raise

    def _is_linked(self, model_id: str) -> bool:
        outputs = self._client.get_run(self._run).outputs
        return outputs is not None and any(link.model_id == model_id for link in outputs.model_outputs)
