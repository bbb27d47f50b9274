"""Which records of a run a target gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

from ..errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from ..records import Record

KINDS = (
    "artifact",
    "code_version",
    "data_version",
    "environment",
    "hyperparameters",
    "log_lines",
    "metric_definition",
    "metrics",
    "model",
    "summary",
)
"""Kinds of record that a filter may name; `metrics` stands for `points` too. A run's life (started, updated, finished) goes along."""
_LIFE = frozenset({"run_started", "run_updated", "run_finished"})


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns (`*`, `?`, `[abc]`; a `*` matches slashes too) of names, and kinds of record."""

    metrics: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the selection that a table of a configuration file describes.

        Raises:
            ConfigError: a key is unknown, a list is none, or a kind does not exist.
        """
        if not isinstance(value, Mapping):
            raise ConfigError(f'expected a table such as {{ metrics = ["debug/*"] }}, not {value!r}')
        known = ("metrics", "artifacts", "kinds")
        for key, names in value.items():
            if key not in known:
                raise ConfigError(f"unknown key {key!r}.{did_you_mean(str(key), known)} It knows {', '.join(known)}")
            if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
                raise ConfigError(f"{key} is a list of texts, not {names!r}")
        for kind in value.get("kinds", ()):
            if kind not in KINDS:
                raise ConfigError(f"there is no kind {kind!r} to select.{did_you_mean(kind, KINDS)} There are {', '.join(KINDS)}")
        return cls(**{key: tuple(names) for key, names in value.items()})

    def public(self) -> dict[str, list[str]]:
        """Return what `parse` reads."""
        lists = {"metrics": self.metrics, "artifacts": self.artifacts, "kinds": self.kinds}
        return {key: list(names) for key, names in lists.items() if names}


@dataclass(frozen=True, slots=True)
class Filters:
    """What is included, less what is excluded. An empty list includes everything."""

    include: Selection = field(default_factory=Selection)
    exclude: Selection = field(default_factory=Selection)

    def __bool__(self) -> bool:
        """Return whether anything at all is held back."""
        return self != Filters()

    def public(self) -> dict[str, Any]:
        """Return the filters as a target's table spells them."""
        tables = {"include": self.include.public(), "exclude": self.exclude.public()}
        return {key: table for key, table in tables.items() if table}

    def takes_kind(self, kind: str) -> bool:
        """Return whether records of this kind are wanted."""
        kind = "metrics" if kind == "points" else kind
        return kind in _LIFE or ((not self.include.kinds or kind in self.include.kinds) and kind not in self.exclude.kinds)

    def takes_metric(self, name: str) -> bool:
        """Return whether the metric of this name is wanted."""
        return _passes(name, self.include.metrics, self.exclude.metrics)

    def takes_artifact(self, name: str) -> bool:
        """Return whether the artifact of this name is wanted."""
        return _passes(name, self.include.artifacts, self.exclude.artifacts)

    def apply(self, record: Record) -> Record | None:
        """Return the record, or what is left of it; None when nothing is."""
        from ..records import Artifact, Metrics, Points, Summary

        if not self.takes_kind(record.kind):
            return None
        if isinstance(record, Artifact):
            return record if self.takes_artifact(record.name) else None
        if isinstance(record, Points):
            return record if self.takes_metric(record.name) else None
        if not isinstance(record, Metrics | Summary) or all(map(self.takes_metric, record.values)):
            return record
        values = {name: value for name, value in record.values.items() if self.takes_metric(name)}
        return record.model_copy(update={"values": values}) if values else None


def _passes(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    included = not include or any(fnmatchcase(name, pattern) for pattern in include)
    return included and not any(fnmatchcase(name, pattern) for pattern in exclude)
