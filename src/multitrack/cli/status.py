"""`multitrack status`"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from ..config import Settings
    from ..delivery import Progress
    from ..journal import RunFolder, Store

Directory = Annotated[Path | None, typer.Option("--dir", help="The local store, if it is not the usual one.")]


def status(
    runs: Annotated[list[str] | None, typer.Argument(help="The runs' ids; without any, those that are not delivered.")] = None,
    directory: Directory = None,
    everything: Annotated[bool, typer.Option("--all", help="Runs that are delivered as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how the delivery of runs is going, and what to do about what is stuck."""
    _, store = open_store(directory)
    chosen = [store.get(run_id) for run_id in runs] if runs else list(store.runs())
    described = [item for run in chosen if (item := _describe_run(run)) is not None]
    hidden = 0
    if not (everything or runs):
        hidden = len(described)
        described = [item for item in described if not all(target["state"] == "delivered" for target in item["targets"])]
        hidden -= len(described)
    couriers = _describe_couriers(store, {target["target"] for item in described for target in item["targets"]})
    if as_json:
        print_json({"store": str(store.root), "runs": described, "couriers": couriers})
    else:
        _print(store, described, couriers, hidden)


def open_store(directory: Path | None) -> tuple[Settings, Store]:
    """Return the settings, and the local store that they name.

    Raises:
        ConfigError: there is none.
    """
    from ..config import load_settings
    from ..errors import ConfigError
    from ..journal import Store

    settings = load_settings(Path.cwd(), os.environ, dir=directory, mode="deferred")
    if not settings.dir.is_dir():
        raise ConfigError(f"there is no store {settings.dir}; name another one with --dir or MULTITRACK_DIR")
    return settings, Store(settings.dir)


def describe_progress(progress: Progress) -> dict[str, Any]:
    """Return a target's share of a run in terms of JSON."""
    return {
        "target": progress.target,
        "state": progress.state,
        "delivered": progress.delivered,
        "behind": progress.behind,
        "rejected": progress.rejected,
        "rate": None if progress.rate is None else round(progress.rate, 1),
        "eta": None if progress.eta is None else round(progress.eta, 1),
        "attempts": progress.attempts,
        "error": progress.error,
        "url": progress.url,
    }


def _describe_run(run: RunFolder) -> dict[str, Any] | None:
    """Return a run with its targets; one that another process deletes meanwhile is none."""
    from ..delivery import Ledger
    from ..errors import RecordError
    from ..journal import Journal

    journal = Journal(run)
    try:
        alive = journal.is_alive()
        targets = [
            {**describe_progress(ledger.progress()), "address": ledger.address(), "refused": _refusals(ledger)} for ledger in Ledger.of(run)
        ]
        try:
            start = journal.started()
            name, project = start.name, start.project
        except RecordError:
            name, project = None, run.path.parent.name
    except FileNotFoundError:
        return None
    return {"run": run.id, "name": name, "project": project, "alive": alive, "targets": targets}


def _refusals(ledger: Any, shown: int = 3) -> list[dict[str, Any]]:
    return [{"writer": item.writer, "seq": item.seq, "reason": item.reason} for item in ledger.rejections()[:shown]]


def _describe_couriers(store: Store, targets: Iterable[str]) -> list[dict[str, Any]]:
    from ..journal import is_locked

    return [{"target": name, "alive": is_locked(store.courier_lock(name)), "log": str(store.courier_log(name))} for name in sorted(targets)]


def _print(store: Store, described: list[dict[str, Any]], couriers: list[dict[str, Any]], hidden: int) -> None:
    from ..wording import duration

    rows = []
    for item in described:
        for target in item["targets"] or [None]:
            first = (item["run"], item["name"] or "", item["project"])
            if target is None:
                rows.append((*first, "-", "only in the journal", "", "", ""))
                continue
            state = "up to date" if item["alive"] and target["state"] == "delivering" and not target["behind"] else target["state"]
            rate = "" if target["eta"] is None else f"{duration(target['eta'])} left at {target['rate']:,.0f}/s"
            rows.append((*first, target["target"], state, f"{target['delivered']:,}", f"{target['behind']:,}", rate))
    if rows:
        print_table(("RUN", "NAME", "PROJECT", "TARGET", "STATE", "HAS", "TO GO", "TIME"), rows)
    for line in _remarks(described):
        print(line)
    print(_conclusion(store, described, couriers, hidden))


def _remarks(described: list[dict[str, Any]]) -> Iterable[str]:
    """Yield what went wrong and where things are, each text once however many runs it concerns."""
    errors: dict[tuple[str, str], int] = {}
    addresses = {target["target"]: target["address"] for item in described for target in item["targets"]}
    yield from (f"{name} is {address}" for name, address in sorted(addresses.items()) if address not in (None, name))
    for item in described:
        for target in item["targets"]:
            if target["error"]:
                key = (target["target"], target["error"])
                errors[key] = errors.get(key, 0) + 1
            if target["rejected"]:
                reasons = "; ".join(dict.fromkeys(refusal["reason"] for refusal in target["refused"]))
                yield f"{target['target']} refused {target['rejected']:,} records of {item['run']}: {reasons}"
            if target["url"] and len(described) <= 3:
                yield f"{target['target']}: {target['url']}"
    for (name, error), count in errors.items():
        yield f"{name}: {error}" + (f" ({count:,} runs)" if count > 1 else "")


def _conclusion(store: Store, described: list[dict[str, Any]], couriers: list[dict[str, Any]], hidden: int) -> str:
    """Return what to do next."""
    open_targets = {target["target"] for item in described for target in item["targets"] if target["state"] != "delivered"}
    stopped = {target["target"] for item in described for target in item["targets"] if target["state"] == "stopped"}
    at_work = {courier["target"] for courier in couriers if courier["alive"]}
    if not open_targets:
        return f"everything is delivered: {hidden + len(described):,} runs in {store.root}"
    if stopped:
        return f"{_names(stopped)} stopped: remove the reason above, then: multitrack sync"
    if idle := open_targets - at_work:
        return f"nobody is delivering to {_names(idle)}: multitrack sync"
    return f"the couriers of {_names(at_work)} are at work"


def _names(targets: Iterable[str]) -> str:
    return ", ".join(sorted(targets))
