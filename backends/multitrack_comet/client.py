"""Connections to Comet: the SDK's own, one for an experiment that is written to, one for everything that is read.

No request that writes is tried twice by itself: Comet does not notice that a batch of points comes again, and whoever gets no answer
cannot know whether it was taken. That is found out by reading (`arrived`). A 429 alone is waited out here: what it refuses was not taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from multitrack.errors import AuthError, TransientError

from . import names
from .encode import Asset, Point
from .failures import LOGIN_REMEDY, translated
from .native import ConsoleText
from .sdk import load_sdk
from .settings import CometSettings

POINTS_PER_REQUEST = 1000
PARAMS_PER_REQUEST = 1000
LINES_PER_REQUEST = 1000
WAIT_AT_MOST = 60.0
"""Seconds that a 429 may ask for and is waited out; longer ones are delivery's to wait for. Comet: 60 where it does not tell."""
READ_TIMEOUT = 60.0
"""Seconds: all points of a run come in one answer."""
_WAITS = 5
_IMMUTABLE = frozenset({7_000_005, 7_000_006})
"""Comet: the asset or image of this id is there already."""

Result = TypeVar("Result")


class Login(NamedTuple):
    """Where Comet is, and as whom we come."""

    api_key: str
    url: str
    """Such as `https://www.comet.com/clientlib/`."""
    timeout: float | None

    def __repr__(self) -> str:
        return f"Login({self.url})"

    @property
    def root(self) -> str:
        """The address of Comet's pages."""
        return self.url.partition("/clientlib")[0].rstrip("/")


def find_login(settings: CometSettings) -> Login:
    """Return the login of a target: what the settings say, else what Comet's SDK finds.

    Raises:
        AuthError: there is no API key.
        PermanentError: the installed SDK is not one that this backend was written for.
    """
    load_sdk()
    from comet_ml.config import get_api_key, get_backend_address, get_config

    config = get_config()
    given = None if settings.api_key is None else settings.api_key.get_secret_value()
    with translated("finding the API key"):
        api_key = get_api_key(given, config)
    if not api_key:
        raise AuthError(f"there is no API key for Comet; {LOGIN_REMEDY}")
    url = settings.url
    if url is None:
        return Login(api_key, str(get_backend_address(config)), settings.timeout)
    root = url.partition("/clientlib")[0].rstrip("/")
    return Login(api_key, f"{root}/clientlib/", settings.timeout)


def default_workspace(settings: CometSettings) -> str | None:
    """Return the workspace that the settings or Comet's own configuration name."""
    from comet_ml.config import get_config

    return settings.workspace or get_config()["comet.workspace"] or None


def rest_client(login: Login) -> Any:
    """Return the SDK's client of the REST interface, to read with: a request is tried again by itself."""
    from comet_ml.connection.connection_factory import get_rest_api_client

    client = get_rest_api_client("v2", server_address=login.url, api_key=login.api_key, check_version=False)
    client.low_level_api_client.default_timeout = login.timeout or READ_TIMEOUT
    return client


