"""A double of the W&B service on the loopback interface: GraphQL, file_stream, uploads and downloads, and faults on demand.

    with WandbDouble() as double:
        ...                       # WANDB_BASE_URL=double.url, WANDB_API_KEY=double.key
        double.run("project", "run id").history

It answers what wandb 0.31's own client asks, by W&B's schema as far as it is written down in `schema.graphql`, and refuses the rest.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from graphql import GraphQLError, OperationDefinitionNode, build_schema, execute_sync, parse, validate

from . import reads  # noqa: F401 - its resolvers
from .resolvers import resolve_field
from .state import RefusedError, Run, State, StoredFile

_SCHEMA = build_schema(Path(__file__).with_name("schema.graphql").read_text("utf-8"))


class Fault:
    """An answer in place of the real one."""

    def __init__(self, status: int, *, times: int = -1, headers: dict[str, str] | None = None, after: bool = False) -> None:
        """`times`: how often, for ever if negative. `after`: the request is carried out first; only its answer is lost."""
        self.status = status
        self.times = times
        self.headers = headers or {}
        self.after = after


class WandbDouble:
    """The service, in a thread of its own."""

    def __init__(self) -> None:
        self.state = State()
        self.requests: Counter[str] = Counter()
        """How often each operation was asked for: a GraphQL operation's name, `file_stream`, `PUT`, `GET`."""
        self.unknown: list[str] = []
        """What was asked for and is not served: nothing, where the double is complete."""
        self.on_request: Callable[[str], None] = lambda _: None
        """Called with the operation before it is carried out."""
        self._faults: dict[str, Fault] = {}
        self._server = self._listen(0)
        self.port = int(self._server.server_address[1])

    def _listen(self, port: int) -> ThreadingHTTPServer:
        server = _Server(("127.0.0.1", port), _Handler)
        server.double = self
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="wandb-double").start()
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """A key that is let in."""
        return next(iter(self.state.keys))

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_connections()

    def restart(self) -> None:
        """Answer again after `stop`, at the same address, with everything that was held."""
        self._server = self._listen(self.port)

    def clear(self) -> None:
        """Hold nothing, and behave well."""
        self.state = State()
        self.requests.clear()
        self.unknown.clear()
        self.on_request = lambda _: None
        self._faults.clear()

    # -- what it holds -----------------------------------------------------------------------------------------------------

    def run(self, project: str, name: str, entity: str = "tester") -> Run:
        """Return a run.

        Raises:
            KeyError: there is none.
        """
        return self.state.projects[entity, project].runs[name]

    def url_of(self, file: StoredFile) -> str:
        """Return where a file is uploaded and downloaded."""
        if not file.key:
            file.key = self.state.announce(file.name).key
            self.state.stored[file.key] = file
        return f"{self.url}/storage/{file.key}"

    # -- faults --------------------------------------------------------------------------------------------------------------

    @contextmanager
    def fault(
        self, operation: str, status: int, *, times: int = -1, headers: dict[str, str] | None = None, after: bool = False
    ) -> Iterator[None]:
        """Answer an operation, `*` for every one, with a status of trouble."""
        self._faults[operation] = Fault(status, times=times, headers=headers, after=after)
        try:
            yield
        finally:
            self._faults.pop(operation, None)

    def take_fault(self, operation: str) -> Fault | None:
        """Return the fault that an operation is to meet now."""
        found = self._faults.get(operation) or self._faults.get("*")
        if found is None or found.times == 0:
            return None
        found.times -= 1
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    double: WandbDouble

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        """Cut what is still open, as a service that goes down does."""
        for request in list(self._connections):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of it, but for a client that went away."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.double.unknown.append(f"{error!r}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    """An answer goes out in one piece: head and body in two would wait for each other's acknowledgement, 40 ms each time."""
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._post)

    def do_PUT(self) -> None:
        self._serve(self._put)

    # -- one request -----------------------------------------------------------------------------------------------------

    def _serve(self, act: Callable[[str, bytes], Any]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            answer = act(unquote(urlsplit(self.path).path), body)
        except RefusedError as refused:
            self._answer(refused.status, {"errors": [{"message": str(refused)}], "error": str(refused)})
        except _FaultyError as faulty:
            self._answer(faulty.fault.status, {"errors": [{"message": "a fault"}]}, faulty.fault.headers)
        else:
            self._answer(200, answer)

    def _answer(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _carry_out(self, operation: str, act: Callable[[], Any]) -> Any:
        double = self.server.double
        double.requests[operation] += 1
        double.on_request(operation)
        fault = double.take_fault(operation)
        if fault is not None and not fault.after:
            raise _FaultyError(fault)
        with double.state.lock:
            answer = act()
        if fault is not None:
            raise _FaultyError(fault)
        return answer

    def _authenticate(self) -> None:
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        name, _, key = base64.b64decode(text).decode().partition(":") if kind == "Basic" else ("", "", "")
        if name != "api" or key not in self.server.double.state.keys:
            raise RefusedError(401, "user is not logged in")

    def _post(self, path: str, body: bytes) -> Any:
        self._authenticate()
        if path == "/graphql":
            return self._graphql(json.loads(body))
        parts = path.strip("/").split("/")
        if len(parts) == 5 and parts[0] == "files" and parts[4] == "file_stream":
            return self._carry_out("file_stream", lambda: self._file_stream(parts[1], parts[2], parts[3], json.loads(body)))
        self.server.double.unknown.append(f"POST {path}")
        raise RefusedError(404, f"there is no {path}")

    def _file_stream(self, entity: str, project: str, name: str, request: dict[str, Any]) -> dict[str, Any]:
        state = self.server.double.state
        state.stream(state.the_run(entity, project, name), request)
        return {"exitcode": None, "limits": {}}

    def _put(self, path: str, body: bytes) -> Any:
        file = self._stored(path)
        return self._carry_out("PUT", lambda: file.put(body) or b"")

    def _get(self, path: str, body: bytes) -> Any:
        del body
        file = self._stored(path)
        if file.content is None:
            raise RefusedError(404, f"{file.name} has no content")
        return self._carry_out("GET", lambda: file.content)

    def _stored(self, path: str) -> StoredFile:
        file = self.server.double.state.stored.get(path.removeprefix("/storage/"))
        if file is None:
            self.server.double.unknown.append(path)
            raise RefusedError(404, f"there is no {path}")
        return file

    # -- GraphQL -----------------------------------------------------------------------------------------------------------

    def _graphql(self, request: dict[str, Any]) -> Any:
        double = self.server.double
        try:
            document = parse(request["query"])
        except GraphQLError as error:
            raise RefusedError(400, str(error)) from None
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        name = request.get("operationName") or (operations[0].name.value if operations and operations[0].name else "anonymous")
        if errors := validate(_SCHEMA, document):
            double.unknown.append(f"{name}: {errors[0].message}")
            raise RefusedError(400, errors[0].message)

        def act() -> dict[str, Any]:
            result = execute_sync(
                _SCHEMA,
                document,
                context_value=double,
                variable_values=request.get("variables"),
                operation_name=request.get("operationName") or None,
                field_resolver=resolve_field,
            )
            for error in result.errors or ():
                if isinstance(error.original_error, RefusedError):
                    raise error.original_error
                if error.original_error is None or isinstance(error.original_error, GraphQLError):  # a variable that does not fit its type
                    double.unknown.append(f"{name}: {error.message}")
                    raise RefusedError(400, error.message)
                raise error.original_error
            return {"data": result.data}

        return self._carry_out(name, act)


class _FaultyError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.status)
        self.fault = fault
