"""Which wandb is installed. Its transaction log is a private format: no other version's than those that were tried is read or written."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from multitrack.errors import MissingExtraError

SUPPORTED = "0.31"


def check_version() -> None:
    """Make sure that the installed wandb is one whose transaction log we know.

    Raises:
        MissingExtraError: it is not, or there is none.
    """
    try:
        found = version("wandb")
    except PackageNotFoundError:
        found = "none"
    if found.split(".")[:2] != SUPPORTED.split("."):
        raise MissingExtraError(
            f"wandb {SUPPORTED} is needed and {found} is installed: its transaction log is a private format, "
            f"which changes with the version. pip install 'multitrack[wandb]'"
        )
