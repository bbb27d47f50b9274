"""A fault proxy: stands in front of a real service and does to its clients what networks and busy servers do.

    with FaultProxy("http://127.0.0.1:5000") as proxy:
        backend = MyBackend(proxy.url)
        with proxy.ruled(Answer(503)):                                    # everything, for the length of the block
            ...
        proxy.rule(Cut(), method="POST", path="/runs/create", times=1)    # the service gets one request, and its answer is lost
        proxy.rule(Answer(401), after=20)                                 # a login that is refused in mid-run
        proxy.clear()

Rules are made and taken away while clients are at work. Each request obeys the latest rule that it matches; without one it passes.
`stop` and `start` close and open the door itself: in between, connections are refused.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

UPSTREAM_TIMEOUT = 120.0
"""Seconds that the service may take to answer before the proxy says 504."""
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"})
_WITHOUT_BODY = frozenset({204, 304})


# -- what can go wrong


@dataclass(frozen=True)
class Pass:
    """Nothing: for exceptions to an earlier rule."""


@dataclass(frozen=True)
class Drop:
    """The connection is reset before the service hears of the request."""


@dataclass(frozen=True)
class Delay:
    """The request waits, then passes."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Nothing comes, until the rule is taken away or `seconds` have passed; then the connection is reset. The service hears nothing."""

    seconds: float | None = None


@dataclass(frozen=True)
class Answer:
    """The proxy answers in place of the service: `Answer(503)`, `Answer(429, {"Retry-After": "2"})`, `Answer(401)`."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error_code": "FAULT", "message": "the fault proxy says so"}'


@dataclass(frozen=True)
class Cut:
    """The service gets the request and acts on it; of its answer only a part comes through, then the connection is reset."""

    keep: float = 0.0
    """The fraction of the answer, head and body, that comes through; 0: not a byte."""


@dataclass(frozen=True)
class Corrupt:
    """The service gets the request; every byte of its answer's body is inverted."""


Effect = Pass | Drop | Delay | Hang | Answer | Cut | Corrupt


@dataclass(eq=False)
class Rule:
    """What happens to which requests. Made by `FaultProxy.rule`."""

    effect: Effect
    method: str | None
    path: re.Pattern[str]
    after: int
    times: int | None
    matched: int = 0
    """How many requests were its own, those that it let pass included."""

    def claims(self, method: str, path: str) -> bool:
        """Count a request that is meant; return whether the effect is for it."""
        if (self.method is not None and self.method != method) or not self.path.search(path):
            return False
        if self.times is not None and self.matched >= self.after + self.times:
            return False
        self.matched += 1
        return self.matched > self.after


@dataclass(frozen=True)
class Seen:
    """A request that came in, and what happened to it."""

    method: str
    path: str
    effect: Effect
    status: int | None
    """What the service answered; None where it was not asked, or did not answer."""


# -- the proxy


class FaultProxy:
    """An HTTP/1.1 proxy on loopback for one service.

    Args:
        upstream: the service's address, `http://HOST:PORT`.
        port: where to listen; any free one if left out.
    """

    def __init__(self, upstream: str, port: int = 0) -> None:
        parts = urlsplit(upstream)
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError(f"the service's address is like http://127.0.0.1:5000, not {upstream!r}")
        self.upstream = f"http://{parts.netloc}"
        self._host, self._port = parts.hostname, parts.port or 80
        self._listen = port
        self._changed = threading.Condition()
        self._rules: list[Rule] = []
        self._seen: list[Seen] = []
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address that clients are given in place of the service's."""
        return f"http://127.0.0.1:{self._listen}"

    # -- its door

    def start(self) -> Self:
        """Listen, on the same port as before if it was stopped."""
        if self._server is None:
            self._server = _server(self, self._listen)
            self._listen = int(self._server.server_address[1])
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fault-proxy", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Close the door and reset every connection: from here on, clients are refused."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        server.shutdown()
        server.server_close()
        self._thread.join()
        with self._changed:
            for connection in self._connections:
                _reset(connection)
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    # -- its rules

    def rule(self, effect: Effect, *, method: str | None = None, path: str = "", after: int = 0, times: int | None = None) -> Rule:
        """Make a rule, which goes before those made earlier.

        Args:
            effect: what happens.
            method: to requests of this method only, in capitals.
            path: to paths (with their query) in which this regular expression is found.
            after: how many of these requests pass first.
            times: how many are concerned then; all if left out.
        """
        made = Rule(effect, method, re.compile(path), after, times)
        with self._changed:
            self._rules.append(made)
        return made

    def remove(self, rule: Rule) -> None:
        """Take a rule away; what hangs by it is let go."""
        with self._changed:
            if rule in self._rules:
                self._rules.remove(rule)
            self._changed.notify_all()

    def clear(self) -> None:
        """Take all rules away: everything passes."""
        with self._changed:
            self._rules.clear()
            self._changed.notify_all()

    @contextmanager
    def ruled(self, effect: Effect, *, method: str | None = None, path: str = "") -> Iterator[Rule]:
        """Make a rule for the length of a block."""
        made = self.rule(effect, method=method, path=path)
        try:
            yield made
        finally:
            self.remove(made)

    # -- what it has seen

    @property
    def seen(self) -> list[Seen]:
        """Every request whose fate is sealed, in that order."""
        with self._changed:
            return list(self._seen)

    def count(self, *, method: str | None = None, path: str = "") -> int:
        """Return how many of these requests there were."""
        return sum(1 for seen in self.seen if method in (None, seen.method) and re.search(path, seen.path))

    # -- one request

    def _rule_for(self, method: str, path: str) -> Rule | None:
        with self._changed:
            return next((rule for rule in reversed(self._rules) if rule.claims(method, path)), None)

    def _note(self, seen: Seen) -> None:
        with self._changed:
            self._seen.append(seen)

    def _wait(self, rule: Rule, seconds: float | None, *, until_dropped: bool) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._server is None or (until_dropped and rule not in self._rules), seconds)

    def _ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> _Reply:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=UPSTREAM_TIMEOUT)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", f"{self._host}:{self._port}")
            for name, value in headers:
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            kept = [(name, self._own(name, value)) for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP]
            length = response.getheader("Content-Length") if method == "HEAD" else None
            return _Reply(response.status, response.reason, kept, response.read(), length)
        finally:
            connection.close()

    def _own(self, name: str, value: str) -> str:
        """Keep a client that is sent elsewhere at the service on this side of the proxy."""
        return value.replace(self.upstream, self.url, 1) if name.lower() == "location" else value


