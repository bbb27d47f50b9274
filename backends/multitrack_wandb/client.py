"""Connections to W&B: whom to ask, with which login, and what a run's state there is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from multitrack.errors import AuthError, PermanentError

from .core import Upload, core, core_folder
from .location import place_of
from .names import STEP
from .settings import WandbSettings

if TYPE_CHECKING:
    from wandb import Settings
    from wandb.proto.wandb_api_pb2 import ApiRequest, ApiResponse

_OWN_VARIABLES = (
    "WANDB_BASE_URL", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_CREDENTIALS_FILE", "WANDB_APP_URL", "WANDB_HTTP_TIMEOUT",
    "WANDB_FILE_PUSHER_TIMEOUT", "WANDB_INSECURE_DISABLE_SSL", "WANDB__EXTRA_HTTP_HEADERS", "WANDB__PROXIES",
    "WANDB__FILE_STREAM_MAX_BYTES", "WANDB__FILE_STREAM_MAX_LINE_BYTES",
)  # fmt: skip
"""The variables of W&B's that say how to reach it. The others (WANDB_MODE, WANDB_RUN_ID, WANDB_TAGS, ...) are about the run of a program
that trains, and must not get into the runs that are delivered."""
_RETRIES = 1
"""How often wandb-core tries again. Its own patience is days; the waiting is done by delivery."""
_SHORTEST_WAIT, _LONGEST_WAIT = 1, 10
"""Seconds until it does, growing from the one to the other; what a Retry-After header says, if the service sends one."""

_VIEWER = "query Viewer { viewer { username entity } }"
_RUN = """query MultitrackRun($entity: String, $project: String!, $run: String!) {
    project(name: $project, entityName: $entity) {
        run(name: $run) {
            id state displayName config summaryMetrics tags notes historyLineCount eventsLineCount logLineCount historyTail
        }
    }
}"""
_CREATE = """mutation MultitrackCreate($entity: String, $project: String!, $run: String!) {
    upsertBucket(input: {entityName: $entity, modelName: $project, name: $run}) { bucket { id } inserted }
}"""
_FILES = """query MultitrackFiles($entity: String, $project: String!, $run: String!, $names: [String]) {
    project(name: $project, entityName: $entity) {
        run(name: $run) { files(names: $names, first: 1000) { edges { node { name sizeBytes md5 } } } }
    }
}"""
_OUTPUTS = """query MultitrackOutputs($entity: String, $project: String!, $run: String!, $after: String) {
    project(name: $project, entityName: $entity) {
        run(name: $run) {
            outputArtifacts(first: 100, after: $after) {
                edges { node { digest state artifactSequence { name } } }
                pageInfo { hasNextPage endCursor }
            }
        }
    }
}"""

_COLLECTION = """query MultitrackCollection($entity: String, $project: String!, $name: String!) {
    project(name: $project, entityName: $entity) { artifactCollection(name: $name) { id defaultArtifactType { name } } }
}"""


@dataclass(frozen=True)
class RunThere:
    """A run as the service holds it."""

    id: str
    """The service's own id, not the one that people see."""
    state: str
    config: Mapping[str, Any]
    """Key to value, W&B's own key `_wandb` included."""
    summary: Mapping[str, Any]
    history: int
    """Rows."""
    events: int
    """Rows of system metrics."""
    console: int
    """Lines."""
    last_step: int
    """`_step` of the last row; -1 before the first."""
    name: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)


