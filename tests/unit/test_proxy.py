"""The fault proxy in front of a small service."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from multitrack.testing.proxy import Answer, Corrupt, Cut, Delay, Drop, FaultProxy, Hang, Pass
from support.http_answers import Answer as Reply
from support.http_answers import AnsweringServer, Question


def echo(question: Question) -> Reply:
    if question.path == "/elsewhere":
        return Reply(302, b"", {"Location": f"http://{question.headers['Host']}/here"})
    return Reply(200, question.method.encode() + b" " + question.path.encode() + b" " + question.body, {"X-Kept": "yes"})


@pytest.fixture
def service() -> Iterator[AnsweringServer]:
    with AnsweringServer(echo) as server:
        yield server


@pytest.fixture
def proxy(service: AnsweringServer) -> Iterator[FaultProxy]:
    with FaultProxy(service.url) as made:
        yield made


def ask(proxy: FaultProxy, path: str = "/x", *, method: str = "GET", body: bytes | None = None, timeout: float = 5) -> bytes:
    request = urllib.request.Request(proxy.url + path, data=body, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return bytes(answer.read())


def status(proxy: FaultProxy, path: str = "/x") -> int:
    try:
        ask(proxy, path)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_without_a_rule_everything_passes(proxy: FaultProxy, service: AnsweringServer) -> None:
    assert ask(proxy, "/a?b=c") == b"GET /a?b=c "
    assert ask(proxy, "/a", method="POST", body=b"data") == b"POST /a data"
    assert ask(proxy, "/a", method="DELETE") == b"DELETE /a "
    assert service.questions[1].headers["Host"] == service.url.removeprefix("http://")
    assert [(seen.method, seen.path, seen.status) for seen in proxy.seen] == [
        ("GET", "/a?b=c", 200), ("POST", "/a", 200), ("DELETE", "/a", 200)
    ]  # fmt: skip
    assert proxy.count(method="POST") == 1


def test_a_connection_is_kept_and_a_chunked_body_is_read(proxy: FaultProxy) -> None:
    client = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=5)
    ports = set()
    for _ in range(3):
        client.request("POST", "/a", body=iter([b"one", b"two"]), headers={"Transfer-Encoding": "chunked"}, encode_chunked=True)
        answer = client.getresponse()
        assert (answer.read(), answer.headers["X-Kept"]) == (b"POST /a onetwo", "yes")
        ports.add(client.sock.getsockname()[1])
    client.close()
    assert len(ports) == 1


def test_a_client_that_is_sent_elsewhere_stays_at_the_proxy(proxy: FaultProxy) -> None:
    assert ask(proxy, "/elsewhere") == b"GET /here "
    assert proxy.count(path="/here") == 1


@pytest.mark.parametrize("effect", [Drop(), Cut(), Cut(keep=0.9)])
def test_connections_break(proxy: FaultProxy, service: AnsweringServer, effect: Drop | Cut) -> None:
    with proxy.ruled(effect), pytest.raises((ConnectionError, http.client.HTTPException, urllib.error.URLError)):
        ask(proxy)
    assert len(service.questions) == (0 if isinstance(effect, Drop) else 1)  # whether the service has acted on it is the difference
    assert ask(proxy) == b"GET /x "


def test_answers_of_its_own(proxy: FaultProxy, service: AnsweringServer) -> None:
    with proxy.ruled(Answer(429, {"Retry-After": "7"})), pytest.raises(urllib.error.HTTPError) as error:
        ask(proxy)
    assert (error.value.code, error.value.headers["Retry-After"]) == (429, "7")
    assert not service.questions


def test_a_damaged_answer(proxy: FaultProxy) -> None:
    with proxy.ruled(Corrupt()):
        assert bytes(byte ^ 0xFF for byte in ask(proxy)) == b"GET /x "


def test_a_delay(proxy: FaultProxy) -> None:
    with proxy.ruled(Delay(0.3)):
        began = time.monotonic()
        assert ask(proxy) == b"GET /x "
    assert time.monotonic() - began >= 0.3


def test_what_hangs_is_let_go_when_the_rule_goes(proxy: FaultProxy, service: AnsweringServer) -> None:
    rule = proxy.rule(Hang())
    with pytest.raises(TimeoutError):
        ask(proxy, timeout=0.3)
    broken: list[Exception] = []

    def wait() -> None:
        try:
            ask(proxy, timeout=30)
        except (OSError, http.client.HTTPException) as error:
            broken.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    while rule.matched < 2:
        time.sleep(0.01)
    proxy.clear()
    waiting.join(5)
    assert broken
    assert not service.questions


def test_rules_say_which_requests_and_how_many(proxy: FaultProxy) -> None:
    proxy.rule(Answer(401), after=2)
    assert [status(proxy) for _ in range(4)] == [200, 200, 401, 401]
    proxy.clear()
    proxy.rule(Answer(503), path="/runs/", times=2)
    assert [status(proxy, path) for path in ("/other", "/runs/1", "/runs/2", "/runs/3")] == [200, 503, 503, 200]
    proxy.rule(Answer(500))
    proxy.rule(Pass(), path="/health")
    assert [status(proxy, path) for path in ("/health", "/x")] == [200, 500]
    proxy.clear()
    proxy.rule(Answer(500), method="POST")
    assert status(proxy) == 200


def test_a_closed_door_refuses_and_opens_on_the_same_port(proxy: FaultProxy) -> None:
    url = proxy.url
    proxy.stop()
    with pytest.raises(urllib.error.URLError, match="refused"):
        ask(proxy)
    proxy.start()
    assert proxy.url == url
    assert ask(proxy) == b"GET /x "


def test_a_service_that_is_away_is_a_bad_gateway() -> None:
    with AnsweringServer(echo) as service:
        pass
    with FaultProxy(service.url) as proxy:
        assert status(proxy) == 502


def test_the_address_must_be_one() -> None:
    with pytest.raises(ValueError, match="http://127"):
        FaultProxy("sqlite:///x")
