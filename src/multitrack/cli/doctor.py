"""`multitrack doctor`"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import AsJson, print_json
from .status import Directory

if TYPE_CHECKING:
    from ..doctor import Finding

_MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def doctor(
    directory: Directory = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every record of the store.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds that a service has to answer.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Look whether everything works here: versions, configuration, targets and logins, the local store, what is still to deliver.

    Ends with 1 if something fails; warnings do not count.
    """
    from ..doctor import examine

    found = examine(Path.cwd(), os.environ, dir=directory, deep=deep, timeout=timeout)
    if as_json:
        findings = list(found)
        print_json({"ok": not _failed(findings), "findings": [asdict(one) for one in findings]})
    else:
        findings = _print(found)
    if _failed(findings):
        raise typer.Exit(1)


def _failed(findings: Iterable[Finding]) -> bool:
    return any(one.level == "fail" for one in findings)


def _print(found: Iterable[Finding]) -> list[Finding]:
    findings: list[Finding] = []
    for one in found:
        if not findings or findings[-1].section != one.section:
            print(f"{'' if not findings else chr(10)}{one.section}")
        findings.append(one)
        print(f"  {_MARKS[one.level]}  {one.subject}: {one.text}")
        if one.remedy:
            print(f"        -> {one.remedy}", flush=True)
    counts = {level: sum(one.level == level for one in findings) for level in ("warn", "fail")}
    if any(counts.values()):
        print(f"\n{counts['fail']:,} failed, {counts['warn']:,} warnings")
    else:
        print("\nall is well")
    return findings
