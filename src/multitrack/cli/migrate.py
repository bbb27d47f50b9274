"""`multitrack migrate`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .output import AsJson, RunProgress, print_json
from .selection import Deleted, Projects, RunIds, Since, SourceSettings, SourceTz, Statuses, Tags, Until, conditions, parse_settings

Source = Annotated[str, typer.Argument(help="Where the runs are: an address, a target's name, or ADDRESS#ID for one run.")]
Destination = Annotated[str, typer.Argument(help="Where they go.")]
AsRecorded = Annotated[
    bool,
    typer.Option(
        "--as-recorded", help="What was recorded, not what people changed at the source since, for runs that multitrack delivered there."
    ),
]


def migrate(
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
    again: Annotated[bool, typer.Option("--again", help="Deliver even what the destination has already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; tell what would be done and what would be lost.")] = False,
    staging: Annotated[Path | None, typer.Option("--staging", help="A folder for runs on their way.")] = None,
    keep_staged: Annotated[bool, typer.Option("--keep-staged", help="Keep the runs in the staging folder, as an archive.")] = False,
    source_tz: SourceTz = None,
    source_setting: SourceSettings = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the whole report to this file, as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Move runs from any address to any other. May be interrupted and run again; changes nothing at the source."""
    from .. import migration

    with RunProgress("planning" if dry_run else "migrating") as progress:
        done = migration.migrate(
            source,
            destination,
            **conditions(project, run, tag, status, since, until, deleted),
            as_recorded=as_recorded,
            source_settings=parse_settings(source_setting, source_tz),
            again=again,
            dry_run=dry_run,
            staging=staging,
            keep_staged=keep_staged,
            on_plan=lambda planned: progress.expect(len(planned)),
            on_outcome=lambda outcome: progress.advance(outcome.name or outcome.id, outcome.points, failed=outcome.action == "failed"),
        )
    conclude(done, report, as_json=as_json)
    if done.ok and not dry_run and done.outcomes and not as_json:
        named = [("--source-tz", source_tz), *(("--source-setting", setting) for setting in source_setting or ())]
        words = [*(word for option, value in named if value is not None for word in (option, value)), source, destination]
        print(f"Check every field and point with: multitrack verify {' '.join(words)}")


def conclude(done: Any, report: Path | None, *, as_json: bool) -> None:
    """Print a report, write it to a file if wanted, and end with exit code 1 if it is not all well."""
    if report is not None:
        import orjson

        report.write_bytes(orjson.dumps(done.to_json(), option=orjson.OPT_INDENT_2))
    if as_json:
        print_json(done.to_json())
    else:
        print(done)
    if not done.ok:
        raise typer.Exit(1)
