"""Connections: whose login goes where, what becomes of errors, and what `check` says."""

from __future__ import annotations

import base64
import json
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from pydantic import SecretStr

from multitrack.errors import AuthError, BackendError, ConfigError, PermanentError, TransientError
from multitrack_mlflow import MLflowBackend, MLflowSettings
from multitrack_mlflow.client import connect, translated
from support.http_answers import Answer, AnsweringServer, Question
from support.mlflow_server import MLflowServer, free_port

pytestmark = pytest.mark.slow

RUN = {"info": {"run_id": "1" * 32, "experiment_id": "1", "artifact_uri": "mlflow-artifacts:/1/x/artifacts", "status": "RUNNING"}}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def login(user: str, password: str) -> MLflowSettings:
    return MLflowSettings(username=user, password=SecretStr(password))


def answer_like_mlflow(question: Question) -> Answer:
    return Answer(body=json.dumps({"run": RUN}).encode()) if "/runs/get" in question.path else Answer()


def always(status: int, body: bytes = b"no", **headers: str) -> Callable[[Question], Answer]:
    return lambda _: Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def refusal_of(answer: Callable[[Question], Answer]) -> BackendError:
    """What a client's call raises at a server that answers so."""
    with AnsweringServer(answer) as server, pytest.raises(BackendError) as refusal, translated("asking"):
        connect(server.url, MLflowSettings()).search_experiments()
    return refusal.value


# -- logins -----------------------------------------------------------------------------------------------------------


def test_each_target_gets_its_own_login_and_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four targets at two servers, used at once, for tracking calls and artifacts alike."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "env")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "env-secret")
    (tmp_path / "f").write_text("x")
    expected = {
        "alice": basic("alice", "a:pä ss"),
        "bob": basic("bob", "b"),
        "token": "Bearer t0ken",
        "nobody": basic("env", "env-secret"),
    }
    settings = {
        "alice": login("alice", "a:pä ss"),
        "bob": login("bob", "b"),
        "token": MLflowSettings(token=SecretStr("t0ken")),
        "nobody": MLflowSettings(),
    }
    with AnsweringServer(answer_like_mlflow) as one, AnsweringServer(answer_like_mlflow) as two:

        def use(who: str) -> None:
            client = connect((one if who in {"alice", "token"} else two).url, settings[who])
            for _ in range(5):
                client.set_tag(who, "k", who)  # the client remembers by a run's id where its artifacts go, so each has a run of its own
                client.log_artifact(who, str(tmp_path / "f"), f"of-{who}")
                client.list_artifacts(who, f"of-{who}")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(use, expected))
        asked = [*one.questions, *two.questions]
    seen = {who: [q for q in asked if f"of-{who}" in q.path or f'"run_id": "{who}"' in q.body.decode()] for who in expected}
    assert {who: {question.headers["Authorization"] for question in found} for who, found in seen.items()} == {
        who: {header} for who, header in expected.items()
    }
    assert all({"POST", "PUT", "GET"} == {question.method for question in found} for found in seen.values())
    assert all("multitrack-" not in f"{question.headers} {question.path}" for question in asked), "what tells the logins apart is not sent"


def test_a_login_is_not_written_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with AnsweringServer(answer_like_mlflow) as server:
        connect(server.url, login("alice", "s3cret-of-alice")).search_experiments()
    assert "s3cret-of-alice" not in str(dict(os.environ))


def test_an_authentication_plugin_that_the_user_chose_keeps_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
    from mlflow.tracking.request_auth.registry import _request_auth_provider_registry as registry

    class Chosen(RequestAuthProvider):  # type: ignore[misc]
        def get_name(self) -> str:
            return "chosen"

        def get_auth(self) -> requests.auth.AuthBase:
            return requests.auth.HTTPBasicAuth("chosen", "c")

    registry.register(Chosen)
    monkeypatch.setattr(registry, "_registry", [p for p in registry if p.get_name() != "multitrack"])
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", "chosen")
    with AnsweringServer(answer_like_mlflow) as server:
        connect(server.url, login("alice", "a")).search_experiments()
        connect(server.url, MLflowSettings()).search_experiments()
    assert [question.headers["Authorization"] for question in server.questions] == [basic("alice", "a"), basic("chosen", "c")]


