"""Cells of a notebook, run by a real kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from multitrack.journal import Journal
from multitrack.state import fold
from support.couriers import wait_for
from support.recipes import Recipe, following

pytestmark = pytest.mark.slow
TIMEOUT = 60


class Notebook:
    """A kernel in the project's folder, and the cells that are run there."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.kernel = KernelManager()
        self.kernel.start_kernel(cwd=str(recipe.folder), env={**recipe.env, "IPYTHONDIR": str(recipe.folder / ".ipython")})
        self._client: BlockingKernelClient = self.kernel.blocking_client()
        self._connect()

    def _connect(self) -> None:
        self._client.start_channels()
        self._client.wait_for_ready(timeout=TIMEOUT)

    def run(self, cell: str, *, interrupt_at: str | None = None) -> tuple[str | None, str]:
        """Run a cell; return the name of the exception that it raised, if any, and all that it showed.

        `interrupt_at`: what the cell shows when it is to be interrupted.
        """
        shown: list[str] = []

        def show(message: dict[str, Any]) -> None:
            content = message["content"]
            shown.append(content.get("text") or content.get("data", {}).get("text/html", ""))
            if interrupt_at and interrupt_at in shown[-1]:
                self.kernel.interrupt_kernel()

        answer = self._client.execute_interactive(cell, timeout=TIMEOUT, output_hook=show)
        return answer["content"].get("ename"), "".join(shown)

    def restart(self, *, now: bool) -> None:
        """Restart the kernel; `now` kills it."""
        self.kernel.restart_kernel(now=now)
        self._client.wait_for_ready(timeout=TIMEOUT)

    def statuses(self) -> list[tuple[str | None, str]]:
        """Return name and status of every run, in the order of their start."""
        journals = sorted((Journal(run) for run in self.recipe.store.runs()), key=lambda journal: journal.started().time)
        return [(fold(journal.records()).name, journal.verdict().status) for journal in journals]

    def close(self) -> None:
        self._client.stop_channels()
        self.kernel.shutdown_kernel(now=True)


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    with following("jupyter", tmp_path) as recipe:
        recipe.write("multitrack.toml", "")
        made = Notebook(recipe)
        try:
            yield made
        finally:
            made.close()


def test_cells_that_are_run_twice(notebook: Notebook) -> None:
    one_cell, begin, log, finish = (notebook.recipe.block("python", number) for number in range(4))
    assert notebook.run(one_cell)[0] is None
    assert notebook.run(one_cell)[0] is None
    assert notebook.statuses() == [("one cell", "finished")] * 2
    notebook.run(begin)
    error, shown = notebook.run(begin)
    assert error is None
    assert re.search("run .*several cells.* is finished, since another one starts", shown)
    assert notebook.statuses()[2:] == [("several cells", "finished"), ("several cells", "running")]
    for _ in range(2):
        assert notebook.run(log) == (None, "")
    assert "several cells" in notebook.run("run")[1]  # its card
    assert notebook.run(finish)[0] is None
    assert notebook.run(finish)[0] is None
    assert notebook.run(log)[0] == "ValueError"
    assert notebook.statuses()[3] == ("several cells", "finished")


def test_cells_that_fail(notebook: Notebook) -> None:
    one_cell, begin, log, finish = (notebook.recipe.block("python", number) for number in range(4))
    assert notebook.run(one_cell.replace("run.log(", "1 / 0\n        run.log("))[0] == "ZeroDivisionError"
    assert notebook.statuses() == [("one cell", "failed")]
    notebook.run(begin)
    assert notebook.run("1 / 0")[0] == "ZeroDivisionError"
    assert notebook.statuses()[1] == ("several cells", "running")
    assert notebook.run(log)[0] is None
    notebook.run(finish)
    assert notebook.statuses()[1] == ("several cells", "finished")


def test_a_cell_that_is_interrupted(notebook: Notebook) -> None:
    endless = 'print("at work", flush=True); __import__("time").sleep(60)\n        run.log('
    error, _ = notebook.run(notebook.recipe.block("python").replace("run.log(", endless), interrupt_at="at work")
    assert error == "KeyboardInterrupt"
    assert notebook.statuses() == [("one cell", "killed")]


@pytest.mark.parametrize(("now", "status"), [(False, "finished"), (True, "crashed")])
def test_a_kernel_that_is_restarted(notebook: Notebook, now: bool, status: str) -> None:
    notebook.run("import multitrack as mt")
    notebook.run(notebook.recipe.block("python", 1))
    notebook.run(notebook.recipe.block("python", 2))
    shown = notebook.run("print(run.id)")[1].split()[-1]
    notebook.restart(now=now)
    wait_for(lambda: notebook.statuses() == [("several cells", status)])
    resumed = f'import multitrack as mt\nrun = mt.init(project="digits", id="{shown}", resume="must")'
    assert notebook.run(resumed)[0] is None
    notebook.run(notebook.recipe.block("python", 2))
    notebook.run(notebook.recipe.block("python", 3))
    assert notebook.statuses() == [("several cells", "finished")]
    assert notebook.recipe.state().metrics["train/loss"].values == [0.5, 0.5]
