"""A Comet service on loopback, as the SDK sees one: it checks what it is sent, and forgets everything at the end.

    with CometDouble() as comet:
        os.environ["COMET_URL_OVERRIDE"] = comet.url
        os.environ["COMET_API_KEY"] = comet.api_key
        ...
        comet.experiment(key).points

What it does was read in the SDK and seen in the SDK's traffic. What the hosted service does beyond that, it does not do either.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from . import reads, writes  # noqa: F401 - they fill the table
from .calls import JSON_TYPE, ROUTES, Call
from .state import POINTS_KEPT, Experiment, Refused, Service

_PLACES = (("/api/rest/v2/", "rest:"), ("/clientlib/rest/v2/", "rest:"), ("/clientlib/", "sdk:"))


class CometDouble:
    """A server in threads of this process.

    Attributes:
        api_key: the key of `ann`, who may write to the workspaces `ann` (her default) and `team`.
        asked: how often each question came, as `POST sdk:logger/add/run`.
        unknown: questions that have no answer here. A test of the SDK's traffic wants none.
    """

    api_key = "AnnsOwnKey0123456789abcde"
    other_key = "BobsOwnKey0123456789abcde"

    def __init__(self, *, points_kept: int = POINTS_KEPT, port: int = 0) -> None:
        keys = {self.api_key: "ann", self.other_key: "bob"}
        self.service = Service(keys, {"ann": ["ann"], "team": ["ann", "bob"], "bob": ["bob"]}, points_kept)
        self.asked: Counter[str] = Counter()
        self.unknown: list[str] = []
        self._throttled: deque[float] = deque()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def root(self) -> str:
        """The address without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """What belongs into COMET_URL_OVERRIDE."""
        return f"{self.root}/clientlib/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def experiment(self, key: str) -> Experiment:
        """Return an experiment, to look into."""
        return self.service.experiments[key]

    def throttle(self, times: int, seconds: float = 1.0) -> None:
        """Answer the next writing questions with 429, as many times as told."""
        self._throttled.extend([seconds] * times)

    @property
    def requests(self) -> int:
        """How many questions came."""
        return sum(self.asked.values())

    # -- for the handler

    def answer(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        parts = urlsplit(target)
        path = _place(unquote(parts.path))
        with self.service.lock:
            self.asked[f"{method} {path}"] += 1
            handler = ROUTES.get((method, path))
            if handler is None:
                self.unknown.append(f"{method} {path}")
                return _refusal(Refused(f"nothing is at {path}", status=404))
            if self._throttled and method == "POST":
                return (
                    429,
                    {"Retry-After-Custom": str(self._throttled.popleft()), "Content-Type": JSON_TYPE},
                    b'{"msg": "too many requests"}',
                )
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            try:
                found = handler(Call(self.service, method, path, query, headers, raw))
            except Refused as refused:
                return _refusal(refused)
            if isinstance(found, bytes):
                return 200, {"Content-Type": "application/octet-stream"}, found
            return 200, {"Content-Type": JSON_TYPE}, json.dumps(found).encode()


def _place(path: str) -> str:
    for start, short in _PLACES:
        if path.startswith(start):
            return short + path.removeprefix(start).replace("//", "/")
    return path


def _refusal(refused: Refused) -> tuple[int, dict[str, str], bytes]:
    body: dict[str, Any] = {"msg": refused.message, "code": refused.status, "sdk_error_code": refused.code}
    return refused.status, {"Content-Type": JSON_TYPE}, json.dumps(body).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], double: CometDouble) -> None:
        self.double = double
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that are killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _respond(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, headers, body = self.server.double.answer(self.command, self.path, dict(self.headers), raw)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _respond  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Stay silent."""