def test_a_login_that_cannot_be_used_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="lacks its username"):
        connect("http://127.0.0.1:1", MLflowSettings(password=SecretStr("x")))
    with pytest.raises(ConfigError, match="lacks its password"):
        connect("http://127.0.0.1:1", MLflowSettings(username="alice"))
    with pytest.raises(ConfigError, match="databricks takes no"):
        connect("databricks", MLflowSettings(token=SecretStr("x")))


def test_the_users_own_limits_stay_and_a_targets_go_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack_mlflow.client._asked", {})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    connect("http://127.0.0.1:1", MLflowSettings())
    assert (os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"], os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) == ("7", "1")
    connect("http://127.0.0.1:1", MLflowSettings(timeout=30, retries=3))
    connect("http://127.0.0.1:1", MLflowSettings(timeout=20))
    connect("http://127.0.0.1:1", MLflowSettings())
    assert (os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"], os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) == ("30", "3")


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 409])
def test_answers_that_may_change_are_transient(status: int) -> None:
    assert type(refusal_of(always(status))) is TransientError


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("body", [b"plain text", b'{"error_code": "PERMISSION_DENIED", "message": "no"}'])
def test_a_refused_login_is_an_auth_error_that_names_the_remedy(status: int, body: bytes) -> None:
    error = refusal_of(always(status, body))
    assert type(error) is AuthError
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in str(error)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "bad"}'),
        (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}'),
        (404, b"<html>not here</html>"),
        (501, b"not implemented"),
        (413, b"too large"),
    ],
)
def test_answers_that_will_not_change_are_permanent(status: int, body: bytes) -> None:
    assert type(refusal_of(always(status, body))) is PermanentError


def test_what_somebody_else_writes_at_the_same_moment_is_written_later() -> None:
    said = b'{"error_code": "BAD_REQUEST", "message": "(sqlite3.IntegrityError) UNIQUE constraint failed: tags.key, tags.run_uuid"}'
    assert type(refusal_of(always(400, said))) is TransientError


def test_a_login_page_on_the_way_is_an_outage() -> None:
    error = refusal_of(always(200, b"<html>Welcome to our hotel</html>"))
    assert type(error) is TransientError
    assert "something answers that is not MLflow" in str(error)
    assert "hotel" not in str(error)


@pytest.mark.timeout(10)
def test_no_answer_is_transient_within_seconds() -> None:
    with pytest.raises(TransientError), translated("asking"):
        connect(f"http://127.0.0.1:{free_port()}", MLflowSettings()).search_experiments()


@pytest.mark.timeout(10)
def test_a_database_that_does_not_answer_is_transient_within_seconds() -> None:
    """Without the password in the message, which stands in the URL that SQLAlchemy is given."""
    settings = MLflowSettings(password=SecretStr("s3cret"))
    with pytest.raises(TransientError, match="connecting to postgresql://me@") as refusal:
        connect(f"postgresql://me@127.0.0.1:{free_port()}/mlflow", settings)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.timeout(10)
def test_a_file_that_is_no_database_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database, and longer than the header of one" * 50)
    with pytest.raises(PermanentError, match="not a database"):
        connect(f"sqlite:///{tmp_path / 'mlflow.db'}", MLflowSettings())


def test_mlflows_client_waits_for_retry_after_itself() -> None:
    turns = iter([Answer(429, b"later", {"Retry-After": "1"}), Answer()])
    began = time.monotonic()
    with AnsweringServer(lambda _: next(turns)) as server:
        connect(server.url, MLflowSettings()).search_experiments()
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize(("value", "expected"), [("17", 17.0), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0), (None, None)])
def test_retry_after_is_passed_on_where_the_answer_is_at_hand(value: str | None, expected: float | None) -> None:
    headers = {} if value is None else {"Retry-After": value}
    with (
        AnsweringServer(lambda _: Answer(429, b"", headers)) as server,
        pytest.raises(TransientError) as refusal,
        translated("uploading"),
    ):
        requests.get(server.url, timeout=5).raise_for_status()
    assert refusal.value.retry_after == expected


