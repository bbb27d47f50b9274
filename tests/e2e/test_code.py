"""Which code ran, as scripts, modules, one-liners and notebooks of users leave it in the journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from multitrack.journal import Journal, Store
from multitrack.records import CodeVersion
from multitrack.state import fold
from support.repositories import git, make_repository, write
from support.scripts import Ended, Scripts

CODE = "mt.init(project='p', capture=mt.Capture(environment=False, system=False, console=False), quiet=True)"


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


def code_of(ended: Ended) -> CodeVersion:
    assert ended.state.failures == {}
    assert ended.state.code is not None
    return ended.state.code


def kept(ended: Ended, name: str) -> bytes:
    return (ended.folder.artifacts / str(ended.state.artifacts[name].sha256)).read_bytes()


def python(scripts: Scripts, *arguments: str, cwd: Path | None = None, given: str | None = None) -> Ended:
    """Run Python as it is, without a script of ours."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd or scripts.folder, input=given, env=scripts.environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr, scripts.store)


def test_a_script_with_changes(scripts: Scripts) -> None:
    git(scripts.folder, "init", "-q")
    write(scripts.folder, {"train.py": "pass\n", "model.py": "depth = 1\n", ".gitignore": "*.csv\n__pycache__\n"})
    git(scripts.folder, "add", ".")
    git(scripts.folder, "commit", "-qm", "first")
    write(
        scripts.folder,
        {"model.py": "depth = 2\n", "helper.py": "x = 1\n", "data.csv": "1\n", "key.txt": "https://me:hunter22@example.com\n"},
    )
    ended = scripts.run(f"import helper\nwith {CODE}: pass", "--token", "hunter22", "--lr=0.1")
    code = code_of(ended)
    assert (code.vcs, code.commit, code.branch, code.dirty) == ("git", git(scripts.folder, "rev-parse", "HEAD"), "main", True)
    assert (code.entry_point, code.entry_kind, code.working_dir) == ("train.py", "script", ".")
    assert code.command == [sys.executable, str(scripts.folder / "train.py"), "--token", "***", "--lr=0.1"]
    assert code.diff is not None
    assert "+depth = 2" in code.diff
    assert [ref.name for ref in code.untracked] == ["code/untracked/helper.py"]
    assert kept(ended, "code/untracked/helper.py") == b"x = 1\n"
    assert [one.name for one in code.omitted] == ["key.txt"]
    assert "hunter22" not in "".join(path.read_text(errors="replace") for path in ended.folder.path.rglob("*") if path.is_file())


def test_an_ignored_module_that_is_imported_is_kept(scripts: Scripts) -> None:
    git(scripts.folder, "init", "-q")
    write(scripts.folder, {"_version.py": "v = 1\n", "unused.py": "v = 1\n", ".gitignore": "_version.py\nunused.py\n__pycache__\n"})
    ended = scripts.run(f"with {CODE}:\n    import _version")
    assert [ref.name for ref in code_of(ended).modules] == ["code/modules/_version.py"]


def test_a_script_outside_the_repository_that_we_are_in(scripts: Scripts, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"x.py": "x\n"})
    (scripts.folder / "job.py").write_text(f"import multitrack as mt\nwith {CODE}: pass\n")
    ended = python(scripts, str(scripts.folder / "job.py"), cwd=repository)
    code = code_of(ended)
    assert (code.root, code.commit) == (str(repository), git(repository, "rev-parse", "HEAD"))
    assert code.entry_point == str(scripts.folder / "job.py")
    assert [ref.name for ref in code.modules] == ["code/modules/job.py"]


def test_modules_outside_a_repository_late_ones_too(scripts: Scripts) -> None:
    write(
        scripts.folder,
        {"early.py": "", "late.py": "late = 1\n", "unused.py": "", "package/__init__.py": "", "package/inner.py": "inner = 1\n"},
    )
    ended = scripts.run(f"import early\nwith {CODE}:\n    import late, package.inner")
    code = code_of(ended)
    assert (code.vcs, code.root, code.entry_point) == (None, str(scripts.folder), "train.py")
    names = ["early.py", "late.py", "package/__init__.py", "package/inner.py", "train.py"]
    assert [ref.name.removeprefix("code/modules/") for ref in code.modules] == names
    assert kept(ended, "code/modules/package/inner.py") == b"inner = 1\n"


def test_a_module(scripts: Scripts) -> None:
    write(scripts.folder, {"app/__init__.py": "", "app/__main__.py": f"import multitrack as mt\nwith {CODE}: pass\n"})
    code = code_of(python(scripts, "-m", "app", "--epochs", "3"))
    assert (code.entry_point, code.entry_kind) == ("-m app", "module")
    assert code.command == [sys.executable, "-m", "app", "--epochs", "3"]


def test_a_folder_that_is_run(scripts: Scripts) -> None:
    write(scripts.folder, {"app/__main__.py": f"import multitrack as mt\nwith {CODE}: pass\n"})
    code = code_of(python(scripts, "app"))
    assert (code.entry_point, code.entry_kind) == (".", "script")
    assert [ref.name for ref in code.modules] == ["code/modules/__main__.py"]


