"""Configuration: precedence, targets, secrets, and what is said about each kind of mistake."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from multitrack.config import Filters, Selection, Settings, Target, load_settings
from multitrack.config.files import find_lines
from multitrack.config.variables import default_finish_timeout
from multitrack.errors import ConfigError, MissingExtraError, UnknownBackendError
from multitrack.records import Artifact, Metrics, Points, RunFinished, RunStarted, Summary
from multitrack.registry import load_backend
from support.plugins import SHELF, installed, write_plugin

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The third-party backend `shelf`."""
    folder = tmp_path_factory.mktemp("site")
    write_plugin(folder, "shelf", "shelf", "shelf_backend:ShelfBackend", shelf_backend=SHELF)
    with installed(folder):
        yield


class Place:
    """A repository with a working folder two levels down, and a home of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.cwd, self.home = root / "repo", root / "repo/src/deep", root / "home"
        (self.root / ".git").mkdir(parents=True)
        self.cwd.mkdir(parents=True)
        self.env = {"XDG_CONFIG_HOME": str(self.home)}

    def write(self, text: str, path: str = "multitrack.toml") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def write_user(self, text: str, mode: int = 0o600) -> Path:
        file = self.home / "multitrack/config.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def load(self, env: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
        return load_settings(self.cwd, {**self.env, **(env or {})}, **arguments)

    def refuse(self, env: Mapping[str, str] | None = None, kind: type[ConfigError] = ConfigError, **arguments: Any) -> str:
        with pytest.raises(kind) as caught:
            self.load(env, **arguments)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def names(settings: Settings) -> list[str]:
    return [target.name for target in settings.targets]


# -- precedence -------------------------------------------------------------------------------------------------------


def test_without_any_setting_runs_go_to_the_local_store(place: Place) -> None:
    settings = place.load()
    assert settings.targets == ()
    assert settings.backends == ("local",)
    assert settings.dir == place.root / ".multitrack"
    assert (settings.mode, settings.project, settings.quiet, settings.run_id) == ("online", "default", False, None)
    assert {str(origin) for origin in settings.origins.values()} == {"default"}


def test_argument_variable_project_file_user_file_default_in_this_order(place: Place) -> None:
    user = place.write_user('project = "user"\n')
    assert (place.load().project, str(place.load().origins["project"])) == ("user", f"{user}:1")
    file = place.write('\nproject = "file"\n')
    assert (place.load().project, str(place.load().origins["project"])) == ("file", f"{file}:2")
    env = {"MULTITRACK_PROJECT": "variable"}
    assert (place.load(env).project, str(place.load(env).origins["project"])) == ("variable", "MULTITRACK_PROJECT")
    settings = place.load(env, project="argument")
    assert (settings.project, str(settings.origins["project"])) == ("argument", "argument")


@pytest.mark.parametrize("key", ["backends", "mode", "dir", "project", "quiet", "finish_timeout"])
def test_every_setting_can_be_made_in_a_file_and_as_a_variable(place: Place, key: str) -> None:
    written = {"backends": ("shelf",), "mode": "deferred", "dir": "/store", "project": "p", "quiet": True, "finish_timeout": 3.0}[key]
    expected = Path("/store") if key == "dir" else written
    place.write(f"{key} = {json.dumps(written)}\n")
    assert getattr(place.load(), key) == expected
    (place.root / "multitrack.toml").unlink()
    text = "shelf" if key == "backends" else str(written)
    assert getattr(place.load({f"MULTITRACK_{key.upper()}": text}), key) == expected


def test_an_empty_variable_is_an_unset_one(place: Place) -> None:
    place.write('mode = "deferred"\n')
    assert place.load({"MULTITRACK_MODE": "", "MULTITRACK_BACKENDS": ""}).mode == "deferred"


def test_the_run_to_join_comes_from_its_variable(place: Place) -> None:
    assert place.load({"MULTITRACK_RUN_ID": RUN}).run_id == RUN
    assert "run id" in place.refuse({"MULTITRACK_RUN_ID": "mine"})


def test_local_among_the_backends_adds_no_target(place: Place) -> None:
    assert names(place.load({"MULTITRACK_BACKENDS": "local, shelf"})) == ["shelf"]
    assert names(place.load({"MULTITRACK_BACKENDS": "local"})) == []


def test_the_local_store_by_its_address_is_no_target_but_another_store_is(place: Place) -> None:
    settings = place.load(backends=[f"local:{place.root}/.multitrack", "local:./archive"])
    assert [(target.backend, target.location) for target in settings.targets] == [("local", f"{place.cwd}/archive")]
    assert settings.target("local") == settings.target(f"local:{place.root}/.multitrack")
    assert settings.target(RUN).location == str(settings.dir)


def test_nothing_is_resolved_when_recording_is_disabled(place: Place) -> None:
    assert place.load(mode="disabled", backends="nonsense").targets == ()


def test_a_wait_is_longer_where_nobody_watches(tmp_path: Path) -> None:
    assert default_finish_timeout({}, tmp_path) == 60
    assert default_finish_timeout({"CI": "false"}, tmp_path) == 60
    for name in ("CI", "SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST"):
        assert default_finish_timeout({name: "1"}, tmp_path) == 600
    (tmp_path / ".dockerenv").touch()
    assert default_finish_timeout({}, tmp_path) == 600


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_nearest_file_counts_and_only_that_one(place: Place) -> None:
    place.write('project = "root"\nmode = "deferred"\n')
    place.write('[project]\nname = "x"\n[tool.multitrack]\nproject = "near"\n', "src/pyproject.toml")
    settings = place.load()
    assert (settings.project, settings.mode) == ("near", "online")
    assert str(settings.origins["project"]) == f"{place.root}/src/pyproject.toml:4"


def test_a_pyproject_without_our_table_is_passed_by(place: Place) -> None:
    place.write('project = "root"\n')
    place.write('[project]\nname = "multitrack-user"\n', "src/pyproject.toml")
    assert place.load().project == "root"


def test_multitrack_toml_goes_before_pyproject_in_one_folder(place: Place) -> None:
    place.write('project = "own"\n')
    place.write('[tool.multitrack]\nproject = "shared"\n', "pyproject.toml")
    assert place.load().project == "own"


def test_the_search_ends_at_the_repository(place: Place) -> None:
    (place.root.parent / "multitrack.toml").write_text('project = "above"\n')
    assert place.load().project == "default"


def test_a_file_left_in_a_shared_temporary_folder_is_not_obeyed(tmp_path: Path) -> None:
    shared, cwd = tmp_path / "tmp", tmp_path / "tmp/mine"
    cwd.mkdir(parents=True)
    (shared / "multitrack.toml").write_text('project = "planted"\n')
    env = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    assert load_settings(cwd, env).project == "planted"
    shared.chmod(0o1777)
    settings = load_settings(cwd, env)
    assert (settings.project, settings.dir) == ("default", cwd / ".multitrack")


def test_relative_folders_start_from_their_file_or_the_working_folder(place: Place) -> None:
    place.write('dir = "runs"\nbackends = ["near"]\n[targets.near]\nbackend = "shelf"\nlocation = "./there"\n')
    settings = place.load()
    assert settings.dir == place.root / "runs"
    assert settings.targets[0].location == f"{place.root}/there"
    settings = place.load({"MULTITRACK_DIR": "../x", "MULTITRACK_BACKENDS": "shelf:./here"})
    assert settings.dir == place.cwd.parent / "x"
    assert settings.targets[0].location == f"{place.cwd}/here"
    assert place.load(dir="~/store").dir == Path.home() / "store"


def test_the_store_lies_at_the_project_root(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    env = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    assert load_settings(tmp_path / "a/b", env).dir == tmp_path / "a/b/.multitrack"
    (tmp_path / "a/pyproject.toml").touch()
    assert load_settings(tmp_path / "a/b", env).dir == tmp_path / "a/.multitrack"


def test_every_key_has_its_line_however_it_is_written() -> None:
    text = (
        'backends = [\n  "a", # one\n  "b",\n]\n\n# note\nmode = """\nx = 1\n"""\n'
        '[targets.prod]\nlocation = "x"\nexclude = { metrics = ["a"] }\n\n[targets."b c"]\nx.y = 1\n[[list]]\nz = 1\n'
    )
    lines = find_lines(text)
    assert lines["backends",] == 1
    assert lines["mode",] == 7
    assert lines["targets",] == lines["targets", "prod"] == 10
    assert lines["targets", "prod", "location"] == 11
    assert lines["targets", "prod", "exclude", "metrics"] == 12
    assert lines["targets", "b c"] == 14
    assert lines["targets", "b c", "x", "y"] == 15
    assert lines["list",] == 16
    assert lines["list", "z"] == 17
    assert ("x",) not in lines


# -- mistakes ---------------------------------------------------------------------------------------------------------

PROD = 'backends = ["prod"]\n[targets.prod]\nbackend = "shelf"\n'


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("mode = online", 1, "not valid TOML"),
        ('mode = "online"\nx = [1,\n', 3, "not valid TOML"),
        ('mode = "onlin"', 1, "mode: expected one of online, deferred, disabled, inline, not 'onlin'. Did you mean 'online'?"),
        ('\nmdoe = "online"', 2, "unknown setting 'mdoe'. Did you mean 'mode'?"),
        ("quiet = 3", 1, "quiet: expected true or false, not 3"),
        ("finish_timeout = -1", 1, "finish_timeout: expected a number of seconds, 0 or more, not -1"),
        ("backends = [1]", 1, "backends: expected a list of texts"),
        ("project = 3", 1, "project: expected a name, not 3"),
        ('dir = ""', 1, "dir: expected a path, not ''"),
        ('targets = "x"', 1, "targets are tables: [targets.NAME]"),
        ('[targets]\nx = "y"', 2, "is a table: [targets.x]"),
        ('[targets."a b"]\nbackend = "shelf"', 1, "cannot name a target"),
        (f"[targets.{RUN}]\n", 1, "cannot name a target"),
        ('[targets.local]\nlocation = "x"', 1, "set its folder with `dir`"),
        ("[targets.a-b]\n\n[targets.a_b]\n", 3, "would share their variables"),
        ('backends = ["pord"]\n[targets.prod]\nbackend = "shelf"', 1, "neither a target nor a backend. Did you mean 'prod'?"),
        ('backends = ["http://127.0.0.1"]', 1, "'mlflow:http://127.0.0.1'"),
        ('backends = ["shelf:nowhere"]', 1, "nowhere is no place"),
        ('backends = ["prod"]\n[targets.prod]\n', 2, "names no backend"),
        ('backends = ["prod"]\n[targets.prod]\nbackend = "shlf"', 3, "Did you mean 'shelf'?"),
        ('backends = ["prod"]\n[targets.prod]\nbackend = 1', 3, "backend is a text, not 1"),
        ('backends = ["mlflow"]\n[targets.mlflow]\nbackend = "shelf"', 3, "'mlflow' is the name of a backend"),
        (PROD + "location = 1", 4, "location is a text, not 1"),
        (PROD + 'location = "nowhere"', 4, "nowhere is no place"),
        (PROD + "heigth = 1", 4, "unknown setting 'heigth' of the target 'prod'. Did you mean 'height'?"),
        (PROD + 'height = "tall"', 4, "height: input should be a valid number, unable to parse string as a number, not 'tall'"),
        (PROD + "exclude = 1", 4, "exclude: expected a table"),
        (PROD + 'exclude = { metric = ["x"] }', 4, "unknown key 'metric'. Did you mean 'metrics'?"),
        (PROD + 'include = { metrics = "x" }', 4, "metrics is a list of texts, not 'x'"),
        (PROD + 'exclude = { kinds = ["console"] }', 4, "there is no kind 'console'"),
        (PROD + 'exclude = { kinds = ["run_started"] }', 4, "there is no kind 'run_started'"),
        ('backends = ["prod:x"]\n[targets.prod]\nbackend = "shelf"', 1, "has its location from"),
        ('backends = ["a", "b"]\n[targets.a]\nbackend = "shelf"\n[targets.b]\nbackend = "shelf"', 1, "are the same place"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_file_and_line(place: Place, text: str, line: int, reason: str) -> None:
    file = place.write(text)
    message = place.refuse()
    assert message.startswith(f"{file}:{line}: ")
    assert reason in message


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        ({"MULTITRACK_MODE": "onlin"}, "MULTITRACK_MODE: expected one of"),
        ({"MULTITRACK_QUIET": "perhaps"}, "MULTITRACK_QUIET: expected true or false"),
        ({"MULTITRACK_FINISH_TIMEOUT": "nan"}, "MULTITRACK_FINISH_TIMEOUT: expected a number of seconds"),
        ({"MULTITRACK_BACKENDS": "shelf,shlef"}, "MULTITRACK_BACKENDS: 'shlef' is neither a target nor a backend. Did you mean 'shelf'?"),
        ({"MULTITRACK_BACKENDS": "shelf", "MULTITRACK_SHELF__HEIGHT": "tall"}, "MULTITRACK_SHELF__HEIGHT: target 'shelf': height: "),
        ({"MULTITRACK_BACKENDS": "shelf", "MULTITRACK_SHELF__HIGHT": "1"}, "MULTITRACK_SHELF__HIGHT: unknown setting 'hight'"),
        ({"MULTITRACK_BACKENDS": "shelf", "MULTITRACK_SHELF__LABELS": "[1"}, "MULTITRACK_SHELF__LABELS: not valid JSON"),
    ],
)
def test_a_mistake_in_a_variable_is_named_with_the_variable(place: Place, env: dict[str, str], reason: str) -> None:
    assert reason in place.refuse(env)


@pytest.mark.parametrize(
    ("backends", "reason"),
    [
        (3, "backends: a backend is named by a text or a table, not by something of type int"),
        ({"location": "x"}, "needs a `backend`"),
        ({"backend": "shelf", "name": "a b"}, "cannot name a target"),
        ({"backend": "shelf", "hight": 1}, "argument: unknown setting 'hight'"),
        ([{"backend": "shelf", "height": 1}, {"backend": "shelf", "height": 2}], "two different targets are named 'shelf'"),
    ],
)
def test_a_mistake_in_an_argument_is_told(place: Place, backends: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        place.load(backends=backends)


def test_a_missing_extra_is_an_error_unless_delivery_is_deferred(place: Place, tmp_path: Path) -> None:
    needy = SHELF.replace('"shelf"', '"needy"').replace('label = "Shelf"', 'label = "Needy"\n    requires = ("no_such_package",)')
    write_plugin(tmp_path / "site", "needy", "needy", "needy_backend:ShelfBackend", needy_backend=needy)
    with installed(tmp_path / "site"):
        assert "no_such_package" in place.refuse(kind=MissingExtraError, backends="needy")
        deferred = place.load(backends="needy", mode="deferred").targets[0]
        with pytest.raises(MissingExtraError):
            deferred.connect()


def test_an_unknown_backend_has_its_own_error(place: Place) -> None:
    place.refuse(kind=UnknownBackendError, backends="mlfow")


def test_variables_that_mean_nothing_are_noticed(place: Place) -> None:
    place.write("[targets.prod]\n")
    notices = place.load({"MULTITRACK_BACKEND": "x", "MULTITRACK_PORD__X": "1", "MULTITRACK_PROD__X": "1", "MULTITRACK_DEBUG": "1"}).notices
    assert notices == (
        "the variable MULTITRACK_BACKEND means nothing to multitrack. Did you mean MULTITRACK_BACKENDS?",
        "the variable MULTITRACK_PORD__X belongs to no target. Did you mean PROD?",
    )


# -- targets ----------------------------------------------------------------------------------------------------------


def test_a_configured_target_has_its_name_settings_and_filters(place: Place) -> None:
    place.write(PROD + 'location = "x"\nheight = 2\nlabels = ["a"]\nexclude = { metrics = ["debug/*"], kinds = ["log_lines"] }\n')
    (target,) = place.load().targets
    assert (target.name, target.backend, target.location) == ("prod", "shelf", "x")
    assert target.settings.model_dump(exclude_unset=True) == {"height": 2.0, "labels": ["a"]}
    assert target.filters == Filters(exclude=Selection(metrics=("debug/*",), kinds=("log_lines",)))
    backend = target.connect()
    assert type(backend) is load_backend("shelf")
    assert (backend.location, backend.settings) == ("x", target.settings)


def test_a_backend_by_its_name_is_its_default_place(place: Place) -> None:
    (target,) = place.load(backends="shelf").targets
    assert (target.name, target.location) == ("shelf", "/default")


def test_an_address_has_a_name_that_stays_the_same(place: Place) -> None:
    (first,) = place.load(backends="shelf:./x").targets
    (again,) = place.load(backends=f"shelf:{place.cwd}/x").targets
    (other,) = place.load(backends="shelf:./y").targets
    assert first == again
    assert first.name.startswith("shelf-")
    assert len(first.name) == len("shelf-") + 8
    assert other.name != first.name


def test_the_address_of_a_configured_target_is_that_target(place: Place) -> None:
    place.write('[targets.prod]\nbackend = "shelf"\nlocation = "./x"\nheight = 3\n')
    assert names(place.load(backends=[f"shelf:{place.root}/x", "prod"])) == ["prod"]


def test_a_table_named_after_its_backend_sets_the_default_place_up(place: Place) -> None:
    place.write('backends = ["shelf"]\n[targets.shelf]\nheight = 4\n')
    (target,) = place.load().targets
    assert target.settings.model_dump()["height"] == 4


def test_variables_set_a_target_up_and_go_before_files(place: Place) -> None:
    place.write(PROD + 'height = 2\nlocation = "x"\n')
    env = {
        "MULTITRACK_PROD__HEIGHT": "3.5",
        "MULTITRACK_PROD__OPEN": "true",
        "MULTITRACK_PROD__LABELS": '["a", "b"]',
        "MULTITRACK_PROD__NOTE": "[not JSON]",
        "MULTITRACK_PROD__EXCLUDE": '{"metrics": ["m"]}',
        "MULTITRACK_PROD__LOCATION": "y",
    }
    (target,) = place.load(env).targets
    assert target.settings.model_dump(exclude_unset=True) == {"height": 3.5, "open": True, "labels": ["a", "b"], "note": "[not JSON]"}
    assert target.filters.exclude.metrics == ("m",)
    assert target.location == "y"
    assert str(target.origins["height"]) == "MULTITRACK_PROD__HEIGHT"


def test_variables_alone_define_a_target(place: Place) -> None:
    env = {"MULTITRACK_BACKENDS": "my-box", "MULTITRACK_MY_BOX__BACKEND": "shelf", "MULTITRACK_MY_BOX__LOCATION": "z"}
    (target,) = place.load(env).targets
    assert (target.name, target.backend, target.location) == ("my-box", "shelf", "z")


def test_a_table_in_code_is_a_target(place: Place) -> None:
    one, two = place.load(backends=[{"backend": "shelf", "location": "z", "key": "hush"}, {"backend": "shelf", "name": "two"}]).targets
    assert one.name.startswith("shelf-")
    assert one.secrets() == {"key": "hush"}
    assert "hush" not in repr(place.load(backends=[{"backend": "shelf", "location": "z", "key": "hush"}]))
    assert (two.name, two.location) == ("two", "/default")


def test_what_is_already_a_target_or_a_backend_is_taken_as_it_is(place: Place) -> None:
    (target,) = place.load(backends="shelf").targets
    assert place.load(backends=target).targets == (target,)
    backend = target.connect()
    (wrapped,) = place.load(backends=[backend], mode="inline").targets
    assert wrapped.connect() is backend
    assert "mode='inline'" in place.refuse(backends=[backend])


def test_any_address_can_be_asked_for(place: Place) -> None:
    place.write('[targets.prod]\nbackend = "shelf"\nlocation = "x"\n')
    settings = place.load()
    assert settings.target("prod").location == "x"
    assert settings.target(f"prod#{RUN}").name == "prod"
    assert settings.target("shelf:y").location == "y"


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_in_a_projects_file_is_refused(place: Place) -> None:
    file = place.write(PROD + 'key = "hush"\n')
    message = place.refuse()
    assert message.startswith(f"{file}:4: 'key' is a secret")
    assert "set MULTITRACK_PROD__KEY or SHELF_KEY instead" in message
    assert "hush" not in message


def test_a_secret_in_the_users_file_is_taken_while_nobody_else_can_read_it(place: Place) -> None:
    place.write(PROD)
    file = place.write_user('[targets.prod]\nkey = "hush"\n')
    assert place.load().targets[0].secrets() == {"key": "hush"}
    for mode in (0o640, 0o604):
        file.chmod(mode)
        assert f"chmod 600 {file}" in place.refuse()


def test_a_users_login_is_not_sent_to_a_place_that_a_project_chose(place: Place) -> None:
    place.write(PROD + 'location = "elsewhere"\n')
    place.write_user('[targets.prod]\nlocation = "mine"\nkey = "hush"\n')
    assert "another place" in place.refuse()


@pytest.mark.parametrize("location", ["http://alice:hush@host", "https://hush@host", "http://host/?token=hush"])
def test_a_location_holds_no_login(place: Place, location: str) -> None:
    for arguments in ({"backends": f"shelf:{location}"}, {"backends": [{"backend": "shelf", "location": location}]}):
        message = place.refuse(**arguments)
        assert "login" in message
        assert "hush" not in message


def test_a_wrong_secret_is_not_repeated(place: Place) -> None:
    assert "12345" not in place.refuse(backends={"backend": "shelf", "key": [12345]})


def test_a_secret_shows_nowhere(place: Place) -> None:
    (target,) = place.load({"MULTITRACK_BACKENDS": "shelf", "MULTITRACK_SHELF__KEY": "hush"}).targets
    settings = place.load({"MULTITRACK_BACKENDS": "shelf", "MULTITRACK_SHELF__KEY": "hush"})
    shown = f"{target!r} {target} {json.dumps(target.public())} {target.origins} {settings!r} {settings.origins}"
    assert "hush" not in shown
    assert target.secrets() == {"key": "hush"}


def test_a_target_is_saved_without_its_secrets_and_finds_them_again(place: Place) -> None:
    env = {"MULTITRACK_PROD__KEY": "hush", **place.env}
    place.write(PROD + 'height = 2\nlocation = "./x"\ninclude = { artifacts = ["*.pt"] }\n')
    (target,) = place.load(env).targets
    saved = json.loads(json.dumps(target.public()))
    assert saved["secrets"] == ["key"]
    assert Target.from_public(saved, cwd=place.cwd, env=env) == target

    stripped = Target.from_public(saved, cwd=place.cwd, env=place.env)
    assert stripped.secrets() == {}
    with pytest.raises(ConfigError, match="set MULTITRACK_PROD__KEY"):
        stripped.connect()
    restored = stripped.with_secrets({"key": "hush"})
    assert restored == target
    assert restored.connect().location == f"{place.root}/x"
    assert Target.from_public(saved, cwd=place.cwd, env={**place.env, "SHELF_KEY": "vendor's"}).connect() is not None


def test_a_saved_target_that_the_backend_no_longer_understands_is_told(place: Place) -> None:
    saved = place.load(backends="shelf").targets[0].public()
    with pytest.raises(ConfigError, match="as saved, do not fit the Shelf backend: width"):
        Target.from_public({**saved, "settings": {"width": 3}}, cwd=place.cwd, env=place.env)


# -- filters ----------------------------------------------------------------------------------------------------------


def test_filters_hold_back_what_was_not_asked_for() -> None:
    filters = Filters(Selection(artifacts=("models/*",)), Selection(metrics=("debug/*",), artifacts=("*.ckpt",), kinds=("log_lines",)))
    row = Metrics(time=1, values={"loss": 1.0, "debug/x": 2.0})
    assert filters.apply(row) == Metrics(time=1, values={"loss": 1.0})
    assert filters.apply(Metrics(time=1, values={"debug/a/b": 2.0})) is None
    assert filters.apply(Points(time=1, name="debug/x", times=[1], values=[1])) is None
    assert filters.apply(Summary(time=1, values={"debug/x": 1})) is None
    assert filters.apply(Artifact(time=1, name="models/a.pt")) is not None
    assert filters.apply(Artifact(time=1, name="models/a.ckpt")) is None
    assert filters.apply(Artifact(time=1, name="figure.png")) is None
    assert not filters.takes_kind("log_lines")
    assert not Filters()
    assert Filters().apply(row) is row


@pytest.mark.parametrize("filters", [Filters(include=Selection(kinds=("artifact",))), Filters(exclude=Selection(kinds=("metrics",)))])
def test_excluding_metrics_excludes_both_shapes_and_never_a_runs_life(filters: Filters) -> None:
    assert filters.apply(Metrics(time=1, values={"a": 1})) is None
    assert filters.apply(Points(time=1, name="a", times=[1], values=[1])) is None
    for record in (RunStarted(time=1, id=RUN, project="p"), RunFinished(time=1, status="finished")):
        assert filters.apply(record) is record


# -- cost -------------------------------------------------------------------------------------------------------------


def test_loading_settings_is_quick_and_imports_nothing_heavy(place: Place) -> None:
    code = (
        "import sys, os; from pathlib import Path; from multitrack.config import load_settings\n"
        "load_settings(Path.cwd(), dict(os.environ))\n"
        "print(*sorted({'mlflow', 'pandas', 'numpy', 'rich', 'typer', 'multitrack_mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=place.cwd)
    assert done.stdout.split() == []

    def measure() -> float:
        start = time.perf_counter()
        place.load()
        return time.perf_counter() - start

    assert min(measure() for _ in range(20)) < 0.005


def test_a_target_may_go_without_attached_records(tmp_path: Path) -> None:
    (tmp_path / "multitrack.toml").write_text(
        'backends = ["copy"]\n[targets.copy]\nbackend = "local"\nlocation = "./copy"\nattach = false\n'
    )
    [target] = load_settings(tmp_path, {}).targets
    assert target.attach is False
    assert Target.from_public(target.public(), cwd=tmp_path, env={}).attach is False
    assert load_settings(tmp_path, {"MULTITRACK_COPY__ATTACH": "yes"}).targets[0].attach is True
    with pytest.raises(ConfigError, match=r"MULTITRACK_COPY__ATTACH.*true or false"):
        load_settings(tmp_path, {"MULTITRACK_COPY__ATTACH": "perhaps"})
