"""Weights & Biases: its service, servers of one's own, and the offline folders that its SDK writes.

Importing this package imports no wandb.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, cast

from multitrack.backend import ALL_KINDS, Backend, Capabilities, NameRule, Sink, Source

from . import names
from .location import folder_of, resolve
from .settings import WandbSettings

__all__ = ["WandbBackend", "WandbSettings"]

_TEXT = r"^\x00\ud800-\udfff"
"""wandb-core's messages are UTF-8."""
_FILE = NameRule(
    max_length=250,
    allowed=r"^\x00-\x1f\x7f\\\ud800-\udfff",
    path=True,
    leaf_or_folder=True,
    reserved=("..", *names.WANDB_FILES),
)
"""Run files lie on a disk before they are uploaded; some names are W&B's own."""


class WandbBackend(Backend):
    """A project or an entity at W&B, or a folder of offline runs."""

    name = "wandb"
    label = "Weights & Biases"
    extra = "wandb"
    requires = ("wandb",)
    settings_type = WandbSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=ALL_KINDS - {"model"},
        metric_names=NameRule(allowed=_TEXT, reserved=names.RESERVED_METRICS),
        param_names=NameRule(allowed=_TEXT, reserved=names.RESERVED_PARAMS),
        tag_names=NameRule(allowed=_TEXT),
        artifact_names=_FILE,
        largest_int=names.EXACT_INTS,
        text_length=1_000_000,  # W&B: values under 1 MB; wandb-core leaves a row of more than 10 MiB out
        finite_params=True,
    )

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str | None:
        """Return the location with folders made absolute; see `location.resolve`."""
        return resolve(location, base)

    @classmethod
    def login_files(cls, location: str | None, home: Path) -> Sequence[Path]:
        """Return netrc where it has a login for W&B's service; a folder needs none."""
        from .login_files import find_login_files

        return () if folder_of(location) is not None else find_login_files(home)

    def check(self) -> str:
        """Ask who we are; return a line like `W&B at https://api.wandb.ai, as alice`. Of a folder: what is in it."""
        folder = folder_of(self.location)
        if folder is not None:
            from .offline_source import check_folder

            return check_folder(folder)
        from .client import check

        return check(self.location, self._settings)

    def sink(self) -> Sink:
        """Return a sink for one run."""
        folder = folder_of(self.location)
        if folder is not None:
            from .offline_sink import OfflineSink

            return OfflineSink(folder)
        from .sink import WandbSink

        return WandbSink(self.location, self._settings)

    def source(self) -> Source:
        """Return a source."""
        folder = folder_of(self.location)
        if folder is not None:
            from .offline_source import OfflineSource

            return OfflineSource(folder)
        from .source import WandbSource

        return WandbSource(self.location, self._settings)

    @property
    def _settings(self) -> WandbSettings:
        return cast(WandbSettings, self.settings)
