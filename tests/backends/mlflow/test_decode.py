"""MLflow's words to records: the cases that no store has to be asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest

from multitrack.backend import derive_run_id
from multitrack.records import CodeVersion, Environment, LogLines, RunFinished, RunUpdated, Summary
from multitrack_mlflow import decode, encode
from multitrack_mlflow.native import Column, DatasetInput, Experiment, LatestMetric, ModelLink, NativeModel, NativeRun, Score

OURS = "0123456789abcdefghijklmnopqrstuv"
NATIVE = "f" * 32


def native(**fields: Any) -> NativeRun:
    """Return a run that ended; `fields` replace what it has."""
    plain: dict[str, Any] = {
        **{"id": NATIVE, "experiment": Experiment("1", "digits"), "name": "gentle-owl-7", "user": "ann", "status": "FINISHED"},
        **{"start": 1_000, "end": 2_000, "deleted": False, "artifact_uri": "", "tags": {}, "params": {}, "latest": {}, "datasets": []},
    }
    return NativeRun(**{**plain, **fields})


# -- identity ---------------------------------------------------------------------------------------------------------


def test_our_tag_names_the_run() -> None:
    assert decode.neutral_id(native(tags={"multitrack.run_id": OURS})) == OURS


def test_a_tag_that_is_no_run_id_makes_no_run_ours() -> None:
    run = native(tags={"multitrack.run_id": "mine", "multitrack.group": "g"})

    assert decode.neutral_id(run) == NATIVE
    assert decode.run_started(run, None).tags == {"multitrack.run_id": "mine", "multitrack.group": "g"}


def test_an_id_that_cannot_serve_is_replaced_by_the_same_one_each_time() -> None:
    assert decode.neutral_id(native(id="arn:run/7")) == derive_run_id("mlflow", "digits", "arn:run/7")


def test_versions_tell_every_change_apart() -> None:
    point = LatestMetric("loss", 0.5, 1, 1)
    runs = [
        native(),
        native(name="other"),
        native(status="FAILED"),
        native(end=3_000),
        native(deleted=True),
        native(experiment=Experiment("1", "renamed")),
        native(tags={"a": "b"}),
        native(params={"a": "b"}),
        native(latest={"loss": point}),
        native(latest={"loss": LatestMetric("loss", math.nan, 1, 1)}),
        native(latest={"loss": LatestMetric("loss", 0.5, 2, 1)}),
        native(datasets=[DatasetInput("d", "1", "local", "", None, None, {})]),
        native(outputs=[ModelLink("m-1", output=True)]),
    ]

    assert len({run.version for run in runs}) == len(runs)
    assert native(inputs=[]).version == native().version, "a listing does not tell the inputs"


# -- the run's life ---------------------------------------------------------------------------------------------------


def test_fields_take_their_tags_and_nothing_else_does() -> None:
    tags = {
        **{"multitrack.run_id": OURS, "multitrack.group": "g", "multitrack.job_type": "j", "multitrack.host": "h", "multitrack.error": "e"},
        **{"multitrack.parent": OURS, "multitrack.summary.note": "text", "multitrack.origin": "{}", "multitrack.complete": "1"},
        **{"multitrack.reproduces": NATIVE, "multitrack.capture_failed.code": "E: x"},
        **{"mlflow.runName": "gentle-owl-7", "mlflow.user": "ann", "mlflow.note.content": "n", "mlflow.source.type": "LOCAL", "x": ""},
    }
    started = decode.run_started(native(tags=tags), OURS)

    assert (started.group, started.job_type, started.host, started.notes, started.user, started.parent) == ("g", "j", "h", "n", "ann", OURS)
    assert started.reproduces == NATIVE
    assert [(one.what, one.error) for one in decode.captures_failed(native(tags=tags))] == [("code", "E: x")]
    assert not list(decode.captures_failed(native(tags={**tags, "multitrack.run_id": ""}))), "in anybody else's run it is a tag"
    assert started.tags == {
        "multitrack.run_id": OURS,
        "multitrack.origin": "{}",
        "multitrack.complete": "1",
        "mlflow.source.type": "LOCAL",
        "x": "",
    }


def test_a_tag_that_disagrees_with_its_field_stays_a_tag() -> None:
    started = decode.run_started(native(tags={"mlflow.user": "bob", "mlflow.runName": "old"}), None)

    assert (started.user, started.name, started.tags) == ("ann", "gentle-owl-7", {"mlflow.user": "bob", "mlflow.runName": "old"})


def test_our_run_without_a_name_gets_none() -> None:
    assert decode.run_started(native(name=OURS[:8], tags={"multitrack.run_id": OURS}), None).name is None
    assert decode.run_started(native(name=NATIVE[:8]), None).name == NATIVE[:8]


@pytest.mark.parametrize(
    ("run", "ends"),
    [
        (native(status="KILLED", end=None), [RunFinished(time=1_000_000, status="killed")]),
        (native(start=None), [RunFinished(time=2_000_000, status="finished")]),
        (native(status="SCHEDULED", end=None), [RunUpdated(time=1_000_000, status="scheduled")]),
        (native(status="WORD OF THE FUTURE", end=None), [RunUpdated(time=1_000_000, status="running")]),
        (native(status="RUNNING", end=None, deleted=True), [RunUpdated(time=1_000_000, status="running", deleted=True)]),
        (
            native(status="FAILED", tags={"multitrack.run_id": OURS, "multitrack.error": "ValueError"}),
            [RunFinished(time=2_000_000, status="failed", error="ValueError")],
        ),
        (native(status="FAILED", tags={"multitrack.error": "mine"}), [RunFinished(time=2_000_000, status="failed")]),
    ],
)
def test_endings(run: NativeRun, ends: list[Any]) -> None:
    assert list(decode.run_ending(run)) == ends


# -- the records ------------------------------------------------------------------------------------------------------


def test_a_tag_wins_over_the_code_version_that_we_left() -> None:
    written = CodeVersion(time=5, vcs="git", commit="old", branch="main", dirty=True, command=["python", "train.py"])
    found = decode.code_version(native(tags={"mlflow.source.git.commit": "new"}), written)

    assert found == written.model_copy(update={"commit": "new"})


def test_no_tag_no_code_version() -> None:
    assert decode.code_version(native(tags={"mlflow.source.type": "LOCAL"})) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://token@github.com:8443/a/b.git", "https://github.com:8443/a/b.git"),
        ("https://github.com/a/b.git", "https://github.com/a/b.git"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("ssh://git@github.com/a/b.git", "ssh://git@github.com/a/b.git"),
        ("http://[", "http://["),
    ],
)
def test_remotes_lose_their_credentials(url: str, shown: str) -> None:
    found = decode.code_version(native(tags={"mlflow.source.git.repoURL": url}))

    assert found is not None
    assert found.remote == shown


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, None),
        ("", ""),
        ('{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ('[{"caf\\u00e9": 1}]', [{b"caf\\u00e9".decode("unicode_escape"): 1}]),
        ('{"a":1}', '{"a":1}'),
        ('{"a": 1, "a": 1}', '{"a": 1, "a": 1}'),
        ('{"a": 1.0e5}', '{"a": 1.0e5}'),
        ("{not json", "{not json"),
        ("12", "12"),
        ('"text"', '"text"'),
        ("null", "null"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_json_is_parsed_only_where_it_can_be_written_the_same(text: str | None, value: Any) -> None:
    assert decode.parse_json(text) == value


def test_points_of_the_machine_are_told_apart() -> None:
    column = Column("system/gpu", [1], [0], [0.5])

    assert (decode.points(column).source, decode.points(column).times) == ("system", [1_000])
    assert decode.points(Column("systems", [1], [0], [0.5])).source == "user"


def test_our_summary_is_numbers_and_text() -> None:
    latest = {"_summary/best": LatestMetric("_summary/best", 0.9, 7, 0), "loss": LatestMetric("loss", 1.0, 9, 3)}
    tags = {"multitrack.run_id": OURS, "multitrack.summary.verdict": "good"}

    assert decode.summary(native(latest=latest, tags=tags)) == Summary(time=7_000, values={"best": 0.9, "verdict": "good"})
    assert decode.summary(native(latest=latest)) is None
    assert not decode.holds_series(native(tags=tags), "_summary/best")
    assert decode.holds_series(native(), "_summary/best")


def test_a_model_keeps_the_scores_of_this_run_and_what_we_knew_of_it() -> None:
    scores = [Score("acc", 0.5, 1, 2, NATIVE, None, None), Score("acc", 0.7, 1, 2, "another run", None, None)]
    fields: dict[str, Any] = {
        **{"id": "m-1", "name": "a-b", "artifact_uri": "", "created": 1, "status": "READY", "status_message": None},
        **{"type": None, "source_run": NATIVE, "params": {}, "scores": scores},
    }
    theirs = NativeModel(**fields, tags={"multitrack.model_path": "x"})
    ours = NativeModel(
        **fields, tags={"multitrack.model_id": "id", "multitrack.model_path": "best", "multitrack.model_name": "a/b", "t": "1"}
    )

    found = decode.model(native(), ModelLink("m-1", output=False), theirs)
    assert (found.id, found.path, found.name, found.role, found.tags) == (
        "m-1",
        "models/m-1",
        "a-b",
        "input",
        {"multitrack.model_path": "x"},
    )
    assert [score.value for score in found.scores] == [0.5]
    found = decode.model(native(), ModelLink("m-1", output=True, step=4), ours)
    assert (found.id, found.path, found.name, found.step, found.tags) == ("id", "best", "a/b", 4, {"t": "1"})


# -- our documents ----------------------------------------------------------------------------------------------------


def test_console_lines_come_back_by_stream() -> None:
    content = (
        b"2020-01-01T00:00:00.000001+00:00 stdout first\n"
        b"2020-01-01T00:00:00.000002+00:00 stdout \n"
        b"1969-12-31T23:59:59.999999+00:00 stderr  indented\r\n"
    )

    assert decode.log_lines(content) == [
        LogLines(time=1_577_836_800_000_001, times=[1_577_836_800_000_001, 1_577_836_800_000_002], lines=["first", ""]),
        LogLines(time=-1, stream="stderr", times=[-1], lines=[" indented\r"]),
    ]


@pytest.mark.parametrize("label", ["rank 3", "a] b", "50%", "\u00e9\n\udcff", "[x", ""])
def test_the_label_of_console_lines_comes_back(label: str) -> None:
    lines = LogLines(time=5, stream="stderr", label=label, times=[5, 6], lines=["[not a label] x", ""])
    assert decode.log_lines(encode.console_text(lines).encode("utf-8", "surrogatepass")) == [lines]


@pytest.mark.parametrize("content", [b"something else", b"2020-01-01T00:00:00+00:00 stdlog x", b"\xff\xfe", b"yesterday stdout x", b""])
def test_a_file_that_is_not_ours_is_no_console(content: bytes) -> None:
    assert decode.log_lines(content) is None


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"python": 3}', b'{"time": 1, "python": {"$": "no such tag"}}', b"null"])
def test_a_document_that_somebody_broke_is_none(content: bytes) -> None:
    assert decode.document(Environment, content) is None


def test_a_document_is_a_record_with_what_a_newer_version_added() -> None:
    found = decode.document(Environment, b'{"kind": "environment", "seq": 3, "time": 1, "python": "3.11.7", "newer": 1}')

    assert found is not None
    assert (found.python, found.time, found.model_extra) == ("3.11.7", 1, {"newer": 1})
