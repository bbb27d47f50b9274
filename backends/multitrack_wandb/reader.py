"""What a source asks the service, page by page, within the service's limits.

wandb-core tries a request again, after as long as `Retry-After` says, or after a few seconds. `RateLimit-*` headers it heeds for uploads
only, and does not pass on; so where it gives up because of HTTP 429, the source waits for the service's next period.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from multitrack.errors import PermanentError, TransientError

from .client import Client
from .nodes import RUN_FIELDS

if TYPE_CHECKING:
    from wandb.proto.wandb_api_pb2 import ApiRequest, ApiResponse

Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)

LIMIT_PAUSES = (10.0, 20.0, 40.0, 60.0, 60.0, 60.0)
"""Seconds to wait, one after the other, while the service says that it was asked too often."""
_LIMITED = re.compile(r"\b429\b|[Tt]oo [Mm]any [Rr]equests|rate limit")
RUN_PAGE = 50
"""Runs to a page, as wandb's own SDK has it: each comes with its whole config and summary."""
FILE_PAGE = 500
LINE_PAGE = 5_000
"""Console lines to a page; the service may give fewer."""
IDS_PER_SEARCH = 200

_PROJECTS = """query MultitrackProjects($entity: String, $after: String) {
    models(entityName: $entity, first: 50, after: $after) {
        edges { node { name runs(first: 1) { edges { node { name config } } } } }
        pageInfo { hasNextPage endCursor }
    }
}"""
_RUNS = f"""query MultitrackRuns($entity: String!, $project: String!, $filters: JSONString, $order: String, $first: Int, $after: String) {{
    project(name: $project, entityName: $entity) {{
        runs(filters: $filters, order: $order, first: $first, after: $after) {{
            edges {{ node {{ {RUN_FIELDS} }} }}
            pageInfo {{ hasNextPage endCursor }}
        }}
    }}
}}"""
_RUN = f"""query MultitrackWholeRun($entity: String!, $project: String!, $run: String!) {{
    project(name: $project, entityName: $entity) {{ run(name: $run) {{ {RUN_FIELDS} historyKeys }} }}
}}"""
_FILES = """query MultitrackRunFiles($entity: String!, $project: String!, $run: String!, $names: [String], $first: Int, $after: String) {
    project(name: $project, entityName: $entity) {
        run(name: $run) {
            files(names: $names, first: $first, after: $after) {
                edges { node { name url sizeBytes } }
                pageInfo { hasNextPage endCursor }
            }
        }
    }
}"""
_EVENTS = """query MultitrackEvents($entity: String!, $project: String!, $run: String!, $samples: Int) {
    project(name: $project, entityName: $entity) { run(name: $run) { events(samples: $samples) } }
}"""
_ARTIFACTS = """query MultitrackArtifacts($entity: String!, $project: String!, $run: String!, $after: String) {
    project(name: $project, entityName: $entity) {
        run(name: $run) {
            artifacts: %s(first: 100, after: $after) {
                edges { node {
                    id state digest size versionIndex createdAt description metadata
                    artifactType { name }
                    artifactSequence { name project { name entity { name } } }
                    aliases { alias }
                } }
                pageInfo { hasNextPage endCursor }
            }
        }
    }
}"""
_MANIFEST = """query MultitrackManifest($artifact: ID!) {
    artifact(id: $artifact) { currentManifest { file { directUrl } } }
}"""
_ARTIFACT_FILES = """query MultitrackArtifactFiles($artifact: ID!, $first: Int, $after: String) {
    artifact(id: $artifact) {
        files(first: $first, after: $after) {
            edges { node { name directUrl } }
            pageInfo { hasNextPage endCursor }
        }
    }
}"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a run is at the service."""

    entity: str
    project: str
    run: str


@dataclass(frozen=True, slots=True)
class RunFile:
    """A run file, and where its content is."""

    name: str
    size: int | None
    url: str


