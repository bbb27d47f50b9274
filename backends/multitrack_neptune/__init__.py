"""Neptune: what its clients and its exporter have left on the disk, and servers that speak its protocol.

Importing this package imports neither Neptune's client nor pyarrow. What a location is decides who reads it:

    neptune:./exports     a folder of neptune-exporter                   export/
    neptune:./.neptune    what the clients left on the disk, or over it  offline/
    neptune:acme/vision   a project of a server                          server/
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from multitrack.backend import Backend, BackendSettings, Capabilities, Sink, Source
from multitrack.errors import ConfigError, PermanentError

from .limits import WRITTEN
from .location import kind_of, resolve
from .settings import NeptuneSettings

if TYPE_CHECKING:
    from .export.source import ExportSource
    from .offline.source import OfflineSource
    from .server.source import ServerSource

__all__ = ["NeptuneBackend", "NeptuneSettings"]


class NeptuneBackend(Backend):
    """A folder of neptune-exporter's, one of the clients', or a project of a server."""

    name = "neptune"
    label = "Neptune"
    extra = "neptune"
    requires = ("pyarrow", "neptune")
    settings_type = NeptuneSettings
    capabilities: ClassVar[Capabilities] = WRITTEN

    def __init__(self, location: str | None, settings: BackendSettings | None = None) -> None:
        super().__init__(location, settings)
        if kind_of(location) == "export":
            self.capabilities = replace(WRITTEN, writes=False)  # type: ignore[misc]

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str | None:
        """Return the location made absolute; see `location.resolve`."""
        return resolve(location, base)

    @classmethod
    def requires_for(cls, location: str | None) -> tuple[str, ...]:
        """Return what the location needs: an export pyarrow alone."""
        return {"export": ("pyarrow",), "folder": (), "server": ("neptune",)}[kind_of(location)]

    def check(self) -> str:
        """Look at the folder, or ask the server; return a line like `a neptune-exporter folder: 312 runs of 2 projects`."""
        if kind_of(self.location) == "folder":
            if not Path(self.location or ".").exists():
                return f"no folder at {self.location} yet; the first run makes it"
            return f"a folder of Neptune's clients: {self._offline().describe()}"
        if kind_of(self.location) == "server":
            return self._server().describe()
        with_runs = self._export().describe()
        return f"a neptune-exporter folder: {with_runs}"

    def sink(self) -> Sink:
        """Return a sink for one run, into a folder or at a server. An export is not written to."""
        if kind_of(self.location) == "folder":
            from .offline.sink import OfflineSink

            return OfflineSink(Path(self.location or "."))
        if kind_of(self.location) == "server":
            from .server.sink import ServerSink

            return ServerSink(self.location, cast(NeptuneSettings, self.settings))
        raise ConfigError(f"{self.location}: a neptune-exporter folder can be read, not written to")

    def source(self) -> Source:
        """Return a source for what the location is."""
        kind = kind_of(self.location)
        return self._offline() if kind == "folder" else self._server() if kind == "server" else self._export()

    def _server(self) -> ServerSource:
        from .server.source import ServerSource

        return ServerSource(self.location, cast(NeptuneSettings, self.settings))

    def _offline(self) -> OfflineSource:
        from .offline.source import OfflineSource

        return OfflineSource(Path(self.location or "."), cast(NeptuneSettings, self.settings))

    def _export(self) -> ExportSource:
        from .export.source import ExportSource

        if self.location is None or kind_of(self.location) != "export":
            raise PermanentError(
                f"{self.location}: no neptune-exporter folder: it should hold data/<project>/<run>_part_0.parquet, as --data-path of the "
                "exporter does"
            )
        return ExportSource(Path(self.location), cast(NeptuneSettings, self.settings))
