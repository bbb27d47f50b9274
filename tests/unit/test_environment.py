"""The environment: what is found on real and made-up machines, and what is never recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from multitrack.capture.environment import capture_environment, environment, packages
from multitrack.capture.environment.container import find_container
from multitrack.capture.environment.jobs import JOB_VARIABLES, find_job
from multitrack.capture.environment.lock_files import find_lock_files, is_pinned
from multitrack.capture.environment.machine import find_machine
from multitrack.capture.environment.packages import checked_out, installed, scan, to_source
from multitrack.capture.environment.python import conda_packages
from multitrack.capture.environment.variables import RECORDED, selected
from multitrack.capture.recorder import Recorder
from multitrack.journal import RunFolder
from multitrack.masking import Mask
from multitrack.records import Artifact, Environment, PackageSource, Record, not_rebuildable, requirements


def distribution(site: Path, name: str, version: str, **files: str) -> Path:
    """Make the folder of an installed distribution."""
    folder = site / f"{name.replace('-', '_').lower()}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n\nName: in the description\n")
    for file, text in files.items():
        (folder / file.replace("_json", ".json")).write_text(text)
    return folder


# -- packages


def test_what_is_installed_here_is_what_the_standard_library_says() -> None:
    from importlib.metadata import distributions

    theirs: dict[str, str] = {}
    for found in distributions():
        theirs.setdefault(found.metadata["Name"], found.version)
    assert dict(installed().versions) == dict(sorted(theirs.items(), key=lambda item: item[0].lower()))


def test_of_two_with_one_name_the_first_counts_however_it_is_spelt(tmp_path: Path) -> None:
    distribution(tmp_path / "one", "Zope.Interface", "2.0", INSTALLER="uv\n")
    distribution(tmp_path / "two", "zope-interface", "1.0", INSTALLER="pip\n")
    distribution(tmp_path / "two", "other", "3", INSTALLER="pip\n")
    found = scan([str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "missing")])
    assert dict(found.versions) == {"other": "3", "Zope.Interface": "2.0"}
    assert dict(found.installers) == {"pip": 1, "uv": 1}


def test_metadata_of_all_ages_and_none(tmp_path: Path) -> None:
    (tmp_path / "old-1.0.egg-info").write_text("Metadata-Version: 1.0\nName: old\nVersion: 1.0\n")
    (tmp_path / "older.egg-info").mkdir()
    (tmp_path / "older.egg-info" / "PKG-INFO").write_text("Name: older\nVersion: 0.1\n")
    (tmp_path / "broken-2.dist-info").mkdir()
    (tmp_path / "empty-2.dist-info").mkdir()
    (tmp_path / "empty-2.dist-info" / "METADATA").write_text("")
    long = distribution(tmp_path, "long", "1.5")
    (long / "METADATA").write_text("Metadata-Version: 2.1\n" + "Classifier: of many\n" * 1000 + "Name: long\nVersion: 1.5\n")
    distribution(tmp_path, "odd", "1", direct_url_json="{")
    assert dict(scan([str(tmp_path)]).versions) == {"long": "1.5", "odd": "1", "old": "1.0", "older": "0.1"}


def test_installed_again_is_looked_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(tmp_path, "one", "1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    first = installed()
    assert first.versions["one"] == "1"
    assert installed() is first
    time.sleep(0.02)  # the clock of the disk
    distribution(tmp_path, "two", "2")
    assert installed().versions["two"] == "2"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"url": "https://me:secret@example.org/r.git", "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": "c0ffee"}},
            PackageSource(kind="vcs", url="https://example.org/r.git", vcs="git", commit="c0ffee", requested="main"),
        ),
        (
            {"url": "https://example.org/r.git", "vcs_info": {"vcs": "git", "commit_id": "c0"}, "subdirectory": "py"},
            PackageSource(kind="vcs", url="https://example.org/r.git", vcs="git", commit="c0", subdirectory="py"),
        ),
        ({"url": "file:///no/such%20place", "dir_info": {"editable": True}}, PackageSource(kind="editable", url="/no/such place")),
        ({"url": "file:///no/such", "dir_info": {}}, PackageSource(kind="local", url="/no/such")),
        (
            {"url": "file:///w.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
            PackageSource(kind="local", url="/w.whl", digest="sha256=ab"),
        ),
        (
            {"url": "https://u:p@example.org/w.whl", "archive_info": {"hash": "sha256=ab"}},
            PackageSource(kind="archive", url="https://example.org/w.whl", digest="sha256=ab"),
        ),
        ({"url": "https://example.org/w.whl"}, PackageSource(kind="archive", url="https://example.org/w.whl")),
    ],
)
def test_sources(said: dict[str, object], expected: PackageSource) -> None:
    assert to_source(said) == expected


@pytest.mark.slow
def test_real_installs(tmp_path: Path) -> None:
    """pip puts a folder, an editable one and one from git into a new environment, without a network."""
    project = tmp_path / "project"
    (project / "thing").mkdir(parents=True)
    (project / "thing" / "__init__.py").write_text("")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "thing"\nversion = "1.2"\n'
        '[tool.hatch.build]\ndev-mode-dirs = ["."]\n'
    )
    git = ["git", "-C", str(project), "-c", "user.name=n", "-c", "user.email=n@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    venv.create(tmp_path / "venv", with_pip=False)
    site = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    for wanted, expected in (
        ([str(project)], PackageSource(kind="local", url=str(project))),
        (["-e", str(project)], PackageSource(kind="editable", url=str(project), commit=commit)),
        ([f"git+file://{project}"], PackageSource(kind="vcs", url=f"file://{project}", vcs="git", commit=commit)),
    ):
        pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "venv"), "install", "-q", "--no-deps", "--no-build-isolation"]
        path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
        # --no-build-isolation builds with what the environment has: ours is lent to it.
        lent = next(entry for entry in sys.path if entry.endswith("site-packages"))
        subprocess.run([*pip, "--force-reinstall", *wanted], check=True, env={**os.environ, "PYTHONPATH": lent, "PATH": path})
        found = scan([str(site)])
        assert dict(found.versions) == {"thing": "1.2"}
        assert dict(found.sources) == {"thing": expected}
        assert dict(found.installers) == {"pip": 1}


def test_the_commit_of_an_editable_folder_without_git(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    (git / "refs/heads/a").mkdir(parents=True)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/a/b\n")
    assert checked_out(tmp_path / "deep/er") is None
    (git / "packed-refs").write_text("# pack-refs\nbeef refs/heads/a\nfeed refs/heads/a/b\n^1234\n")
    assert checked_out(tmp_path / "deep/er") == "feed"
    (git / "refs/heads/a/b").write_text("cafe\n")
    assert checked_out(tmp_path / "deep/er") == "cafe"
    (git / "HEAD").write_text("c0ffee\n")
    assert checked_out(tmp_path) == "c0ffee"


def test_requirements() -> None:
    here = Environment(
        time=0,
        packages={"zeta": "1", "Alpha": "2.0+cu121", "tool": "1", "wheel-of": "3", "svc": "0.1", "made": "1", "lost": "1"},
        sources={
            "tool": PackageSource(kind="vcs", url="https://example.org/t.git", vcs="git", commit="c0", subdirectory="py"),
            "wheel-of": PackageSource(kind="archive", url="https://example.org/w.whl", digest="sha256=ab"),
            "svc": PackageSource(kind="editable", url="/home/ann/svc", commit="feed"),
            "made": PackageSource(kind="local", url="/tmp/made.whl"),
            "lost": PackageSource(kind="vcs", url="https://example.org/l.git", vcs="git"),
        },
    )
    assert requirements(here) == [
        "Alpha==2.0+cu121",
        "tool @ git+https://example.org/t.git@c0#subdirectory=py",
        "wheel-of @ https://example.org/w.whl#sha256=ab",
        "zeta==1",
    ]
    assert [(item.name, item.reason) for item in not_rebuildable(here)] == [
        ("lost", "installed from https://example.org/l.git, and the commit was not noted"),
        ("made", "installed from /tmp/made.whl"),
        ("svc", "editable, in /home/ann/svc, at commit feed"),
    ]


def test_conda(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    for name in ("cuda-version-12.4-h3060b56_3.json", "python-3.12.1-hab00c5b_1_cpython.json", "history"):
        (tmp_path / "conda-meta" / name).touch()
    assert conda_packages(tmp_path) == ["cuda-version=12.4=h3060b56_3", "python=3.12.1=hab00c5b_1_cpython"]
    assert conda_packages(tmp_path / "nowhere") == []


# -- lock files


LOCK_FILES = [
    "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pixi.lock", "pylock.toml", "pylock.dev.toml", "conda-lock.yml",
    "gpu.conda-lock.yml", "environment.yml", "environment.yaml", "requirements.txt", "requirements-dev.txt",
]  # fmt: skip


def test_lock_files_up_to_the_projects_root(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "jobs" / "a").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    (tmp_path / "poetry.lock").touch()  # another project's
    for name in LOCK_FILES[:1] + LOCK_FILES[2:]:
        (project / name).write_text("numpy==2.1\n")
    (project / "jobs" / "uv.lock").touch()
    (project / "requirements-loose.txt").write_text("numpy>=2\n")
    found = find_lock_files(project / "jobs" / "a")
    assert {path.name for path in found} == set(LOCK_FILES) - {"poetry.lock"}
    assert next(path for path in found if path.name == "uv.lock").parent.name == "jobs"


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("numpy==2.1.0 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n# via x\n", True),
        ("--index-url https://example.org/simple\nnumpy==2.1.0 ; python_version > '3'\nt @ git+https://example.org/t@c0\n", True),
        ("numpy>=2\n", False),
        ("numpy==2.1\npandas\n", False),
        ("numpy ; python_version == '3.12'\n", False),
        ("# nothing\n-r other.txt\n", False),
        ("", False),
    ],
)
def test_pinned_requirements(tmp_path: Path, text: str, pinned: bool) -> None:
    (path := tmp_path / "requirements.txt").write_text(text)
    assert is_pinned(path) is pinned


def test_lock_files_are_kept_but_those_with_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    (tmp_path / "multitrack.toml").touch()
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (tmp_path / "pdm.lock").write_text('url = "https://me:kZ8vQ2mR7tLw@example.org/simple"\n')
    monkeypatch.chdir(tmp_path)
    written: list[Record] = []
    recorder = Recorder(folder=RunFolder(tmp_path / "run"), write=written.append, mask=Mask())
    capture_environment(recorder)
    artifact, here = written
    assert isinstance(artifact, Artifact)
    assert isinstance(here, Environment)
    assert (artifact.name, [ref.name for ref in here.lock_files]) == ("environment/uv.lock", ["environment/uv.lock"])
    assert recorder.folder.content(str(artifact.sha256)).read_text() == "version = 1\n"
    (omitted,) = (item for item in here.omitted if item.name == "pdm.lock")
    assert omitted.reason.startswith("holds ")
    assert not any(b"kZ8vQ2mR7tLw" in path.read_bytes() for path in recorder.folder.path.rglob("*") if path.is_file())


# -- machine, container, job


def test_this_machine() -> None:
    here = environment()
    assert (here.executable, here.prefix, here.prefix_kind) == (sys.executable, sys.prefix, "venv")
    assert here.sources["multitrack"].kind == "editable"
    assert here.architecture
    assert here.libc
    assert 0 < (here.cpu_affinity or 0) <= (here.cpu_count or 0)
    assert (here.cpu_physical or 0) <= (here.cpu_count or 0)


def test_what_the_control_groups_allow(tmp_path: Path) -> None:
    for name, text in {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "proc/cpuinfo": "processor: 0\nmodel name\t: Fast One\n",
        "sys/fs/cgroup/cpu.max": "250000 100000\n",
        "sys/fs/cgroup/memory.max": "1073741824\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = find_machine(tmp_path)
    assert (found["cpu_limit"], found["memory_limit"], found["cpu"]) == (2.5, 1 << 30, "Fast One")


@pytest.mark.parametrize(
    ("files", "env", "expected"),
    [
        ({}, {}, (None, None)),
        ({}, {"DOCKER_IMAGE": "an/image:1"}, (None, None)),
        ({".dockerenv": ""}, {}, ("docker", None)),
        ({".dockerenv": ""}, {"CONTAINER_IMAGE": "an/image:1"}, ("docker", "an/image:1")),
        ({"run/.containerenv": 'engine="podman"\nimage="an/image:2"\n'}, {"container": "podman"}, ("podman", "an/image:2")),
        ({"run/.containerenv": ""}, {}, ("podman", None)),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ("kubernetes", None)),
        ({}, {"APPTAINER_CONTAINER": "/images/a.sif"}, ("apptainer", "/images/a.sif")),
        ({}, {"SINGULARITY_CONTAINER": "/images/a.sif"}, ("singularity", "/images/a.sif")),
        ({}, {"container": "lxc"}, ("lxc", None)),
        ({"proc/self/cgroup": "4:cpu:/docker/1f2e\n"}, {}, ("docker", None)),
        ({"proc/self/cgroup": "0::/kubepods.slice/pod1\n"}, {}, ("kubernetes", None)),
        ({"proc/self/cgroup": "0::/user.slice/docker-notes\n"}, {}, (None, None)),
    ],
)  # fmt: skip
def test_containers(tmp_path: Path, files: dict[str, str], env: dict[str, str], expected: tuple[str | None, str | None]) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert find_container(env, tmp_path) == expected


@pytest.mark.parametrize(
    "env",
    [
        {"SLURM_JOB_ID": "71", "SLURM_PROCID": "3"},
        {"PBS_JOBID": "71.head"},
        {"LSB_JOBID": "71", "LSB_QUEUE": "gpu"},
        {"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "8", "MASTER_ADDR": "n1"},
        {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"},
        {"PMI_RANK": "1", "PMI_SIZE": "2"},
        {"RAY_JOB_ID": "01000000"},
    ],
)
def test_jobs(tmp_path: Path, env: dict[str, str]) -> None:
    assert find_job({**env, "HOME": "/root", "SLURM_CONF": "/etc/x", "JOB_NAME": "alone"}, tmp_path) == env


def test_a_pod(tmp_path: Path) -> None:
    place = tmp_path / "var/run/secrets/kubernetes.io/serviceaccount"
    place.mkdir(parents=True)
    (place / "namespace").write_text("team\n")
    (place / "token").write_text("secret")
    env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOSTNAME": "job-0-abcde", "JOB_COMPLETION_INDEX": "0"}
    assert find_job(env, tmp_path) == {"JOB_COMPLETION_INDEX": "0", "POD_NAME": "job-0-abcde", "POD_NAMESPACE": "team"}
    env |= {"POD_NAME": "mine", "POD_NAMESPACE": "ours"}
    assert find_job(env, tmp_path) == {"JOB_COMPLETION_INDEX": "0", "POD_NAME": "mine", "POD_NAMESPACE": "ours"}


# -- variables


def test_only_what_is_listed_or_asked_for() -> None:
    env = {"OMP_NUM_THREADS": "4", "HOME": "/h", "AWS_SECRET_ACCESS_KEY": "x", "MY_FLAG": "1", "NCCL_ODD": "2", "EMPTY": "", "TZ": ""}
    assert selected(env, Mask()) == {"OMP_NUM_THREADS": "4"}
    assert selected(env, Mask(), ["MY_FLAG", "NCCL_*", "EMPTY"]) == {"MY_FLAG": "1", "NCCL_ODD": "2", "OMP_NUM_THREADS": "4"}


def test_credentials_are_left_out_or_masked() -> None:
    env = {"MY_TOKEN": "abc", "MY_API_KEY": "abc", "MY_URL": "https://me:hunter2@example.org/x", "PYTHONPATH": "/a:https://u:pass@h/b"}
    found = selected(env, Mask(), ["MY_*"])
    assert set(found) == {"MY_URL", "PYTHONPATH"}
    assert "hunter2" not in str(found)
    assert "u:pass" not in str(found)


def test_nothing_that_is_listed_has_the_name_of_a_credential() -> None:
    mask = Mask()
    listed = [name for names in (*RECORDED.values(), *JOB_VARIABLES.values()) for name in names]
    assert [name for name in listed if mask.is_secret_name(name)] == []
    assert len(listed) == len(set(listed))


def test_the_page_lists_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs/records/environment.md").read_text(encoding="utf-8")
    names = [name for names in (*RECORDED.values(), *JOB_VARIABLES.values()) for name in names]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_a_scan_is_quick(tmp_path: Path) -> None:
    for number in range(300):
        distribution(tmp_path, f"package-{number}", "1.0", INSTALLER="pip", direct_url_json=json.dumps({"url": "https://h/x.whl"}))
    packages._found = None
    started = time.process_time()
    assert len(scan([str(tmp_path)]).versions) == 300
    assert time.process_time() - started < 0.5
