"""`multitrack verify`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .migrate import AsRecorded, Destination, Source, conclude
from .output import AsJson, RunProgress
from .selection import Deleted, Projects, RunIds, Since, SourceSettings, SourceTz, Statuses, Tags, Until, conditions, parse_settings


def verify(
    source: Source,
    destination: Destination,
    project: Projects = None,
    run: RunIds = None,
    tag: Tags = None,
    status: Statuses = None,
    since: Since = None,
    until: Until = None,
    deleted: Deleted = False,
    as_recorded: AsRecorded = False,
    contents: Annotated[bool, typer.Option(help="Fetch and compare the contents of artifacts.")] = True,
    source_tz: SourceTz = None,
    source_setting: SourceSettings = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the whole report to this file, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what a destination holds with what a source holds: every field, every point, every file."""
    from .. import verification

    with RunProgress("comparing") as progress:
        done = verification.verify(
            source,
            destination,
            **conditions(project, run, tag, status, since, until, deleted),
            as_recorded=as_recorded,
            source_settings=parse_settings(source_setting, source_tz),
            contents=contents,
            on_plan=lambda runs: progress.expect(len(runs)),
            on_run=lambda result: progress.advance(result.name or result.id, result.points, failed=not result.ok),
        )
    conclude(done, report, as_json=as_json)