def test_one_line(scripts: Scripts) -> None:
    code = code_of(python(scripts, "-c", f"import multitrack as mt\nwith {CODE}: pass"))
    assert (code.entry_point, code.entry_kind) == ("-c", "inline")
    assert code.command is not None
    assert code.command[2].startswith("import multitrack")


def test_standard_input(scripts: Scripts) -> None:
    code = code_of(python(scripts, "-", given=f"import multitrack as mt\nwith {CODE}: pass\n"))
    assert (code.entry_point, code.entry_kind) == ("-", "stdin")
    assert [one.name for one in code.omitted] == ["standard input"]


def test_an_installed_program(scripts: Scripts) -> None:
    scripts.folder.joinpath("venv").mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(scripts.folder / "venv")], check=True)
    interpreter = scripts.folder / "venv" / "bin" / "python"
    program = scripts.folder / "venv" / "bin" / "train-it"
    program.write_text(f"#!{interpreter}\nimport multitrack as mt\nwith {CODE}: pass\n")
    program.chmod(0o755)
    repository = make_repository(scripts.folder / "project", {"x": "x"})
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [str(program)], cwd=repository, env=scripts.environment(PYTHONPATH=path), capture_output=True, text=True, timeout=60, check=False
    )
    code = code_of(Ended(done.returncode, done.stdout, done.stderr, scripts.store))
    assert (code.entry_point, code.entry_kind, code.root) == ("train-it", "program", str(repository))


def test_a_hook_of_git_that_trains(scripts: Scripts, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"job.py": f"import multitrack as mt\nwith {CODE}: pass\n"})
    hook = repository / ".git" / "hooks" / "post-commit"
    hook.write_text(
        f"#!/bin/sh\nexport {' '.join(f'{key}={value}' for key, value in store_of(scripts).items())}\n{sys.executable} job.py\n"
    )
    hook.chmod(0o755)
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    code = code_of(Ended(0, "", "", scripts.store))
    assert (code.commit, code.dirty, code.root) == (git(repository, "rev-parse", "HEAD"), False, str(repository))


def store_of(scripts: Scripts) -> dict[str, str]:
    return {name: value for name, value in scripts.environment().items() if name in ("MULTITRACK_DIR", "HOME", "XDG_CONFIG_HOME")}


def test_a_repository_of_somebody_else_is_a_failure_that_is_told_once(scripts: Scripts) -> None:
    git(scripts.folder, "init", "-q")
    ended = scripts.run(f"with {CODE.replace(', quiet=True', '')}: pass", PATH=f"{fake_git(scripts.folder)}:{os.environ['PATH']}")
    assert "dubious ownership" in ended.state.failures["code"]
    assert ended.err.count("code could not be recorded") == 1
    assert ended.state.code is not None
    assert (ended.state.code.vcs, ended.state.code.branch, ended.state.code.dirty) == ("git", "main", None)


def fake_git(folder: Path) -> Path:
    """Return a folder with the real git, made to believe that everything belongs to somebody else."""
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexport GIT_TEST_ASSUME_DIFFERENT_OWNER=1 PATH="{os.environ["PATH"]}"\nexec git "$@"\n')
    program.chmod(0o755)
    return program.parent


CELLS = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in CELLS:
    shell.run_cell(cell, store_history=True)
"""


def test_cells_until_the_end_of_the_run(scripts: Scripts) -> None:
    cells = [
        "x = 1\nx",
        f"import multitrack as mt\nrun = {CODE}",
        "%timeit -n1 -r1 x",
        "url = 'https://me:hunter22@example.com'",
        "run.finish()",
    ]
    ended = scripts.run(f"CELLS = {[*cells, 'after = 1']!r}{CELLS}", HOME=str(scripts.folder), IPYTHONDIR=str(scripts.folder / ".ipython"))
    code = code_of(ended)
    assert (code.entry_kind, code.entry_point) == ("interactive", None)
    assert code.notebook is not None
    notebook = json.loads(kept(ended, "code/notebook.ipynb"))
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert [sources[place] for place in (0, 1, 2, 4)] == [cells[place] for place in (0, 1, 2, 4)]
    assert len(sources) == 5
    assert "hunter22" not in json.dumps(notebook)
    assert [one.name for one in code.omitted] == ["code/notebook.ipynb, cell 4"]


@pytest.mark.slow
def test_a_notebook(scripts: Scripts) -> None:
    from jupyter_client.manager import KernelManager

    kernel = KernelManager()
    env: dict[str, Any] = {"JPY_SESSION_NAME": str(scripts.folder / "study.ipynb"), "IPYTHONDIR": str(scripts.folder / ".ipython")}
    kernel.start_kernel(cwd=str(scripts.folder), env=scripts.environment(**env))
    client = kernel.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        for cell in ("import multitrack as mt", f"run = {CODE}", "loss = 0.5", "run.finish()"):
            answer = client.execute_interactive(cell, timeout=60, output_hook=lambda _message: None)
            assert answer["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    (folder,) = Store(scripts.store.root).runs()
    state = fold(Journal(folder).records())
    assert state.code is not None
    assert (state.code.entry_point, state.code.entry_kind) == ("study.ipynb", "notebook")
    notebook = json.loads((folder.artifacts / str(state.artifacts["code/notebook.ipynb"].sha256)).read_bytes())
    assert [cell["source"] for cell in notebook["cells"]][2:] == [["loss = 0.5"], ["run.finish()"]]