@dataclass(frozen=True)
class _Reply:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    length: str | None = None
    """What the answer to HEAD says that the body's length would be."""

    def to_bytes(self, *, with_body: bool) -> bytes:
        length = [] if self.status in _WITHOUT_BODY else [("Content-Length", self.length or str(len(self.body)))]
        head = [f"HTTP/1.1 {self.status} {self.reason}", *(f"{name}: {value}" for name, value in [*self.headers, *length]), "", ""]
        return "\r\n".join(head).encode("latin-1") + (self.body if with_body else b"")


def _server(proxy: FaultProxy, port: int) -> ThreadingHTTPServer:
    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that goes away is none of our business."""

    class Handler(_Handler):
        owner = proxy

    return Server(("127.0.0.1", port), Handler)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    owner: FaultProxy
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.owner._changed:
            self.owner._connections.add(self.connection)

    def finish(self) -> None:
        with self.owner._changed:
            self.owner._connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _respond(self) -> None:
        body = self._body()
        rule = self.owner._rule_for(self.command, self.path)
        effect = rule.effect if rule is not None else Pass()
        reply: _Reply | None = None
        if rule is not None and isinstance(effect, Hang):
            self.owner._wait(rule, effect.seconds, until_dropped=True)
        elif rule is not None and isinstance(effect, Delay):
            self.owner._wait(rule, effect.seconds, until_dropped=False)
        if not isinstance(effect, Drop | Hang | Answer):
            reply = self._forward(body)
        self.owner._note(Seen(self.command, self.path, effect, reply.status if reply is not None else None))
        self._send(effect, reply)

    def _send(self, effect: Effect, reply: _Reply | None) -> None:
        if isinstance(effect, Answer):
            reply = _Reply(effect.status, "Fault", [("Content-Type", "application/json"), *effect.headers.items()], effect.body)
        if reply is None:
            self._hang_up()
            return
        if isinstance(effect, Corrupt):
            reply = _Reply(reply.status, reply.reason, reply.headers, bytes(byte ^ 0xFF for byte in reply.body), reply.length)
        data = reply.to_bytes(with_body=self.command != "HEAD" and reply.status not in _WITHOUT_BODY)
        if isinstance(effect, Cut):
            self.wfile.write(data[: int(len(data) * effect.keep)])
            self._hang_up()
        else:
            self.wfile.write(data)

    def _forward(self, body: bytes) -> _Reply:
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP | {"host", "expect"}]
        try:
            return self.owner._ask(self.command, self.path, headers, body)
        except TimeoutError:
            return _Reply(504, "Gateway Timeout", [], b"")
        except (OSError, http.client.HTTPException) as error:
            return _Reply(502, "Bad Gateway", [("Content-Type", "text/plain")], f"the service does not answer: {error}".encode())

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        _reset(self.connection)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _respond  # noqa: N815 - the names that http.server looks for


def _reset(connection: socket.socket) -> None:
    """Have the client's end break at once: without lingering, closing a socket sends a reset."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()


__all__ = ["Answer", "Corrupt", "Cut", "Delay", "Drop", "Effect", "FaultProxy", "Hang", "Pass", "Rule", "Seen"]
