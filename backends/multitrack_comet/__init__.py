"""Comet: its service, servers of one's own, and the archives of offline experiments.

Importing this package imports no comet_ml, and archives need none: it replaces `sys.excepthook` and patches other libraries as soon as it
is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, cast

from multitrack.backend import ALL_KINDS, Backend, Capabilities, NameRule, Sink, Source

from . import names
from .location import path_of, resolve
from .settings import CometSettings

__all__ = ["CometBackend", "CometSettings"]

_TEXT = r"^\x00\ud800-\udfff"
"""Names travel as JSON in UTF-8."""
_NAME = NameRule(max_length=names.MAX_NAME, allowed=_TEXT, ignores_case=True)
"""Comet's SDK cuts names at 100 characters. Whether its service tells `Loss` from `loss` is nowhere said: they are kept apart."""
_FILE = NameRule(max_length=250, allowed=r"^\x00-\x1f\x7f\\\ud800-\udfff", path=True)


class CometBackend(Backend):
    """A project or a workspace at Comet, or a folder of archives."""

    name = "comet"
    label = "Comet"
    extra = "comet"
    requires = ("comet_ml",)
    settings_type = CometSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=ALL_KINDS,
        metric_names=_NAME,
        param_names=NameRule(max_length=names.MAX_NAME, allowed=rf"{_TEXT}\{names.PARAM_SEPARATOR}", ignores_case=True),
        param_path_length=names.MAX_NAME,
        tag_names=NameRule(max_length=names.MAX_NAME, allowed=_TEXT, ignores_case=True, reserved_names=(names.OTHER_NAME,)),
        artifact_names=_FILE,
        point_types=frozenset({"float"}),
        kept_points=names.KEPT_POINTS,
        steps="int",
        step_range=(-(2**63), 2**63 - 1),
        time_resolution=1000,
        earliest_time=0,
        typed_params=False,
        param_length=names.MAX_VALUE,
        param_sources=False,
        tag_length=names.MAX_VALUE,
        system_prefix=names.SYSTEM_METRICS,
    )

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str | None:
        """Return the location with paths made absolute; see `location.resolve`."""
        return resolve(location, base)

    @classmethod
    def requires_for(cls, location: str | None) -> tuple[str, ...]:
        """Return what must be installed: nothing for archives."""
        return () if path_of(location) is not None else cls.requires

    @classmethod
    def login_files(cls, location: str | None, home: Path) -> Sequence[Path]:
        """Return Comet's own file of settings where it has an API key; archives need none."""
        from .login_files import find_login_files

        return () if path_of(location) is not None else find_login_files(home)

    def check(self) -> str:
        """Ask who we are; return a line like `Comet at https://www.comet.com, as alice`. Of a folder: what is in it."""
        path = path_of(self.location)
        if path is not None:
            from .offline_source import check_folder

            return check_folder(path)
        from .check import check

        return check(self.location, self._settings)

    def sink(self) -> Sink:
        """Return a sink for one run."""
        path = path_of(self.location)
        if path is not None:
            from .offline_sink import OfflineSink

            return OfflineSink(path, self._settings.workspace)
        from .sink import CometSink

        return CometSink(self.location, self._settings)

    def source(self) -> Source:
        """Return a source."""
        path = path_of(self.location)
        if path is not None:
            from .offline_source import OfflineSource

            return OfflineSource(path, self._settings.project)
        from .source import CometSource

        return CometSource(self.location, self._settings)

    @property
    def _settings(self) -> CometSettings:
        return cast(CometSettings, self.settings)
