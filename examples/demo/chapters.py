"""What happens in the demo: three servers, four runs, one outage, one migration."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import witness
from checks import check_every_run, check_read_back, check_run, check_survived
from servers import Server
from story import Story

import multitrack as mt

if TYPE_CHECKING:
    from training import Result

EPOCHS_BEFORE_OUTAGE = 12
PATIENCE = 60.0
"""Seconds that a run's end waits for its services."""
OUTAGE_PATIENCE = 2.0
"""The same while one of the services is down."""


class Demo:
    """The story, chapter by chapter."""

    def __init__(self, story: Story, output: Path) -> None:
        self.story = story
        self.output = output
        self.north, self.south, self.archive = self.servers = [Server(name, output / name) for name in ("north", "south", "archive")]
        self.results: list[Result] = []

    def tell(self) -> None:
        """Tell it all."""
        self.start_servers()
        self.train_with_both()
        self.train_through_an_outage()
        self.catch_up()
        self.migrate()

    def stop(self) -> None:
        """Stop the servers."""
        for server in self.servers:
            server.stop()

    # -- the chapters

    def start_servers(self) -> None:
        self.story.chapter("Two MLflow servers, and a configuration that names them")
        self.north.start()
        self.south.start()
        (self.output / "multitrack.toml").write_text(configuration(self.servers))
        with self.story.waiting("starting two MLflow servers"):
            from training import Digits

            self.digits = Digits(self.output / "data")
            self.north.wait()
            self.south.wait()
        self.story.say(f"  north  {self.north.url}\n  south  {self.south.url}")
        self.story.say("  multitrack.toml mirrors every run to both; the code that trains does not know of them")

    def train_with_both(self) -> None:
        self.story.chapter("A run, mirrored while it trains")
        result = self._train("mlp 16", [16], 2e-3, patience=PATIENCE)
        for server in (self.north, self.south):
            check_run(self.story, server, result)
            with mt.open(server.name) as store:
                self.story.say(f"    {store.run(result.run_id).url}", style="dim")
        self.archive.start()  # it has until the migration

    def train_through_an_outage(self) -> None:
        self.story.chapter("south goes down in the middle of a run")
        result = self._train("mlp 64", [64], 1e-3, on_epoch=self._stop_south, patience=OUTAGE_PATIENCE)
        check_survived(self.story, result, self.north, self.south)
        self.story.gap()
        self.story.say("Another run, with south down from its beginning to its end:")
        result = self._train("mlp 48-24", [48, 24], 1e-3, patience=OUTAGE_PATIENCE)
        check_survived(self.story, result, self.north, self.south)
        self._show_status()

    def catch_up(self) -> None:
        self.story.chapter("south comes back")
        self.south.start()
        self.story.say("The last run trains while south is still starting, on its old port:")
        self._train("mlp 64, faster", [64], 3e-2, patience=OUTAGE_PATIENCE)
        with self.story.waiting("starting south again"):
            self.south.wait()
        with self.story.waiting("catching up"):
            deadline = time.monotonic() + 2 * PATIENCE
            while not _is_all_delivered() and time.monotonic() < deadline:
                time.sleep(0.5)
        self._show_status()
        check_every_run(self.story, self.north, self.results)
        check_every_run(self.story, self.south, self.results)

    def migrate(self) -> None:
        self.story.chapter("From south to a third, empty server")
        with self.story.waiting("starting the server archive"):
            self.archive.wait()
        self.story.check("archive is empty", witness.count_runs(self.archive) == 0)
        staging = self.output / "staging"
        with self.story.waiting('mt.migrate("south", "archive")'):
            report = mt.migrate("south", "archive", staging=staging)
        self.story.quote(str(report))
        self.story.check("every run was migrated", report.ok and report.counts == {"migrated": len(self.results)})
        self._verify()
        check_every_run(self.story, self.archive, self.results)
        check_read_back(self.story, self.results, self.digits, self.output)
        again = mt.migrate("south", "archive", staging=staging)
        self.story.check("migrating again changes nothing", again.ok and again.counts == {"unchanged": len(self.results)})
        shutil.rmtree(staging)

    def _verify(self) -> None:
        with self.story.waiting('mt.verify("south", "archive")'):
            report = mt.verify("south", "archive")
        self.story.quote(str(report), until="  declared losses")  # they are the same as above
        self.story.check("every field, point and file is as it should be", report.ok and len(report.runs) == len(self.results))
        self.story.check("what MLflow cannot hold is restored exactly", all(run.attached == "exact" for run in report.runs))

    # -- training, and what goes on meanwhile

    def _train(self, name: str, hidden: list[int], learning_rate: float, *, patience: float, **more: Any) -> Result:
        from training import Setting, train

        began = time.monotonic()
        result = train(Setting(name, hidden, learning_rate), self.digits, self.output / "work", timeout=patience, **more)
        self.results.append(result)
        seconds = time.monotonic() - began
        self.story.say(f"  trained {name!r}: best accuracy {result.best:.3f}, {result.count:,} points, {seconds:.1f} s with delivery")
        shutil.rmtree(self.output / "work")
        return result

    def _stop_south(self, epoch: int) -> None:
        """Stop the server once it has got a part of the run."""
        if epoch != EPOCHS_BEFORE_OUTAGE:
            return
        run = mt.current()
        run_id = run.id
        deadline = time.monotonic() + PATIENCE
        run.url("south", wait=PATIENCE)  # there as soon as the courier has noted what south acknowledged
        while not witness.count_points(self.south, run_id) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.south.stop()
        there = witness.count_points(self.south, run_id)
        self.story.say(f"  after epoch {epoch}, south is stopped; it has {there} points of this run")
        self.story.check("points arrived while the run went on", there > 0)
        self.story.check("south is down", not self.south.answers())

    def _show_status(self) -> None:
        self.story.gap()
        self.story.say("$ multitrack status --all", style="cyan")
        self.story.quote(_multitrack("status", "--all"))
        self.story.gap()


def _is_all_delivered() -> bool:
    runs = json.loads(_multitrack("status", "--all", "--json"))["runs"]
    return all(target["state"] == "delivered" for run in runs for target in run["targets"])


def _multitrack(*arguments: str) -> str:
    """Run a command as a person would; return what it prints."""
    return subprocess.run([sys.executable, "-m", "multitrack.cli", *arguments], check=True, capture_output=True, text=True).stdout


def configuration(servers: list[Server]) -> str:
    """Return the text of the demo's multitrack.toml."""
    parts = ['project = "digits"\nbackends = ["north", "south"]\nfinish_timeout = 3\n', "# While the demo runs:\n"]
    parts += [f'[targets.{server.name}]\nbackend = "mlflow"\nlocation = "{server.url}"\n' for server in servers]
    parts.append("# What the servers leave behind, read without them:\n")
    for server in servers:
        location = f"sqlite:///{server.name}/mlflow.db"
        parts.append(f'[targets.{server.name}-db]\nbackend = "mlflow"\nlocation = "{location}"\nartifacts = "{server.artifacts}"\n')
    return "\n".join(parts)
