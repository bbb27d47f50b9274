"""wandb-core: the process through which everything goes to W&B. One serves all runs of this process.

It is started when first needed, one of our own: what `WANDB_SERVICE` names belongs to a program that trains. If it dies, whoever waits for
it gets a TransientError, and the next call starts another one. It ends with this process, of whatever this process dies.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitrack.errors import BackendError, TransientError

from .failures import failure_of_answer

if TYPE_CHECKING:
    from wandb import Settings
    from wandb.proto.wandb_api_pb2 import ApiRequest, ApiResponse

_mutex = threading.Lock()
_running: Core | None = None
_folder: Path | None = None


def core() -> Core:
    """Return the process, started if it is not there or has died.

    Raises:
        TransientError: it does not start.
    """
    global _running
    with _mutex:
        if _running is None or not _running.is_alive():
            _running = Core()
        return _running


def core_folder() -> Path:
    """Return where wandb-core may put what it writes of itself: a temporary folder that ends with this process."""
    global _folder
    with _mutex:
        if _folder is None or not _folder.is_dir():
            _folder = Path(tempfile.mkdtemp(prefix="multitrack-wandb-core-"))
            atexit.register(shutil.rmtree, _folder, ignore_errors=True)
        return _folder


class Core:
    """A running wandb-core. Threads may share it."""

    def __init__(self) -> None:
        from wandb import Settings
        from wandb.sdk.lib.asyncio_manager import AsyncioManager
        from wandb.sdk.lib.service import service_process
        from wandb.sdk.lib.service.service_connection import ServiceConnection

        self._asyncer = AsyncioManager()
        self._asyncer.start()
        try:
            process = service_process.start(Settings())
            self._connection = ServiceConnection(self._asyncer, process.token.connect(asyncer=self._asyncer), process)
        except Exception as error:  # whatever keeps a program from starting
            raise TransientError(f"wandb-core does not start: {error}") from error
        self._process = process._process
        self._sessions: dict[str, str] = {}
        self._lock = threading.Lock()
        atexit.register(self._end)

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    def is_alive(self) -> bool:
        """Return whether the process is there."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once: what it still has under way must not arrive any more."""
        self._process.kill()
        self._process.wait()

    def _end(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.teardown(0)

    # -- questions -----------------------------------------------------------------------------------------------------------

    def ask(self, settings: Settings, query: str, variables: Mapping[str, Any], timeout: float) -> Any:
        """Return the data that a GraphQL request is answered with.

        Raises:
            BackendError: see `request`.
        """
        from wandb.proto.wandb_api_pb2 import ApiRequest, GraphQLRequest

        request = ApiRequest(graphql_request=GraphQLRequest(query=query, variables_json=json.dumps(variables)))
        return json.loads(self.request(settings, request, timeout).graphql_response.data_json)

    def request(self, settings: Settings, request: ApiRequest, timeout: float | None) -> ApiResponse:
        """Return wandb-core's answer. Without a timeout it is wandb-core that tells when it has waited long enough: of transfers.

        Raises:
            TransientError, AuthError, PermanentError: it is not answered, or the login or the request is refused.
        """
        from wandb.sdk.lib.service.service_connection import WandbApiFailedError

        try:
            request.api_id = self._session(settings)
            with _gone():
                return self._connection.api_request(request, timeout=timeout)
        except WandbApiFailedError as error:
            status = error.response.http_status if error.response is not None else 0
            raise failure_of_answer(str(error), status, answered=error.response is not None) from None

    def _session(self, settings: Settings) -> str:
        """Return wandb-core's number for these settings: it keeps connections and limits for each."""
        proto = settings.to_proto()
        key = proto.SerializeToString(deterministic=True).hex()
        with self._lock:
            if key not in self._sessions:
                with _gone():
                    self._sessions[key] = str(self._connection.api_init_request(proto).api_id)
            return self._sessions[key]

    # -- uploads -------------------------------------------------------------------------------------------------------------

    def upload(self, settings: Settings, log: Path) -> Upload:
        """Begin to bring a transaction log that has ended to the service.

        Raises:
            TransientError: wandb-core has gone.
        """

        async def begin() -> Any:
            prepared = await self._connection.init_sync(
                {log}, settings, cwd=None, live=False, entity="", project="", run_id="", job_type="", tag_replacements={}
            )
            answer = await prepared.wait_async(timeout=_STARTING)
            return await self._connection.sync(answer.id, parallelism=1)

        with _gone():
            return Upload(self, self._asyncer.run(begin))


_STARTING = 30.0
"""Seconds that wandb-core may take to look at a log."""


class Upload:
    """A transaction log on its way."""

    def __init__(self, owner: Core, handle: Any) -> None:
        self._owner = owner
        self._handle = handle

    def wait(self, timeout: float) -> None:
        """Wait until all of it was sent, or given up.

        Raises:
            TransientError, AuthError, PermanentError: what wandb-core says of it. Whether each file of an artifact arrived it does not
                tell, nor whether a change of the run's description did.
        """
        from wandb.proto.wandb_sync_pb2 import ServerSyncMessage

        try:
            with _gone():
                answer = self._handle.wait_or(timeout=timeout)
        except BaseException:
            # It may still be under way, behind whoever takes it up again. wandb-core has no way to end one upload for certain.
            self._owner.kill()
            raise
        errors = [message.content for message in answer.messages if message.severity >= ServerSyncMessage.SEVERITY_ERROR]
        if errors:
            raise _failure_of_upload(errors[0])


def _failure_of_upload(text: str) -> BackendError:
    for status in (400, 401, 403, 404, 409, 422):
        if f"error {status}" in text or f"HTTP {status}" in text:
            return failure_of_answer(text, status)
    return TransientError(f"wandb-core: {text}")


@contextlib.contextmanager
def _gone() -> Any:
    from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

    try:
        yield
    except (HandleAbandonedError, MailboxClosedError, OSError, RuntimeError) as error:
        if isinstance(error, TimeoutError):
            raise TransientError("wandb-core has not answered in time") from error
        raise TransientError("wandb-core has gone; another one is started") from error
    except TimeoutError as error:  # no TimeoutError before Python 3.11
        raise TransientError("wandb-core has not answered in time") from error
