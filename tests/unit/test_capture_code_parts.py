"""The parts that find out which code runs, each by itself."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from multitrack.capture.code.entry import Entry, _notebook
from multitrack.capture.code.modules import imported_below, is_installed
from multitrack.capture.code.notebook import make_notebook
from multitrack.capture.code.patch import split_patch, unquote
from multitrack.capture.code.search import PIECE, NoTimeLeftError, find_credential
from multitrack.capture.code.status import read_status
from multitrack.capture.code.survey import choose_repository
from multitrack.masking import Mask
from support.repositories import make_repository, write


def test_a_patch_by_file() -> None:
    sections = [
        b"diff --git a/a b b/a b\nold mode 100644\nnew mode 100755\n",
        b'diff --git "a/t\\tab" "b/t\\tab"\nindex 1..2 100644\n--- "a/t\\tab"\n+++ "b/t\\tab"\n@@ -1 +1 @@\n-diff --git a/x b/x\n+---\n',
        b"diff --git a/gone b/gone\ndeleted file mode 100644\nindex 1..0\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n",
        b"diff --git a/one b/other\nsimilarity index 100%\nrename from one\nrename to other\n",
        b"diff --git a/w.bin b/w.bin\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZ\n\nliteral 0\nHcmV\n\n",
        b"diff --git a/my file b/my file\nindex 1..2 100644\n--- a/my file\t\n+++ b/my file\t\n@@ -1 +1 @@\n-x\n+y\n",
    ]
    parts = split_patch(b"".join(sections) + b"* Unmerged path x\n")
    assert [part.path for part in parts] == [b"a b", b"t\tab", b"gone", b"other", b"w.bin", b"my file"]
    assert [part.content for part in parts] == sections
    assert [part.binary for part in parts] == [False, False, False, False, True, False]
    assert split_patch(b"") == []


def test_what_is_about_one_path_stays_together() -> None:
    away = b"diff --git a/f b/f\ndeleted file mode 100644\n--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
    back = b"diff --git a/f b/f\nnew file mode 120000\n--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+a\n"
    assert [part.content for part in split_patch(away + back)] == [away + back]


def test_quoted_names() -> None:
    assert unquote(rb'"a/\303\251\\\"\n"') == b'a/\xc3\xa9\\"\n'
    assert unquote(b"a/plain") == b"a/plain"
    assert unquote(b'"') == b'"'


def test_a_status_with_everything_in_it() -> None:
    answer = b"\0".join(
        [
            b"# branch.oid c0ffee",
            b"# branch.head side",
            b"# branch.upstream origin/side",
            b"1 .M N... 100644 100644 100644 aa aa with a blank.py",
            b"1 .M SC.. 160000 160000 160000 aa aa lib",
            b"2 R. N... 100644 100644 100644 aa aa R100 new.py",
            b"old.py",
            b"u UU N... 100644 100644 100644 100644 aa bb cc both.py",
            b"? new\n line",
            b"? clone/",
            b"! ignored",
            b"",
        ]
    )
    status = read_status(answer)
    assert (status.commit, status.branch) == ("c0ffee", "side")
    assert status.changed == ["with a blank.py", "new.py", "both.py"]
    assert (status.unmerged, status.submodules, status.untracked) == (["both.py"], ["lib"], ["new\n line", "clone/"])
    assert read_status(b"# branch.oid (initial)\0# branch.head (detached)\0").commit is None


SECRET = b"https://me:hunter22@example.com/x"


@pytest.mark.parametrize("place", [0, 1, PIECE // 2 - 10, PIECE - 20, PIECE, 3 * PIECE])
def test_a_credential_is_found_wherever_it_stands(place: int) -> None:
    lines = b"x = 1\n" * (place // 6)
    found = find_credential(Mask(), lines + SECRET + b"\n" + lines, time.monotonic() + 60)
    assert found is not None
    assert found.endswith(f", line {place // 6 + 1}")
    assert find_credential(Mask(), b"x" * place + b" " + SECRET + b" " + b"x" * PIECE, time.monotonic() + 60) is not None
    binary = find_credential(Mask(), b"\0\xff" * place + SECRET + b"\0", time.monotonic() + 60)
    assert binary is not None
    assert "line" not in binary
    assert find_credential(Mask(), lines, time.monotonic() + 60) is None


def test_a_search_ends_in_time() -> None:
    with pytest.raises(NoTimeLeftError):
        find_credential(Mask(), b"x = 1\n", time.monotonic() - 1)


def test_a_notebook_of_cells() -> None:
    cells = ["import os\n%matplotlib inline", "URL = 'https://me:hunter22@example.com'", "", "print('\ud800')"]
    content, omitted = make_notebook(cells, Mask())
    notebook = json.loads(content)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert [cell["execution_count"] for cell in notebook["cells"]] == [1, 2, 3, 4]
    assert "".join(notebook["cells"][0]["source"]) == cells[0]
    assert all(set(cell) == {"cell_type", "execution_count", "id", "metadata", "outputs", "source"} for cell in notebook["cells"])
    assert b"hunter22" not in content
    assert [one.name for one in omitted] == ["code/notebook.ipynb, cell 2"]


@pytest.mark.parametrize(
    ("variables", "session", "expected"),
    [
        ({"__vsc_ipynb_file__": "/nb/a.ipynb"}, None, Path("/nb/a.ipynb")),
        ({}, "/nb/b.ipynb", Path("/nb/b.ipynb")),
        ({}, "session-id", None),
        ({}, None, None),
    ],
)
def test_where_a_notebook_lies(variables: dict[str, str], session: str | None, expected: Path | None) -> None:
    shell = SimpleNamespace(user_ns=variables, kernel=object())
    assert _notebook(shell, {"JPY_SESSION_NAME": session} if session else {}) == expected


def test_whose_repository(tmp_path: Path) -> None:
    ours, other = make_repository(tmp_path / "ours"), make_repository(tmp_path / "other")
    write(ours, {"bin/train.py": "", "lib/site-packages/tool/main.py": ""})
    script, installed, alone = ours / "bin" / "train.py", ours / "lib" / "site-packages" / "tool" / "main.py", tmp_path / "alone.py"
    alone.touch()
    link = tmp_path / "link.py"
    link.symlink_to(script)
    assert choose_repository(Entry("script", str(script), script, other)) == ours
    assert choose_repository(Entry("script", str(link), link, tmp_path)) == ours
    assert choose_repository(Entry("module", "-m tool", installed, other)) == other
    assert choose_repository(Entry("script", str(alone), alone, other)) == other
    assert choose_repository(Entry("inline", "-c", None, tmp_path)) is None
    (tmp_path / ".git").mkdir()  # somebody's accident
    assert choose_repository(Entry("inline", "-c", None, tmp_path)) is None


def test_modules_of_the_project_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"own_module.py": "", "own_package/__init__.py": "", "venv/site-packages/installed_module.py": "", "main.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "venv" / "site-packages"))
    for name in ("own_module", "own_package", "installed_module"):
        __import__(name)
    assert imported_below(tmp_path, tmp_path / "main.py") == ["main.py", "own_module.py", "own_package/__init__.py"]
    assert is_installed(Path(json.__file__))
    assert not is_installed(Path(__file__))
