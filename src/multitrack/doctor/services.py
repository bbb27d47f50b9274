"""The targets: whether they are there, and let us in. They are asked by processes of their own, so that no SDK is imported here."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path

import orjson

from ..config import Settings, Target
from ..config.targets import secret_fields, vendor_variables
from ..courier import LOGIN_REFUSED, UNREACHABLE
from ..errors import ConfigError
from ..registry import find_backend
from .finding import Finding, Level

_AT_A_TIME = 8
_CLOCK_TIMEOUT = 5.0
_SKEW = 60.0
"""Seconds by which two clocks may differ before it shows in the order of runs."""


def check_services(settings: Settings, env: Mapping[str, str], timeout: float) -> Iterator[Finding]:
    """Yield what each target says: those that runs go to, and those that are defined besides."""
    if not settings.targets and not settings.sources.target_names():
        yield Finding("targets", "none", "ok", "runs stay in the local store")
        return
    used = {target.name for target in settings.targets}
    targets = list(settings.targets)
    for name in settings.sources.target_names():
        if name not in used:
            try:
                targets.append(settings.target(name, installed=False))
            except ConfigError as error:
                yield Finding("targets", name, "warn", str(error), "correct it, or remove it from the configuration")
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        asked = pool.map(lambda target: _ask(target, timeout, used=target.name in used), targets)
        clocks = pool.map(_check_clock, targets)
        for target, answer, clock in zip(targets, asked, clocks, strict=True):
            yield answer
            yield Finding("targets", target.name, "ok", f"login: {_logins(target, env)}")
            if clock is not None:
                yield clock


def _ask(target: Target, timeout: float, *, used: bool) -> Finding:
    bad: Level = "fail" if used else "warn"
    asked = orjson.dumps({"target": target.public(), "secrets": target.secrets()})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "multitrack.courier", "--check"], input=asked, capture_output=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        late = f"{target.address}: no answer within {timeout:g} s"
        return Finding(
            "targets", target.name, bad, late, "is it up, and is the network? Runs are kept until it answers; --timeout waits longer"
        )
    lines = (done.stdout if done.returncode == 0 else done.stderr).decode("utf-8", "replace").strip().splitlines()
    said = lines[-1] if lines else f"the check ended with {done.returncode} and said nothing"
    if done.returncode == 0:
        return Finding("targets", target.name, "ok", said)
    return Finding("targets", target.name, bad, said, _remedy(target, done.returncode))


def _remedy(target: Target, code: int) -> str | None:
    if code == LOGIN_REFUSED:
        secrets = secret_fields(find_backend(target.backend).settings_type)
        return f"correct its login ({', '.join(secrets) or 'see its own documentation'}); `multitrack config` shows where each comes from"
    if code == UNREACHABLE:
        return "nothing is lost: runs are kept, and `multitrack sync` delivers them once it is back"
    return None


def _logins(target: Target, env: Mapping[str, str]) -> str:
    """Return where the target's secrets come from, never what they are."""
    backend = find_backend(target.backend)
    found = []
    for name in secret_fields(backend.settings_type):
        if name in target.origins:
            found.append(f"{name} from {target.origins[name]}")
        elif theirs := [variable for variable in vendor_variables(backend, name) if env.get(variable)]:
            found.append(f"{name} from {theirs[0]}")
    home = env.get("HOME")
    files = backend.login_files(target.location, Path(home)) if home else ()
    found += [f"one in {file}" for file in files]
    return "; ".join(found) or "none is set here"


def _check_clock(target: Target) -> Finding | None:
    """Return a finding if the server's clock and ours differ; by the Date that every web server answers with, whatever it answers."""
    if target.location is None or not target.location.startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(target.location, method="HEAD")  # noqa: S310 - http or https, as was just seen
    try:
        with urllib.request.urlopen(request, timeout=_CLOCK_TIMEOUT) as answer:  # noqa: S310
            text = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        text = error.headers.get("Date")
    except (OSError, ValueError):  # the check tells
        return None
    try:
        ahead = time.time() - parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
    if abs(ahead) < _SKEW:
        return None
    skew = f"this machine's clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    return Finding("targets", target.name, "warn", skew, "set the clock (NTP): times of runs are this machine's")
