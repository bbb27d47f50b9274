"""The file in which people keep their login for Comet. Nothing is read but names."""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from pathlib import Path


def find_login_files(home: Path) -> Sequence[Path]:
    """Return `.comet.config` below the folder `home` where it has an API key: the option `api_key` of the section `comet`."""
    file = home / ".comet.config"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):  # Comet's SDK says what is wrong with it
        return ()
    return (file,) if parser.has_option("comet", "api_key") else ()
