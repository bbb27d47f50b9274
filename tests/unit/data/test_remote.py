"""Data at URLs: a web server of the test's own, fsspec's memory, and a place that does not answer."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from multitrack.data import remote
from multitrack.data.describe import find
from multitrack.data.digest import tree_digest
from multitrack.data.found import Entry, Found, Inquiry

CONTENT = b"x,y\n1,2\n"


def describe(data: Any, **options: Any) -> Found:
    return find(data)(Inquiry(**options))


class Handler(http.server.BaseHTTPRequestHandler):
    etag = '"v1"'
    asked: list[str]

    def do_HEAD(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        found = self.path.startswith("/d.csv")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(CONTENT) if found else 0))
        self.send_header("ETag", self.etag)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.path.startswith("/d.csv"):
            self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("Own", (Handler,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}", handler
        found.shutdown()


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def test_a_web_address_by_its_entity_tag(server: tuple[str, type[Handler]]) -> None:
    pytest.importorskip("aiohttp")
    url, handler = server
    found = describe(f"{url}/d.csv?access_token=abc")
    assert (found.digest, found.algorithm, found.size, found.source_type) == ("v1", "etag", 8, "http")
    assert found.uri == f"{url}/d.csv"
    assert found.failure is None
    handler.etag = '"v2"'
    assert describe(f"{url}/d.csv").digest == "v2"
    assert not any(asked.startswith("GET") for asked in handler.asked)


def test_its_content_where_that_is_asked_for(server: tuple[str, type[Handler]]) -> None:
    pytest.importorskip("aiohttp")
    found = describe(f"{server[0]}/d.csv", read=True)
    assert (found.digest, found.algorithm, found.size) == (hashlib.sha256(CONTENT).hexdigest(), "sha256", 8)


@pytest.mark.parametrize("read", [None, True])
def test_what_a_place_refuses_is_the_failure(server: tuple[str, type[Handler]], read: bool | None) -> None:
    pytest.importorskip("aiohttp")
    found = describe(f"{server[0]}/none?access_token=abcdef", read=read)
    assert (found.digest, found.uri) == (None, f"{server[0]}/none")
    assert (found.failure or "").startswith("FileNotFoundError")
    assert "abcdef" not in (found.failure or "")


def test_nobody_there() -> None:
    pytest.importorskip("aiohttp")
    assert describe("http://127.0.0.1:9/d.csv").failure is not None


def test_a_kind_of_place_that_nobody_knows() -> None:
    found = describe("nosuch://b/k")
    assert (found.uri, found.source_type) == ("nosuch://b/k", "nosuch")
    assert "nosuch" in (found.failure or "")


def test_a_place_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(remote, "PATIENCE", 0.2)
    monkeypatch.setattr(type(memory), "info", lambda *_, **__: go_on.wait(20))
    start = time.monotonic()
    found = describe("memory://d.csv")
    go_on.set()
    assert found.failure == "TimeoutError: no answer within 0 s"
    assert time.monotonic() - start < 10


def test_a_folder_and_a_pattern(memory: Any) -> None:
    for name in ("a.csv", "sub/b.csv", "c.txt"):
        memory.pipe(f"/d/{name}", name.encode())
    found = describe("memory://d", read=True)
    assert [file.path for file in found.files] == ["a.csv", "c.txt", "sub/b.csv"]
    assert (found.digest, found.algorithm) == (tree_digest(found.files), "sha256-tree")
    assert [file.path for file in describe("memory://d/**/*.csv", read=True).files] == ["a.csv", "sub/b.csv"]
    assert describe("memory://d/*.none").failure is not None


def test_a_folder_has_one_digest_here_and_there(memory: Any, tmp_path: Path) -> None:
    for name in ("a.csv", "sub/b.csv"):
        memory.pipe(f"/d/{name}", name.encode())
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert describe("memory://d", read=True).digest == describe(tmp_path).digest


def test_without_reading_times_stand_in_where_there_is_nothing_better(memory: Any) -> None:
    memory.pipe("/d/a", b"1")
    one = describe("memory://d")
    assert one.algorithm == "modified-tree"
    assert describe("memory://d").digest == one.digest
    time.sleep(0.01)
    memory.pipe("/d/a", b"2")
    assert describe("memory://d").digest != one.digest
    assert describe("memory://d/a").algorithm == "modified"


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"ETag": '"abc-2"', "VersionId": "v7", "size": 3}, ("etag", "abc-2", "v7")),  # S3
        ({"ETag": '"abc"', "VersionId": None}, ("etag", "abc", None)),
        ({"etag": "CJ", "md5Hash": base64.b64encode(bytes(16)).decode(), "generation": "17"}, ("md5", "00" * 16, "17")),  # Google
        ({"etag": "0x8D", "content_settings": {"content_md5": bytearray(16)}}, ("md5", "00" * 16, None)),  # Azure
        ({"lfs": {"sha256": "ab"}}, ("sha256", "ab", None)),  # Hugging Face
        ({"blob_id": "cd"}, ("blob_id", "cd", None)),
        ({"mtime": 1.5}, ("modified", "1.5", None)),
        ({"size": 3}, (None, None, None)),
    ],
)
def test_what_places_tell(info: dict[str, Any], expected: tuple[str | None, str | None, str | None]) -> None:
    found = remote._told([{"name": "k", **info}], None, Found())
    assert (found.algorithm, found.digest, found.version) == expected


def test_options_reach_the_place_and_are_not_recorded(memory: Any) -> None:
    memory.pipe("/a", b"1")
    found = describe("memory://a", storage_options={"secret": "hunter2secret"})
    assert found.failure is None
    assert "hunter2secret" not in repr(found)


def test_the_digest_of_files_is_the_rule() -> None:
    files = [Entry("b", 1, "00"), Entry("a", 2, None)]
    assert tree_digest(files) == hashlib.sha256(b"- 2 a\x0000 1 b\0").hexdigest()
