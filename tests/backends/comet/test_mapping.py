"""Records in Comet's terms, and back. Nothing here asks a service."""

from __future__ import annotations

import math
from typing import Any

import pytest

from multitrack.adapt import Adapter, Losses
from multitrack.backend import TAG_RUN_ID, Entry
from multitrack.records import (
    Artifact,
    CaptureFailed,
    CodeVersion,
    Environment,
    Hyperparameters,
    LogLines,
    Metrics,
    Points,
    Record,
    RunStarted,
    RunUpdated,
    Summary,
)
from multitrack.state import fold
from multitrack_comet import CometBackend, decode, encode, names
from multitrack_comet.native import Column, ConsoleText, NativeAsset, NativeRun

RUN = "0123456789abcdef" * 2
START = 1_577_934_245_678_000
CAPABILITIES = CometBackend.capabilities


def entries(*records: Record) -> list[Entry]:
    return [Entry("w" * 16, seq, record) for seq, record in enumerate(records)]


def adapted(*records: Record) -> tuple[list[Record], Losses]:
    found = Adapter(CAPABILITIES).adapt(entries(*records))
    return [entry.record for entry in found.entries], Losses(found.losses)


def native(**fields: Any) -> NativeRun:
    return NativeRun(**{"key": RUN, "project": "digits", "start": START // 1000, **fields})


def read(run: NativeRun, *columns: Column, files: dict[str, bytes] | None = None) -> Any:
    return fold(decode.records(run, columns, lambda asset: (files or {})[asset.name]))


# -- points -----------------------------------------------------------------------------------------------------------


def test_points_are_floats_milliseconds_and_text_where_json_has_no_number() -> None:
    points = encode.points_of(
        entries(
            Points(time=0, name="m", steps=[1, None, 3, 4], times=[1_999, 2_000, 3_000, 4_000], values=[0.5, math.nan, math.inf, -math.inf])
        )
    )
    assert [tuple(point) for point in points] == [
        ("m", 0.5, 1, None, 1),
        ("m", "NaN", None, None, 2),
        ("m", "Infinity", 3, None, 3),
        ("m", "-Infinity", 4, None, 4),
    ]


def test_a_metric_epoch_is_the_epoch_of_what_was_logged_along_with_it() -> None:
    row = Metrics(time=1_000, step=5, values={"loss": 0.5, "epoch": 2.0})
    column = Points(time=2_000, name="acc", steps=[5, 6], times=[1_000, 2_000], values=[0.5, 0.75])
    fractional = Metrics(time=3_000, step=7, values={"loss": 0.5, "epoch": 2.5})
    found = {(point.name, point.step): point.epoch for point in encode.points_of(entries(row, column, fractional))}
    assert found == {("loss", 5): 2, ("epoch", 5): 2, ("acc", 5): 2, ("acc", 6): None, ("loss", 7): None, ("epoch", 7): None}


def test_epochs_of_others_become_a_metric_unless_there_is_one() -> None:
    loss = Column("loss", [1, 2, 3], [0.5, 0.25, 0.125], [1, 2, 3], [0, 0, None])
    state = read(native(), loss)
    assert (state.metrics["epoch"].steps, state.metrics["epoch"].values) == ([1, 2], [0, 0])
    assert "epoch" not in read(native(others={TAG_RUN_ID: RUN}), loss).metrics
    own = Column("epoch", [1], [7.0], [1], None)
    assert read(native(), own, loss).metrics["epoch"].values == [7.0]


def test_a_metrics_context_is_in_front_of_its_name_once() -> None:
    assert decode.metric_name("loss", "train") == "train_loss"
    assert decode.metric_name("train_loss", "train") == "train_loss"
    assert decode.metric_name("loss", None) == decode.metric_name("loss", "") == "loss"


@pytest.mark.parametrize("text", ["0.1", "1e-07", "NaN", "Infinity", "-Infinity", "3", "-0.0", "1180591620717411303424"])
def test_text_that_is_a_number_is_a_float(text: str) -> None:
    value = decode.metric_value(text)
    assert isinstance(value, float)
    assert repr(value) == repr(float(text))


def test_text_that_is_none_stays_and_numbers_stay_what_they_are() -> None:
    assert [decode.metric_value(value) for value in ("good", "", 3, 2**70, 0.5)] == ["good", "", 3, 2**70, 0.5]


def test_what_comet_samples_is_declared_once_it_is_too_much_and_never_dropped() -> None:
    adapter = Adapter(CAPABILITIES)

    def column(first: int, count: int) -> Points:
        steps = list(range(first, first + count))
        return Points(time=START, name="loss", steps=[*steps], times=[START + step * 1000 for step in steps], values=[0.5] * count)

    before = adapter.adapt(entries(column(0, 15_000)))
    assert not before.losses
    again = Adapter(CAPABILITIES, adapter.state)
    after = again.adapt(entries(column(15_000, 7), Metrics(time=START, step=0, values={"loss": 0.5})))
    (loss,) = Losses(after.losses)
    assert (loss.kind, loss.subject, loss.count) == ("point_sample", "metric 'loss'", 8)
    assert "a sample of 15,000 points" in loss.detail
    assert sum(len(entry.record.times) if isinstance(entry.record, Points) else 1 for entry in after.entries) == 8


# -- params -----------------------------------------------------------------------------------------------------------


def test_params_are_joined_by_bars_and_nested_again() -> None:
    values = {"model": {"depth": "3", "head": {"n": "1"}}, "lr": "0.1"}
    flat = encode.flatten(values)
    assert flat == {"model|depth": "3", "model|head|n": "1", "lr": "0.1"}
    assert decode.params_of(native(params=flat)) == values


def test_names_that_no_nesting_explains_stay_whole() -> None:
    params = {"a": "1", "a|b": "2", "|x": "3", "y|": "4", "c||d": "5", "e|f": "6"}
    assert decode.params_of(native(params=params)) == {"a": "1", "a|b": "2", "|x": "3", "y|": "4", "c||d": "5", "e": {"f": "6"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3), ("-3", -3), ("0.1", 0.1), ("1e-07", 1e-07), ("True", True), ("False", False), ("1180591620717411303424", 2**70),
        ("03", "03"), ("3.00", "3.00"), ("1e-7", "1e-7"), ("true", "true"), ("None", "None"), ("nan", "nan"), ("inf", "inf"), ("", ""),
        (" 3", " 3"), ("1_000", "1_000"), ("+3", "+3"), ("[1, 2]", "[1, 2]"), ("1e400", "1e400"),
    ],
)  # fmt: skip
def test_the_rule_for_params_that_are_only_text(text: str, value: Any) -> None:
    found = decode.param_value(text)
    assert (type(found), found) == (type(value), value)


def test_the_rule_is_for_the_service_and_for_others_runs_alone() -> None:
    assert decode.params_of(native(params={"lr": "0.1"}, typed_as_text=True)) == {"lr": 0.1}
    assert decode.params_of(native(params={"lr": "0.1"})) == {"lr": "0.1"}
    assert decode.params_of(native(params={"lr": "0.1"}, typed_as_text=True, others={TAG_RUN_ID: RUN})) == {"lr": "0.1"}


def test_params_that_comet_would_cut_are_declared_and_told() -> None:
    deep: Any = "leaf"
    for _ in range(30):
        deep = {"level": deep}
    records, losses = adapted(Hyperparameters(time=0, values={"x" * 101: "1", "a|b": 2, "A|B": 3, "long": "y" * 1001, "deep": deep}))
    flat = {
        name: value for record in records if isinstance(record, Hyperparameters) for name, value in encode.flatten(record.values).items()
    }
    assert len(flat) == 5
    assert all(len(name) <= 100 and len(value) <= 1000 for name, value in flat.items())
    assert not any("|" in name for name in flat)
    assert {"name", "param_length", "param_type"} <= {loss.kind for loss in losses}
    told = {value for record in records if isinstance(record, RunUpdated) for value in record.tags.values()}
    assert {"x" * 101, "a|b"} <= told


def test_names_that_differ_in_case_are_kept_apart() -> None:
    records, losses = adapted(Metrics(time=0, step=1, values={"loss": 0.5, "Loss": 0.25}))
    fitted = [name for record in records if isinstance(record, Metrics) for name in record.values]
    assert fitted[0] == "loss"
    assert fitted[1].startswith("Loss-")
    assert [loss.subject for loss in losses] == ["metric 'Loss'"]


def test_a_tag_that_is_called_as_comet_calls_the_runs_name_gets_another_one() -> None:
    start = RunStarted(time=0, id=RUN, project="p", name="the name", tags={"Name": "x", "Named": "y"})
    records, _ = adapted(start)
    (fitted,) = (record for record in records if isinstance(record, RunStarted))
    assert "Name" not in fitted.tags
    assert fitted.tags["Named"] == "y"
    assert any(name.endswith("-" + __import__("hashlib").sha256(b"Name").hexdigest()[:8]) for name in fitted.tags)


# -- tags, words --------------------------------------------------------------------------------------------------------


def test_tags_with_a_value_are_others_and_what_cannot_be_taken_away_is_marked() -> None:
    content = encode.encode_entries(
        entries(
            RunStarted(time=0, id=RUN, project="p", tags={"base": None, "team": "vision"}),
            RunUpdated(time=1, tags={"team": None, "other": "x"}, removed_tags=["base", "never"]),
        )
    )
    bare, others = encode.split_tags(content.tags, {"base", "team"})
    assert bare == ["team"]
    assert others == {"base": names.REMOVED, "team": names.BARE, "other": "x"}
    run = native(tags=["base", "team"], others={**others, TAG_RUN_ID: RUN})
    assert decode.all_tags(run) == {"team": None, "other": "x", TAG_RUN_ID: RUN}
    assert decode.all_tags(native(tags=["base"], others=others))["base"] == names.REMOVED  # somebody else's words are theirs


@pytest.mark.parametrize("value", [0.97, 3.0, math.inf, "good", "0.97", "NaN", '"quoted"', "", "a\nb"])
def test_a_summary_reads_as_it_was(value: Any) -> None:
    content = encode.encode_entries(entries(Summary(time=0, values={"best": value})))
    assert read(native(others={**content.others, TAG_RUN_ID: RUN})).summary == {"best": value}


def test_others_of_anybody_else_are_tags_in_their_words() -> None:
    others = {"Name": "svc", "n": 3, "flag": True, "multitrack.group": "mine", "multitrack.status": "killed"}
    state = read(native(others=others, tags=["base"]))
    assert (state.name, state.group, state.status) == ("svc", None, "finished")
    assert state.tags == {"base": None, "n": "3", "flag": "true", "multitrack.group": "mine", "multitrack.status": "killed"}


def test_a_status_that_we_noted_counts_and_an_unknown_one_does_not() -> None:
    assert read(native(others={TAG_RUN_ID: RUN, names.OTHER_STATUS: "killed", names.OTHER_ERROR: "KeyboardInterrupt"})).status == "killed"
    assert read(native(others={TAG_RUN_ID: RUN, names.OTHER_STATUS: "melted"}, state="crashed")).status == "crashed"


def test_a_run_without_a_usable_key_gets_a_derived_id() -> None:
    assert decode.neutral_id(native()) == RUN
    odd = native(key="Ab" * 20)
    assert decode.neutral_id(odd) == decode.key_to_neutral("Ab" * 20, "digits") != "Ab" * 20


def test_what_could_not_be_captured_is_an_other() -> None:
    content = encode.encode_entries(entries(CaptureFailed(time=0, what="code", error="x" * 1200)))
    assert content.others == {"multitrack.capture_failed.code": "x" * 1000}
    assert read(native(others={**content.others, TAG_RUN_ID: RUN})).failures == {"code": "x" * 1000}


# -- code, environment, console -----------------------------------------------------------------------------------------


def test_what_comet_shows_of_the_code_wins_over_what_we_left() -> None:
    record = CodeVersion(
        time=0, vcs="git", commit="c0ffee", branch="main", remote="https://u:p@example.org/r.git", entry_point="a.py", diff="-x\n"
    )
    content = encode.encode_entries(entries(record))
    assert content.git is not None
    assert content.patch == b"-x\n"
    run = native(git={**content.git, "branch": "refs/heads/other"}, file_name=content.file_name)
    found = decode.code_version(run, record)
    assert found == record.model_copy(update={"branch": "other", "remote": "https://example.org/r.git"})
    assert decode.code_version(native()) is None


def test_system_details_have_no_null_as_comets_schema_wants_it() -> None:
    details = encode.system_details(Environment(time=0))
    assert None not in details.values()
    assert details["ip"] == ""


def test_comet_shows_one_machine_that_of_the_first_rank() -> None:
    content = encode.encode_entries(entries(Environment(time=0, host="one", packages={"a": "1"}), Environment(time=0, host="two")))
    assert content.system is not None
    assert (content.system["hostname"], content.packages) == ("one", ["a==1"])
    assert len(content.documents) == 2


def test_pieces_of_output_are_lines_again_each_with_its_first_pieces_time() -> None:
    pieces = [
        ConsoleText("one", 1), ConsoleText(" and", 2), ConsoleText("err", 3, stderr=True), ConsoleText(" more\ntwo\n", 4),
        ConsoleText("\n", 5, stderr=True), ConsoleText("last", 6),
    ]  # fmt: skip
    lines = [(line.stream, line.time, line.text) for line in read(native(output=pieces)).console]
    assert lines == [("stdout", 1000, "one and more"), ("stdout", 1000, "two"), ("stderr", 3000, "err"), ("stdout", 6000, "last")]


def test_console_lines_keep_their_times_in_a_file_of_ours() -> None:
    record = LogLines(time=1, stream="stderr", label="rank 3", times=[1, 2_000_001], lines=["[a] b", "é\x1b[0m"])
    content = encode.encode_entries(entries(record))
    assert decode.log_lines(encode.console_bytes(content.console)) == [record]
    assert [piece.text for piece in encode.console_output(content.console)] == ["[rank 3] [a] b\n", "[rank 3] é\x1b[0m\n"]
    assert decode.log_lines(b"not ours\n") is None


# -- files ----------------------------------------------------------------------------------------------------------------


def test_an_artifact_of_ours_has_its_details_back() -> None:
    record = Artifact(
        time=START + 1,
        name="m/w.bin",
        sha256="0" * 64,
        size=3,
        media_type="x/y",
        step=2.5,
        type="model",
        metadata={"k": 2**70, "n": math.nan},
    )
    asset = encode.asset(RUN, record)
    assert (asset.name, asset.step, asset.type) == ("m/w.bin", 2, "asset")
    held = NativeAsset(id=asset.id, name=asset.name, type=asset.type, step=asset.step, size=3, metadata=asset.metadata)
    ((_, found),) = decode.artifacts(native(others={TAG_RUN_ID: RUN}, assets=[held]))
    assert repr(found) == repr(record.model_copy(update={"sha256": None}))


def test_the_same_artifact_of_a_run_has_the_same_id_always() -> None:
    one, other = (Artifact(time=time, name="a", sha256=str(time) * 64) for time in (1, 2))
    assert encode.asset(RUN, one).id == encode.asset(RUN, other).id != encode.asset("f" * 32, one).id
    assert len(encode.asset(RUN, one).id) == 32


@pytest.mark.parametrize(
    ("name", "expected"),
    [("../../etc/passwd", "etc/passwd"), ("/a//b", "a/b"), ("C:\\x\\y", "C:/x/y"), ("..", "id"), ("", "id"), ("a\0b", "a_b")],
)
def test_names_of_others_assets_lead_nowhere_else(name: str, expected: str) -> None:
    ((_, found),) = decode.artifacts(native(assets=[NativeAsset(id="id", name=name)]))
    assert found.name == expected


def test_a_document_that_somebody_has_changed_is_an_asset_like_others() -> None:
    record = CodeVersion(time=0, commit="c0ffee")
    content = encode.encode_entries(entries(record))
    asset = NativeAsset(id="1", name=names.CODE_FILE)
    run = native(others={TAG_RUN_ID: RUN}, assets=[asset])
    whole = read(run, files=dict(content.documents))
    assert (whole.code, whole.artifacts) == (record, {})
    changed = read(run, files={names.CODE_FILE: b"{}"})
    assert changed.code is None
    assert names.CODE_FILE in changed.artifacts
    foreign = read(native(assets=[asset]), files={})  # nothing of anybody else's run is read
    assert names.CODE_FILE in foreign.artifacts