def test_messages_and_tracebacks_hold_no_login() -> None:
    with pytest.raises(TransientError) as refusal, translated("asking"):
        raise ConnectionError("postgresql://me:s3cret@db/mlflow is down")
    assert str(refusal.value) == "asking: postgresql://db/mlflow is down"
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError("late"), TransientError),
        (OSError(28, "No space left on device"), TransientError),
        (PermissionError(13, "denied"), PermanentError),
        (FileNotFoundError(2, "gone"), PermanentError),
        (ValueError("bad"), PermanentError),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), PermanentError),
        (requests.exceptions.SSLError("certificate verify failed: CERTIFICATE_VERIFY_FAILED"), PermanentError),
        (requests.exceptions.SSLError("EOF occurred"), TransientError),
        (requests.exceptions.MissingSchema("no scheme"), PermanentError),
        (AuthError("ours"), AuthError),
    ],
)
def test_other_errors_are_told_apart(error: Exception, kind: type[BackendError]) -> None:
    with pytest.raises(kind) as refusal, translated("doing it"):
        raise error
    assert type(refusal.value) is kind


def test_a_missing_database_driver_is_named_with_its_pip_line() -> None:
    with pytest.raises(PermanentError, match=r"pip install 'multitrack\[postgresql\]'"), translated("connecting"):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")


# -- check ------------------------------------------------------------------------------------------------------------


def test_check_tells_version_and_name(server_uri: str) -> None:
    import mlflow

    assert MLflowBackend(server_uri).check() == f"MLflow {mlflow.__version__} at {server_uri}"
    assert MLflowBackend(server_uri, login("alice", "a")).check() == f"MLflow {mlflow.__version__} at {server_uri}, as alice"


@pytest.mark.timeout(10)
def test_check_tells_apart_what_is_wrong() -> None:
    with pytest.raises(TransientError):
        MLflowBackend(f"http://127.0.0.1:{free_port()}").check()
    with AnsweringServer(always(401)) as server, pytest.raises(AuthError):
        MLflowBackend(server.url).check()
    for answer in (always(404), always(200, b"<html>Jenkins</html>"), always(405)):
        with AnsweringServer(answer) as server, pytest.raises(PermanentError, match="is the address right"):
            MLflowBackend(server.url).check()
    with AnsweringServer(always(503)) as server, pytest.raises(TransientError):
        MLflowBackend(server.url).check()


def test_check_makes_no_database_and_no_folder(tmp_path: Path, sqlite_uri: str) -> None:
    assert "the first run makes it" in MLflowBackend(f"sqlite:///{tmp_path / 'new.db'}").check()
    assert MLflowBackend(sqlite_uri).check() == f"MLflow store at {sqlite_uri}"
    with pytest.raises(PermanentError, match="no folder"):
        MLflowBackend(str(tmp_path / "mlruns")).check()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db"]


# -- a server with users ----------------------------------------------------------------------------------------------


def test_mlflows_own_basic_auth(tmp_path: Path) -> None:
    """Two users of one server in one process; a wrong password; none."""
    pytest.importorskip("flask_wtf", reason="needs mlflow[auth]")
    env = {"MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": "password-1234", "MLFLOW_FLASK_SERVER_SECRET_KEY": "k"}
    with MLflowServer(tmp_path / "auth", arguments=("--app-name", "basic-auth"), env=env) as server:
        admin = MLflowBackend(server.url, login("admin", "password-1234"))
        assert admin.check().endswith("as admin")
        for settings in (MLflowSettings(), login("admin", "wrong"), MLflowSettings(token=SecretStr("x"))):
            with pytest.raises(AuthError):
                MLflowBackend(server.url, settings).check()
            with pytest.raises(AuthError), translated("asking"):
                connect(server.url, settings).search_experiments()
        assert admin.check().endswith("as admin")


def test_a_server_that_is_not_there_is_said_in_a_few_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    client = connect(f"http://127.0.0.1:{port}", MLflowSettings(retries=0))
    with pytest.raises(TransientError) as told, translated("asking"):
        client.search_experiments()
    assert str(told.value) == f"asking: 127.0.0.1:{port} cannot be reached: connection refused"