class Reader:
    """Asks the service. Threads may share it. Every method raises what `Client.ask` raises."""

    def __init__(self, client: Client, *, run_page: int = RUN_PAGE) -> None:
        self.client = client
        self._run_page = run_page

    def ask(self, query: str, **variables: Any) -> Any:
        """Return the data of a GraphQL answer."""
        return self._within_limits(lambda: self.client.ask(query, **variables))

    def request(self, request: ApiRequest) -> ApiResponse:
        """Return wandb-core's answer to what is no single GraphQL question."""
        return self._within_limits(lambda: self.client.request(request))

    def _within_limits(self, act: Callable[[], Answer]) -> Answer:
        for pause in LIMIT_PAUSES:
            try:
                return act()
            except TransientError as error:
                if not _LIMITED.search(str(error)):
                    raise
                _log.warning("wandb: the service was asked too often; going on in %.0f s", pause)
                time.sleep(pause)
        return act()

    # -- what there is -----------------------------------------------------------------------------------------------------------

    def projects(self) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """Yield the entity's projects, each with one of its runs, `name` and `config` of it; None where it has none."""
        for node in self._pages(_PROJECTS, ("models",), entity=self.client.entity):
            edges = (node["runs"] or {}).get("edges") or ()
            yield node["name"], edges[0]["node"] if edges else None

    def runs(self, project: str, filters: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield a project's runs, those first that were first brought there; none where there is no such project."""
        yield from self._pages(
            _RUNS, ("project", "runs"), entity=self.client.entity, project=project, filters=json.dumps(filters), order="+created_at",
            first=self._run_page,
        )  # fmt: skip

    def has_project(self, project: str) -> bool:
        """Return whether the entity has the project."""
        asked = "query MultitrackProject($entity: String!, $project: String!) { project(name: $project, entityName: $entity) { id } }"
        return self.ask(asked, entity=self.client.entity, project=project)["project"] is not None

    def run(self, place: Address) -> Mapping[str, Any]:
        """Return a run, with the keys of its history.

        Raises:
            PermanentError: it is gone.
        """
        return self._of_run(_RUN, place)

    def files(self, place: Address, wanted: Sequence[str] = ()) -> Iterator[RunFile]:
        """Yield the run's files, or those of the names that are wanted."""
        for node in self._pages(_FILES, ("project", "run", "files"), **_variables(place), names=list(wanted), first=FILE_PAGE):
            yield RunFile(node["name"], None if node["sizeBytes"] is None else int(node["sizeBytes"]), node["url"])

    def events(self, place: Address, count: int) -> list[dict[str, Any]]:
        """Return the run's rows of system metrics. They come in one answer, in which the service may leave some out."""
        if not count:
            return []
        rows = [json.loads(row) for row in self._of_run(_EVENTS, place, samples=count)["events"] or ()]
        return sorted(rows, key=lambda row: row.get("_timestamp") or 0)

    def artifacts(self, place: Address, *, used: bool = False) -> Iterator[Mapping[str, Any]]:
        """Yield the artifact versions that the run has logged, or that it has used: whole ones."""
        query = _ARTIFACTS % ("inputArtifacts" if used else "outputArtifacts")
        for node in self._pages(query, ("project", "run", "artifacts"), **_variables(place)):
            if node["state"] == "COMMITTED":
                yield node

    def manifest(self, artifact: str) -> Mapping[str, Mapping[str, Any]]:
        """Return what an artifact version is made of: path to its entry."""
        found = self.ask(_MANIFEST, artifact=artifact)["artifact"]
        manifest = (found or {}).get("currentManifest")
        return {} if manifest is None else json.loads(self.content(manifest["file"]["directUrl"])).get("contents", {})

    def artifact_urls(self, artifact: str) -> dict[str, str]:
        """Return where the files of an artifact version are, by their paths."""
        nodes = self._pages(_ARTIFACT_FILES, ("artifact", "files"), artifact=artifact, first=FILE_PAGE)
        return {node["name"]: node["directUrl"] for node in nodes}

    def console(self, place: Address) -> Iterator[Any]:
        """Yield the console's lines: `number`, `timestamp`, `level`, `label`, `content`.

        Raises:
            PermanentError: the server is older than 0.77 and gives them in no order.
        """
        from wandb.proto.wandb_api_pb2 import ApiRequest, ReadRunConsoleLogsRequest

        after: str | None = None
        while True:
            asked = ReadRunConsoleLogsRequest(
                entity=place.entity, project=place.project, run_id=place.run, first=LINE_PAGE, **({} if after is None else {"after": after})
            )
            page = self.request(ApiRequest(read_run_console_logs_request=asked)).read_run_console_logs_response
            yield from page.lines
            if not page.has_next_page:
                return
            after = page.end_cursor

    def fetch(self, url: str, to: Path) -> None:
        """Write what is at an address of the service's storage to a file."""
        from wandb.proto.wandb_api_pb2 import ApiRequest, DownloadFileRequest

        self.request(ApiRequest(download_file_request=DownloadFileRequest(path=str(to.absolute()), url=url)))

    def content(self, url: str) -> bytes:
        """Return what is at an address of the service's storage."""
        with tempfile.TemporaryDirectory(prefix="multitrack-wandb-") as folder:
            file = Path(folder) / "content"
            self.fetch(url, file)
            return file.read_bytes()

    # -- pages -----------------------------------------------------------------------------------------------------------------

    def _of_run(self, query: str, place: Address, **variables: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] | None = (self.ask(query, **_variables(place), **variables)["project"] or {}).get("run")
        if found is None:
            raise PermanentError(f"run {place.run} is no longer in W&B's project {place.entity}/{place.project}")
        return found

    def _pages(self, query: str, path: Sequence[str], **variables: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the nodes of a connection, all its pages."""
        after: str | None = None
        while True:
            page: Any = self.ask(query, **variables, after=after)
            for key in path:
                page = (page or {}).get(key)
            if page is None:
                return
            yield from (edge["node"] for edge in page["edges"] if edge["node"] is not None)
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]


def _variables(place: Address) -> dict[str, str]:
    return {"entity": place.entity, "project": place.project, "run": place.run}