class ExperimentConnection:
    """One experiment at Comet, to write to. Every method returns when Comet has answered, and raises `BackendError`s alone."""

    def __init__(self, login: Login, key: str) -> None:
        from comet_ml.connection.connection_factory import get_rest_server_connection

        self.key = key
        self.created = False
        self.url: str | None = None
        self.upload_limit: int | None = None
        """Bytes that a file may have."""
        self._lines = 0
        """Lines of output that were logged."""
        self._login = login
        self._sdk = get_rest_server_connection(login.api_key, key, server_address=login.url, default_timeout=login.timeout)
        self.rest = rest_client(login)
        self._http = self._sdk._low_level_http_client
        for client in (self._http, self.rest.low_level_api_client):
            client.retry_session = client.session

    def close(self) -> None:
        """Let go of the connections."""
        self._sdk.close()
        self.rest.low_level_api_client.close()

    # -- the experiment -----------------------------------------------------------------------------------------------

    def open(self, workspace: str | None, project: str) -> bool:
        """Create the experiment, or find it; return False where it is there and this API key may not write to it.

        An `offline` one sends no signs of life, and its times may lie in the past.

        Raises:
            PermanentError: the workspace does not exist.
        """
        from comet_ml.exceptions import ExperimentAlreadyUploaded, ExperimentNotFound

        with translated(f"opening the experiment in project {project!r}"):
            try:
                handshake = self._sdk.add_run(project, workspace, offline=True)
                self.created = True
            except ExperimentAlreadyUploaded:
                try:
                    handshake = self._sdk.get_run(self.key)
                except ExperimentNotFound:
                    return False
        self.upload_limit = handshake.asset_upload_limit
        self._lines = handshake.last_offset
        self.url = None if handshake.focus_link is None else f"{handshake.focus_link}{self.key}"
        return True

    def set_times(self, start: int, end: int | None) -> None:
        """Set when the run started and ended, in milliseconds."""
        self._do("setting the run's times", lambda: self.rest.set_experiment_start_end(self.key, start, end))

    def set_state(self, state: str) -> None:
        """Set the state: `running`, `finished` or `crashed`."""
        self._do("setting the run's state", lambda: self.rest.set_experiment_state(self.key, state))

    def archive(self) -> None:
        """Put the experiment among the archived ones."""
        self._do("archiving the experiment", lambda: self.rest.archive_experiment(self.key))

    def restore(self) -> None:
        """Take the experiment out of the archived ones."""
        self._do("restoring the experiment", lambda: self.rest.restore_experiment(self.key))

    # -- what it holds ------------------------------------------------------------------------------------------------

    def log_points(self, points: Sequence[Point]) -> None:
        """Log points, up to a thousand a request."""
        from comet_ml.batch_utils import MessageBatchItem
        from comet_ml.messages import MetricMessage

        for part in _parts(points, POINTS_PER_REQUEST):
            items = []
            for point in part:
                message = MetricMessage(timestamp=point.time)
                message.set_metric(point.name, point.value, step=point.step, epoch=point.epoch)
                items.append(MessageBatchItem(message))
            self._do("logging points", lambda items=items: self._sdk.log_metrics_batch(items))  # type: ignore[misc]

    def log_params(self, params: Mapping[str, str], time: int) -> None:
        """Log params by their joined names; the last value of each counts. `time` is in milliseconds."""
        from comet_ml.batch_utils import MessageBatchItem
        from comet_ml.messages import ParameterMessage

        for part in _parts(list(params.items()), PARAMS_PER_REQUEST):
            items = []
            for name, value in part:
                message = ParameterMessage(timestamp=time)
                message.set_param(name, value, source="manual")
                items.append(MessageBatchItem(message))
            self._do("logging params", lambda items=items: self._sdk.log_parameters_batch(items))  # type: ignore[misc]

    def log_other(self, name: str, value: str) -> None:
        """Set an other; the last value counts."""
        self._do(f"setting {name!r}", lambda: self.rest.log_experiment_other(self.key, name, value))

    def add_tags(self, tags: Sequence[str]) -> None:
        """Add tags."""
        self._do("adding tags", lambda: self.rest.add_experiment_tags(self.key, list(tags)))

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags away."""
        self._do("removing tags", lambda: self.rest.delete_experiment_tags(self.key, list(tags)))

    def log_output(self, lines: Sequence[ConsoleText]) -> None:
        """Log console lines with their times, behind those that are there."""
        for part in _parts(lines, LINES_PER_REQUEST):
            payload = {
                "experimentKey": self.key,
                "runContext": None,
                "outputLines": [
                    {"stderr": line.stderr, "output": line.text, "localTimestamp": line.time, "offset": self._lines + place}
                    for place, line in enumerate(part)
                ],
            }
            self._post("logging console output", "write/experiment/output", payload, compress=True)
            self._lines += len(part)

    def set_git(self, git: Mapping[str, Any]) -> None:
        """Set the git metadata."""
        self._do("setting the git metadata", lambda: self.rest.set_experiment_git_metadata(self.key, **git))

    def set_patch(self, zipped: bytes) -> None:
        """Set the git patch, a zip with one file."""
        self._do("uploading the git patch", lambda: self.rest.set_experiment_git_patch(self.key, BytesIO(zipped)))

    def set_file_name(self, name: str) -> None:
        """Set the file that was run."""
        self._do("setting the file name", lambda: self.rest.set_experiment_filename(self.key, name))

    def set_packages(self, packages: Sequence[str]) -> None:
        """Set the installed packages."""
        self._do("setting the packages", lambda: self.rest.set_experiment_installed_packages(self.key, list(packages)))

    def set_system_details(self, details: Mapping[str, Any]) -> None:
        """Set the system details, in the words of Comet's messages."""
        words = {"_os" if word == "os" else word: value for word, value in details.items()}
        self._do("setting the system details", lambda: self.rest.set_experiment_system_details(experiment_key=self.key, **words))

    # -- files --------------------------------------------------------------------------------------------------------

    def upload(self, asset: Asset, asset_id: str, content: Path | bytes) -> None:
        """Upload a file as an asset. An asset of the same id is left as it is; others of the same name go, unless it is an image."""
        from comet_ml.connection.connection_upload import send_file, send_file_like

        def send(**more: Any) -> Any:
            if isinstance(content, bytes):
                return send_file_like(file_like=BytesIO(content), **more)
            return send_file(file_path=str(content), **more)

        self._send(asset, asset_id, send)

    def link(self, asset: Asset, asset_id: str, uri: str) -> None:
        """Note a reference as a remote asset."""
        from comet_ml.connection.connection_upload import send_remote_asset

        self._send(asset, asset_id, lambda **more: send_remote_asset(remote_uri=uri, **more))

    def _send(self, asset: Asset, asset_id: str, send: Callable[..., Any]) -> None:
        is_image = asset.type == names.IMAGE
        identity = {"imageId": asset_id, "figName": asset.name} if is_image else {"assetId": asset_id, "fileName": asset.name}
        params = {
            "experimentId": self.key,
            "projectId": self._sdk.project_id,
            "type": None if is_image else asset.type,
            "overwrite": "false" if is_image else "true",
            "step": asset.step,
            **identity,
        }
        suffix = Path(asset.name).suffix
        if suffix:
            params["extension"] = suffix

        def attempt() -> None:
            from comet_ml.exceptions import CometRestApiException

            answer = send(
                post_endpoint=self._sdk.get_upload_url(asset.type),
                params={name: value for name, value in params.items() if value is not None},
                headers={"Authorization": self._login.api_key},
                timeout=self._sdk.config.get_int(None, "comet.timeout.file_upload"),
                session=self._http.session,
                metadata=dict(asset.metadata),
            )
            if not answer.ok:
                error = CometRestApiException("POST", response=answer)
                if error.sdk_error_code not in _IMMUTABLE:
                    raise error

        self._do(f"uploading {asset.name!r}", attempt)

    # -- asking -------------------------------------------------------------------------------------------------------

    def _post(self, doing: str, endpoint: str, payload: Mapping[str, Any], *, compress: bool = False) -> None:
        base = self.rest.alternate_base_url
        self._do(doing, lambda: self.rest.post_from_endpoint(endpoint, payload, alternate_base_url=base, compress=compress))

    def _do(self, doing: str, call: Callable[[], Result]) -> Result:
        return patiently(doing, call)


def patiently(doing: str, call: Callable[[], Result]) -> Result:
    """Do it; where Comet asks to be left alone for a while, wait and do it again.

    Raises:
        BackendError: see `translated`.
    """
    for _ in range(_WAITS):
        try:
            with translated(doing):
                return call()
        except TransientError as error:
            if error.retry_after is None or error.retry_after > WAIT_AT_MOST:
                raise
            time.sleep(error.retry_after)
    with translated(doing):
        return call()


def _parts(items: Sequence[Result], size: int) -> Iterator[Sequence[Result]]:
    return (items[start : start + size] for start in range(0, len(items), size))
