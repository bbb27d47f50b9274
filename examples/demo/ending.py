"""What the demo leaves behind, and what to type next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import witness
from servers import Server
from story import Story
from training import Result

import multitrack as mt


def tell_what_is_where(story: Story, servers: Sequence[Server], results: Sequence[Result], began_in: Path) -> None:
    """Print a table of the runs and one of the places, as they are now that the servers have ended."""
    story.chapter("What is where")
    with mt.open("local") as store:
        views = {view.id: view for view in store.runs()}
    rows = []
    for result in results:
        view = views[result.run_id]
        held = ["local", *(server.name for server in servers if witness.has(server, result))]
        rate, best = view.params["optimizer"]["learning_rate"], view.summary["best_accuracy"]
        rows.append((view.id, view.name or "", f"{rate:g}", f"{best:.3f}", f"{result.count:,}", ", ".join(held)))
    header = ("run", "name", "lr", "accuracy", "points", "in")
    story.table(header, rows, right=("lr", "accuracy", "points"))
    story.gap()
    places = [("local", f"{_shown(Path('.multitrack').absolute(), began_in)}/", "records as JSON lines, files by their SHA-256")]
    for server in servers:
        database, artifacts = _shown(server.database, began_in), _shown(server.artifacts, began_in)
        places.append((server.name, database, f"files in {artifacts}/; it was {server.url}"))
    story.table(("place", "where it is now", ""), places)


def tell_commands(story: Story, results: Sequence[Result], output: Path, began_in: Path) -> None:
    """Print commands that work without the servers."""
    best = max(results, key=lambda result: result.best)
    multitrack, mlflow = _program("multitrack", output), _program("mlflow", output)
    story.chapter("What you may type next")
    story.command(f"cd {shlex.quote(_shown(output, began_in))}", "everything is in this folder; its multitrack.toml names the places")
    story.command(f"{multitrack} runs", "the runs in the local store")
    story.command(f"{multitrack} show {best.run_id}", "everything about the best one")
    story.command(f"{multitrack} status", "what each target has got")
    story.command(f"{multitrack} runs south-db", "the same runs, read from the database that south has left")
    story.command(f"{multitrack} verify local archive-db", "compare the local store with archive: every field, point and file")
    story.command(f"{multitrack} migrate local mlflow:sqlite:///mine.db", "move the runs to a database of your own")
    story.command(
        f"{mlflow} server --backend-store-uri sqlite:///archive/mlflow.db --artifacts-destination archive/artifacts --port 5000",
        "see archive in a browser, at http://127.0.0.1:5000; Ctrl-C ends it",
    )


def _program(name: str, output: Path) -> str:
    """Return what to type, in the output folder, for a program that belongs to this Python."""
    ours = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found and Path(found).parent == ours.parent:
        return name
    near = os.path.relpath(ours, output)
    return shlex.quote(near if near.count("..") <= 2 else str(ours))


def _shown(path: Path, began_in: Path) -> str:
    return str(path.relative_to(began_in)) if path.is_relative_to(began_in) else str(path)
