"""Where the wandb SDK finds a login on disk."""

from __future__ import annotations

import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

SERVICE = "https://api.wandb.ai"


def find_login_files(home: Path) -> Sequence[Path]:
    """Return the netrc files in `home` that have a login for the server that `WANDB_BASE_URL` names, or for W&B's own service."""
    machine = urlsplit(os.environ.get("WANDB_BASE_URL") or SERVICE).hostname or ""
    return [file for file in (home / ".netrc", home / "_netrc") if _knows_machine(file, machine)]


def _knows_machine(file: Path, machine: str) -> bool:
    try:
        return netrc.netrc(file).authenticators(machine) is not None
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        return False
