"""The files in which people keep logins for MLflow, as MLflow's client and the libraries below it look for them. Nothing is read but names.

~/.mlflow/credentials   MLflow: the section `mlflow`
~/.databrickscfg        Databricks: the profile that the location names (`databricks://PROFILE`), else `DEFAULT`
~/.netrc, ~/_netrc      requests: the machine that the location names
"""

from __future__ import annotations

import configparser
import netrc
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit


def find_login_files(location: str | None, home: Path) -> Sequence[Path]:
    """Return those below the folder `home` that hold a login for this location, in the order in which they count."""
    if location is None:
        return ()
    if location == "databricks" or location.startswith(("databricks://", "databricks-uc")):
        profile = urlsplit(location).netloc.partition(":")[0] or configparser.DEFAULTSECT
        return [file for file in (home / ".databrickscfg",) if _has_section(file, profile)]
    if not location.startswith(("http://", "https://")):
        return ()
    machine = urlsplit(location).hostname or ""
    own = home / ".mlflow" / "credentials"
    found = [own] if _has_section(own, "mlflow") else []
    return found + [file for file in (home / ".netrc", home / "_netrc") if _knows_machine(file, machine)]


def _has_section(file: Path, name: str) -> bool:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):  # MLflow and Databricks say what is wrong with it
        return False
    return bool(parser.defaults()) if name == configparser.DEFAULTSECT else parser.has_section(name)


def _knows_machine(file: Path, machine: str) -> bool:
    try:
        return netrc.netrc(file).authenticators(machine) is not None
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        return False
