"""A recipe from docs/recipes, followed to the letter: the page's own lines, in a project's folder, with a service that tests can rule."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from multitrack.journal import Journal, Store
from multitrack.state import RunState, fold

from .couriers import Bench

PAGES = Path(__file__).parents[2] / "docs" / "recipes"


class Recipe(Bench):
    """A folder that holds a project, and the page that somebody follows in it.

    Pages speak of a target `team` at MLflow; the variables of a target, which go before files, send it to a service of the test's own.
    """

    def __init__(self, page: str, folder: Path) -> None:
        super().__init__(folder)
        self.store = Store(folder / ".multitrack")
        self._text = (PAGES / f"{page}.md").read_text()

    def block(self, language: str, number: int = 0) -> str:
        """Return a block of the page."""
        return re.findall(rf"^```{language}\n(.*?)^```$", self._text, re.MULTILINE | re.DOTALL)[number]

    def commands(self) -> list[str]:
        """Return the commands of the page, without their prompts."""
        blocks = re.findall(r"^```console\n(.*?)^```$", self._text, re.MULTILINE | re.DOTALL)
        return [line.removeprefix("$ ") for line in "".join(blocks).splitlines()]

    def write(self, name: str, text: str, changes: Mapping[str, str] | None = None) -> Path:
        """Write a file of the project; each of `changes` must be there to be changed."""
        for old, new in (changes or {}).items():
            assert old in text, f"{old!r} is no longer on the page"
            text = text.replace(old, new)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    @property
    def env(self) -> dict[str, str]:
        """The variables that a person's shell has there, and the service in place of a real one."""
        kept = {
            name: value for name, value in super().env.items() if name != "MULTITRACK_DIR" and not name.startswith(("SLURM_", "KUBERN"))
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        team = {"MULTITRACK_TEAM__BACKEND": "flaky", "MULTITRACK_TEAM__LOCATION": str(self.folder / "team")}
        return {**kept, **team, "PATH": path}

    def launch(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command in the project's folder, in a process group of its own, as a batch system or a container would."""
        process = subprocess.Popen(
            command,
            cwd=cwd or self.folder,
            env=dict(env) if env is not None else self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def follow(self, *command: str, cwd: Path | None = None, env: Mapping[str, str] | None = None, code: int = 0) -> str:
        """Run a command to its end, which must have this exit code; return what it said, on both streams."""
        process = self.launch(*command, cwd=cwd, env=env)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, out + err
        return out + err

    def shell(self, command: str, env: Mapping[str, str] | None = None, code: int = 0) -> str:
        """Run a line as a person types it."""
        return self.follow("bash", "-c", command, env=env, code=code)

    def state(self) -> RunState:
        """Return the only run, as the journal has it."""
        return fold(self.journal().records())

    def journal(self) -> Journal:
        return Journal(self.only_run())

    def couriers(self) -> list[psutil.Process]:
        """Return the couriers at work on any store of the project."""
        found = []
        for process in psutil.process_iter():
            try:
                if "multitrack.courier" in process.cmdline() and Path(process.cwd()).is_relative_to(self.folder):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def lose_power(self) -> None:
        """End every courier at once, as the end of a machine or a container does."""
        for courier in self.couriers():
            try:
                courier.kill()
                courier.wait(10)
            except psutil.Error:
                continue


@contextmanager
def following(page: str, folder: Path) -> Iterator[Recipe]:
    """A recipe, and the end of everything that it started."""
    recipe = Recipe(page, folder)
    try:
        yield recipe
    finally:
        recipe.clean_up()
