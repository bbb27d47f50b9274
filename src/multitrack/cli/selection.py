"""The options by which commands choose runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ..errors import ConfigError, did_you_mean

Projects = Annotated[list[str] | None, typer.Option("--project", "-p", help="Only this project; may be repeated.")]
RunIds = Annotated[list[str] | None, typer.Option("--run", help="Only this run: our id or the service's own; may be repeated.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only runs with this tag: NAME or NAME=VALUE; may be repeated.")]
Statuses = Annotated[list[str] | None, typer.Option("--status", help="Only runs of this status; may be repeated.")]
Since = Annotated[str | None, typer.Option("--since", help="Only runs that started at or after this time: 2026-11-23 or 2026-11-23T14:00.")]
Until = Annotated[str | None, typer.Option("--until", help="Only runs that started before this time.")]
Filter = Annotated[
    str | None,
    typer.Option("--filter", "-f", help="Only runs that meet this: 'params.lr < 0.1 and metrics.val/acc > 0.9 and not tags.old'."),
]
Deleted = Annotated[bool, typer.Option("--deleted", help="Deleted runs as well.")]

SourceTz = Annotated[
    str | None,
    typer.Option(
        "--source-tz",
        help="The time zone in which the source wrote its times, for one that wrote local ones: --source-setting source_tz=...",
    ),
]
SourceSettings = Annotated[
    list[str] | None,
    typer.Option("--source-setting", help="A setting of the source, before that of its target: NAME=VALUE; may be repeated."),
]

STATUSES = ("scheduled", "running", "finished", "failed", "killed", "crashed")


def parse_tags(tags: Sequence[str] | None) -> dict[str, str | None]:
    """Return tags as a filter has them: NAME alone asks for any value."""
    found: dict[str, str | None] = {}
    for tag in tags or ():
        name, separator, value = tag.partition("=")
        found[name] = value if separator else None
    return found


def parse_settings(settings: Sequence[str] | None, source_tz: str | None) -> dict[str, str]:
    """Return settings by name.

    Raises:
        ConfigError: one is not NAME=VALUE.
    """
    found = {}
    for setting in settings or ():
        name, separator, value = setting.partition("=")
        if not separator:
            raise ConfigError(f"--source-setting: {setting!r} has no '='; write NAME=VALUE")
        found[name] = value
    return found if source_tz is None else {**found, "source_tz": source_tz}


def parse_statuses(statuses: Sequence[str] | None) -> list[Any] | None:
    """Return the statuses.

    Raises:
        ConfigError: one is none.
    """
    for status in statuses or ():
        if status not in STATUSES:
            raise ConfigError(f"--status: there is no status {status!r}.{did_you_mean(status, STATUSES)} There are {', '.join(STATUSES)}")
    return list(statuses) if statuses else None


def parse_time(text: str | None, option: str) -> datetime | None:
    """Return a time; one without an offset is UTC.

    Raises:
        ConfigError: it is none.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is no time; write 2026-11-23 or 2026-11-23T14:00:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def conditions(
    project: list[str] | None,
    run: list[str] | None,
    tag: list[str] | None,
    status: list[str] | None,
    since: str | None,
    until: str | None,
    deleted: bool,
) -> dict[str, Any]:
    """Return the options as `migrate` and `verify` take them.

    Raises:
        ConfigError: one cannot be understood.
    """
    return {
        "projects": project,
        "runs": run,
        "tags": parse_tags(tag),
        "statuses": parse_statuses(status),
        "since": parse_time(since, "--since"),
        "until": parse_time(until, "--until"),
        "deleted": deleted,
    }