class Client:
    """One server, as one login sees it."""

    def __init__(self, location: str | None, settings: WandbSettings, *, retries: int = _RETRIES) -> None:
        """Nobody is asked yet. `retries`: how often wandb-core tries again before it tells of a failure.

        Raises:
            AuthError: there is no login for the server.
        """
        self.place = place_of(location)
        self._entity = self.place.entity or settings.entity or os.environ.get("WANDB_ENTITY") or None
        self._timeout = (settings.timeout + _LONGEST_WAIT) * (retries + 1)
        self._settings = _make_settings(settings, retries)

    @property
    def url(self) -> str:
        """Of the server."""
        return str(self._settings.base_url).rstrip("/")

    def ask(self, query: str, **variables: Any) -> Any:
        """Return the data of a GraphQL answer.

        Raises:
            BackendError: see `Core.ask`.
        """
        return core().ask(self._settings, query, variables, self._timeout)

    def request(self, request: ApiRequest) -> ApiResponse:
        """Return wandb-core's answer to what is no single GraphQL question. wandb-core knows when it has waited long enough.

        Raises:
            BackendError: see `Core.request`.
        """
        return core().request(self._settings, request, None)

    @cached_property
    def viewer(self) -> Mapping[str, str]:
        """Who we are: `username`, `entity`.

        Raises:
            AuthError: the service knows nobody with this key.
        """
        viewer = self.ask(_VIEWER)["viewer"]
        if viewer is None:
            raise AuthError(f"{self.url} does not know this API key. Set WANDB_API_KEY, or run `wandb login --relogin`")
        return dict(viewer)

    @cached_property
    def entity(self) -> str:
        """The entity that the location or the settings name, else the login's own.

        Raises:
            BackendError: see `ask`.
        """
        return self._entity or self.viewer["entity"]

    def run_url(self, project: str, run_id: str) -> str:
        """Return the page where people see a run."""
        return f"{str(self._settings.app_url).rstrip('/')}/{quote(self.entity)}/{quote(project)}/runs/{quote(run_id)}"

    def find_run(self, project: str, run_id: str) -> RunThere | None:
        """Return a run, None if the service has none of this id.

        Raises:
            BackendError: see `ask`.
        """
        found = (self.ask(_RUN, entity=self.entity, project=project, run=run_id)["project"] or {}).get("run")
        if found is None:
            return None
        return RunThere(
            id=found["id"],
            state=found["state"],
            config={key: item.get("value") for key, item in json.loads(found["config"] or "{}").items() if isinstance(item, dict)},
            summary=json.loads(found["summaryMetrics"] or "{}"),
            history=found["historyLineCount"] or 0,
            events=found["eventsLineCount"] or 0,
            console=found["logLineCount"] or 0,
            last_step=_last_step(found["historyTail"]),
            name=found["displayName"],
            notes=found["notes"],
            tags=list(found["tags"] or ()),
        )

    def create_run(self, project: str, run_id: str) -> None:
        """Create a run that the service does not have, and the project too if need be.

        Raises:
            BackendError: see `ask`. A run that was deleted there does not come back.
        """
        self.ask(_CREATE, entity=self.entity, project=project, run=run_id)

    def file_sizes(self, project: str, run_id: str, names: list[str]) -> Mapping[str, int]:
        """Return the sizes, in bytes, of those of a run's files that the service has."""
        sizes: dict[str, int] = {}
        for start in range(0, len(names), 1000):
            some = names[start : start + 1000]
            answer = self.ask(_FILES, entity=self.entity, project=project, run=run_id, names=some)
            edges = answer["project"]["run"]["files"]["edges"]
            sizes |= {edge["node"]["name"]: int(edge["node"]["sizeBytes"] or 0) for edge in edges}
        return sizes

    def output_digests(self, project: str, run_id: str) -> set[tuple[str, str]]:
        """Return (name, digest) of the artifact versions that a run has put out and that are whole."""
        found: set[tuple[str, str]] = set()
        after = None
        while True:
            answer = self.ask(_OUTPUTS, entity=self.entity, project=project, run=run_id, after=after)
            page = answer["project"]["run"]["outputArtifacts"]
            nodes = [edge["node"] for edge in page["edges"]]
            found |= {(node["artifactSequence"]["name"], node["digest"]) for node in nodes if node["state"] == "COMMITTED"}
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]

    def type_of_artifact(self, project: str, name: str) -> str | None:
        """Return the type that artifacts of a name have in a project; None for a name that is free."""
        found = self.ask(_COLLECTION, entity=self.entity, project=project, name=name)["project"]
        collection = None if found is None else found["artifactCollection"]
        return None if collection is None else str(collection["defaultArtifactType"]["name"])

    def upload(self, log: Path) -> Upload:
        """Begin to bring a transaction log to the service; see `Core.upload`."""
        return core().upload(self._settings, log)


def _last_step(tail: str | None) -> int:
    """Return the last row's `_step`: the service tells a run's last rows, each as JSON text."""
    rows = json.loads(tail or "[]")
    return int(json.loads(rows[-1]).get(STEP, -1)) if rows else -1


def check(location: str | None, settings: WandbSettings) -> str:
    """Ask who we are; return a line such as `W&B at https://api.wandb.ai, as alice`.

    Raises:
        AuthError: there is no login, or it is refused.
        TransientError: nobody answers.
        PermanentError: there is no such entity.
    """
    client = Client(location, settings)
    line = f"W&B at {client.url}, as {client.viewer['username']}"
    if client.entity != client.viewer["entity"]:
        found = client.ask("query MultitrackEntity($name: String) { entity(name: $name) { name } }", name=client.entity)["entity"]
        if found is None:
            raise PermanentError(f"W&B at {client.url} knows no entity {client.entity!r}")
    return line


def _make_settings(settings: WandbSettings, retries: int) -> Settings:
    """Return wandb's settings for the target: its own, else W&B's variables, else the login that `wandb login` has left.

    Raises:
        AuthError: there is no login.
    """
    from wandb import Settings

    made = Settings()
    made.update_from_env_vars({name: os.environ[name] for name in _OWN_VARIABLES if name in os.environ})
    if settings.base_url is not None:
        made.base_url = settings.base_url
    if settings.api_key is not None:
        made.api_key = settings.api_key.get_secret_value()
    if made.api_key is None and made.identity_token_file is None:
        made.api_key = _key_from_netrc(made.base_url)
    made.root_dir = str(core_folder())
    made.resume = "allow"
    made.console, made.console_multipart = "wrap", True  # the lines of each upload in a file of their own, in place of one of the last ones
    made.x_disable_stats = made.x_disable_meta = made.disable_git = made.disable_code = made.disable_job_creation = True
    made.x_graphql_retry_max = made.x_file_stream_retry_max = made.x_file_transfer_retry_max = retries
    made.x_graphql_retry_wait_min_seconds = made.x_file_stream_retry_wait_min_seconds = _SHORTEST_WAIT
    made.x_graphql_retry_wait_max_seconds = made.x_file_stream_retry_wait_max_seconds = _LONGEST_WAIT
    made.x_file_transfer_retry_wait_min_seconds, made.x_file_transfer_retry_wait_max_seconds = _SHORTEST_WAIT, _LONGEST_WAIT
    made.x_graphql_timeout_seconds = made.x_file_stream_timeout_seconds = settings.timeout
    return made


def _key_from_netrc(base_url: str) -> str:
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib.wbauth.wbnetrc import read_netrc_auth

    try:
        key = read_netrc_auth(host=base_url)
    except AuthenticationError as error:
        raise AuthError(f"the login for {base_url} in netrc is none of W&B's: {error}") from None
    if key is None:
        raise AuthError(f"there is no login for {base_url}: set WANDB_API_KEY, or run `wandb login`")
    return str(key)
