"""Where an MLflow target is: locations, checked and made absolute. Pure but for two environment variables that are read.

A location is written to disk and shown, so it never holds a password. One that comes in `MLFLOW_TRACKING_URI` is left out of the
location, and `complete` puts it back in when the client is made.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from multitrack.errors import ConfigError

from .settings import MLflowSettings

SERVERS = ("postgresql", "mysql", "mssql")
"""Databases that one logs in to."""
DATABASES = (*SERVERS, "sqlite")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_PLUGIN_GROUP = "mlflow.tracking_store"
_SECRET_KEYS = frozenset({"password", "passwd", "pwd", "odbc_connect", "sslpassword"})
"""Keys of a database URL's query that hold a secret or may."""

LOGIN_REMEDY = (
    "give the login in the target's settings (username, password, token; as variables MULTITRACK_<TARGET>__PASSWORD, ...) "
    "or in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
)
FORMS = (
    "http://HOST:PORT, sqlite:///FILE, postgresql://HOST/DATABASE, databricks, databricks://PROFILE, a folder such as ./mlruns, "
    "or a URI that an installed MLflow plugin knows"
)


def resolve(location: str | None, base: Path) -> str:
    """Return the location without anything relative or secret in it.

    None is `MLFLOW_TRACKING_URI`, where that is set, as it is for MLflow itself; else the file `mlflow.db` in `base`.

    Raises:
        ConfigError: it is no MLflow location, or it holds a password.
    """
    if location is None:
        given = os.environ.get("MLFLOW_TRACKING_URI")
        return _checked(without_secrets(given), base) if given else f"sqlite:///{base.absolute() / 'mlflow.db'}"
    if without_secrets(location) != location:
        raise ConfigError(f"mlflow: the location {without_secrets(location)} holds a password, and locations are shown; {LOGIN_REMEDY}")
    return _checked(location, base)


def _checked(location: str, base: Path) -> str:
    if location.startswith((".", "/", "~")):
        return _folder(location, base)
    match = _SCHEME.fullmatch(location)
    scheme, rest = (match[1].lower(), match[2]) if match else ("", "")
    if scheme == "file":
        return _folder(urlsplit(location).path, base)
    if scheme in {"http", "https"}:
        return _web(location)
    if scheme.partition("+")[0] == "sqlite":
        return _sqlite(location, base)
    if not _is_taken_as_it_is(location, scheme, rest):
        raise ConfigError(f"mlflow: {location!r} is no MLflow location.{_guess(location, scheme)} Known forms: {FORMS}")
    return location


def _is_taken_as_it_is(location: str, scheme: str, rest: str) -> bool:
    if scheme.partition("+")[0] in {*DATABASES, "databricks"}:
        return rest.startswith("//") and len(rest) > 2
    return location == "databricks" or scheme in _plugin_schemes()


def _folder(path: str, base: Path) -> str:
    return str(Path(os.path.normpath(base.absolute() / Path(path).expanduser())))


def _web(location: str) -> str:
    try:
        parts = urlsplit(location)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"mlflow: {location!r} has no usable host and port; write it like http://127.0.0.1:5000")
    if parts.query or parts.fragment:
        raise ConfigError(f"mlflow: {location!r} is the address of a page; the server's is {parts.scheme}://{parts.netloc}")
    return location.rstrip("/")


def _sqlite(location: str, base: Path) -> str:
    head, slashes, path = location.partition(":///")
    if not slashes or not path:
        raise ConfigError(
            f"mlflow: {location!r} names no file; write sqlite:///mlflow.db, or sqlite:////var/lib/mlflow.db when it is absolute"
        )
    path, mark, query = path.partition("?")
    return f"{head}:///{_folder(path, base)}{mark}{query}"


def _plugin_schemes() -> frozenset[str]:
    from importlib.metadata import entry_points

    return frozenset(found.name for found in entry_points(group=_PLUGIN_GROUP))


def _guess(location: str, scheme: str) -> str:
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", location):
        return f" Did you mean http://{location}?"
    if scheme in {"htp", "htpp", "hhtp", "htttp", "ttp"}:
        return f" Did you mean http:{location.partition(':')[2]}?"
    if scheme == "postgres":
        return f" Did you mean postgresql:{location.partition(':')[2]}?"
    if scheme in {"arn", "azureml"}:
        package = {"arn": "sagemaker-mlflow", "azureml": "azureml-mlflow"}[scheme]
        return f" Its plugin is missing: pip install {package}."
    if not scheme and (location.endswith(".db") or location == "mlruns"):
        return f" Did you mean {'sqlite:///' + location if location.endswith('.db') else './' + location}?"
    return ""


def without_secrets(uri: str) -> str:
    """Return the URI without a password, and for the web without a user name, which nobody writes but as part of a login."""
    parts = _split(uri)
    if parts is None:
        return uri
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme in {"http", "https"}:
        user, at = "", ""
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key.lower() not in _SECRET_KEYS])
    if len(parse_qsl(query)) == len(parse_qsl(parts.query)):
        query = parts.query
    return parts._replace(netloc=user.partition(":")[0] + at + host, query=query).geturl()


def _split(uri: str) -> SplitResult | None:
    """Return the parts of a URI that may hold a login, None for any other."""
    if re.match(rf"(https?|{'|'.join(SERVERS)})(\+\w+)?://", uri) is None:
        return None
    return urlsplit(uri)


def complete(location: str, settings: MLflowSettings) -> tuple[str, MLflowSettings]:
    """Return the location with a database's login in it, and the settings with a web server's.

    A login comes from the settings, else from `MLFLOW_TRACKING_URI` where that names the same location. The result is for the
    memory of this process only.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    same = given != location and without_secrets(given).rstrip("/") == location
    parts = _split(given if same else location)
    if parts is None:
        return location, settings
    user, password = settings.username, settings.password.get_secret_value() if settings.password else None
    if parts.scheme in {"http", "https"}:
        if same and not password and settings.token is None:
            settings = settings.model_validate(
                {**settings.model_dump(), "username": _unquote(parts.username), "password": _unquote(parts.password)}
            )
        return location, settings
    user = quote(user, safe="") if user else parts.username
    password = quote(password, safe="") if password else parts.password
    host = parts.netloc.rpartition("@")[2]
    login = (user or "") + (f":{password}" if password else "")
    return parts._replace(netloc=f"{login}@{host}" if login else host).geturl(), settings


def _unquote(text: str | None) -> str | None:
    from urllib.parse import unquote

    return unquote(text) if text else None


def folder_of(location: str) -> Path | None:
    """Return the folder of a file store; None when the location is something else."""
    return Path(location) if location.startswith("/") else None


def sqlite_file(location: str) -> Path | None:
    """Return the file of a sqlite location; None when the location is something else."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", location)
    return Path(match[1]) if match else None
