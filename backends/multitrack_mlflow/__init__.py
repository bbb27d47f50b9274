"""MLflow: every tracking server, database, folder and plugin that MLflow's own client can reach.

Importing this package imports no MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

from multitrack.backend import ALL_KINDS, Backend, Capabilities, NameRule, Sink, Source

from .location import resolve
from .names import SUMMARY_METRICS, SYSTEM_METRICS
from .settings import MLflowSettings

__all__ = ["MLflowBackend", "MLflowSettings"]

_KEY = NameRule(max_length=250, allowed=r"\w. :/\-", path=True, reserved=("..",))
"""MLflow: 250 characters; letters and digits of any script, `_ - . space : /`; normalised as a path, and no `..` at the beginning."""

_FILE = NameRule(max_length=250, allowed=r"^\x00-\x1f\x7f#?%:\\\ud800-\udfff", path=True, leaf_or_folder=True, reserved=("..", " "))
"""MLflow: `# ? %`, control characters and `:` come out as something else at the other end of the server's proxy; so does a space at the
beginning. A part of a name has 255 bytes on the server's disk, where `a` and `a/b` cannot be side by side."""


class MLflowBackend(Backend):
    """An MLflow server, database, folder or managed service."""

    name = "mlflow"
    label = "MLflow"
    extra = "mlflow"
    requires = ("mlflow",)
    settings_type = MLflowSettings
    capabilities: ClassVar[Capabilities] = Capabilities(
        kinds=ALL_KINDS - {"metric_definition"},
        metric_names=replace(_KEY, reserved=("..", SUMMARY_METRICS)),
        param_names=_KEY,
        tag_names=_KEY,
        artifact_names=_FILE,
        point_types=frozenset({"float"}),
        infinities=False,
        equal_points="merged",
        steps="int",
        step_range=(-(2**63), 2**63 - 1),
        missing_steps=False,
        time_resolution=1000,
        earliest_time=0,
        nested_params=False,
        typed_params=False,
        param_length=6000,
        changing_params=False,
        param_sources=False,
        bare_tags=False,
        tag_length=8000,
        system_prefix=SYSTEM_METRICS,
        artifact_details=False,
        references=False,
        chooses_run_id=False,
        statuses=frozenset({"scheduled", "running", "finished", "failed", "killed"}),
    )

    @property
    def _where(self) -> tuple[str, MLflowSettings]:
        return self.location or resolve(None, Path.cwd()), cast(MLflowSettings, self.settings)

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str | None:
        """Return the location made absolute; see `location.resolve`."""
        return resolve(location, base)

    @classmethod
    def login_files(cls, location: str | None, home: Path) -> Sequence[Path]:
        """Return MLflow's own file of credentials, Databricks' one, or netrc, each where it has a login for the location."""
        from .login_files import find_login_files

        return find_login_files(location, home)

    def check(self) -> str:
        """Ask for one experiment; return a line like `MLflow 3.17.2 at http://127.0.0.1:5000, as alice`."""
        from .check import check

        return check(*self._where)

    def sink(self) -> Sink:
        """Return a sink for one run."""
        from .sink import MLflowSink

        return MLflowSink(*self._where)

    def source(self) -> Source:
        """Return a source."""
        from .source import MLflowSource

        return MLflowSource(self)
