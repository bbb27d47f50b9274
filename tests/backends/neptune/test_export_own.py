"""A run that multitrack wrote for a server of Neptune's, exported from there: it is the run that was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from multitrack.backend import RunFilter
from multitrack.errors import PermanentError
from multitrack.journal import RunFolder
from multitrack.records import CodeVersion, Histogram, Hyperparameters, LogLines, Points, Record, Summary
from multitrack.testing.scene import START, Scene
from multitrack_neptune import NeptuneBackend, NeptuneSettings
from multitrack_neptune.offline.log import Log
from multitrack_neptune.offline.own import OwnLogRun
from multitrack_neptune.offline.places import find_containers
from multitrack_neptune.offline.replay import survey
from support.neptune_exports import Export, Row, file, point, scalar, sys_2x


def exported(folder: Path, export: Export, zone: str = "UTC") -> None:
    """Write the export that there would be, had the client synchronised its folders with a server and the exporter asked that."""
    for number, container in enumerate(find_containers(folder), 1):
        run, name = OwnLogRun(container), f"VIS-{number}"
        rows = [row for row in scalars(container.executions[0].folder) if not row["attribute_path"].startswith("sys/")]
        for path in run.paths():
            kept = run.file(path)
            assert kept is not None
            export.content(f"{export.project}/{name}/{path}", kept.read())
            rows.append(file(path, f"{export.project}/{name}/{path}"))
        export.run(name, [sys_2x(name) + rows], [list(series(run, zone))])


def scalars(folder: Path) -> Iterator[Row]:
    for key, value in survey(Log(folder)).scalars.items():
        if key.type in ("int", "float", "string", "bool"):
            yield scalar(key.path, value, key.type)


def series(run: OwnLogRun, zone: str) -> Iterator[Row]:
    for kind in ("float_series", "string_series"):
        for block in run.blocks((kind,)):
            for step, time, value in zip(block.steps, block.times, block.values, strict=True):
                at = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
                yield point(block.key.path, step, at, value, kind)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    (tmp_path / "scene").mkdir()
    return Scene(tmp_path / "scene", NeptuneBackend(str(tmp_path / "offline")))


def record(scene: Scene) -> RunFolder:
    times = [START + 1000 * number for number in range(5)]
    records: list[Record] = [
        CodeVersion(time=START, vcs="git", commit="c" * 40, diff="diff"),
        Hyperparameters(time=START, values={"lr": 0.1, "nested": {"n": 2**70, "none": None}}),
        Points(time=START, name="loss", steps=[1, 0.5, None, 7, 7], times=times, values=[1.0, 2.5, 3.0, float("nan"), 5.0]),
        Points(
            time=START, name="text", steps=[0, 1, 2, 3, 4], times=times, values=["a", "b", 1, True, Histogram(edges=[0, 1], counts=[2])]
        ),
        Summary(time=START, values={"best": 0.97}),
        LogLines(time=START, times=[START], lines=["hello"]),
    ]
    return scene.record(scene.start(tags={"team": "vision"}, notes="# Notes", user="ann", host="node1"), records)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_it_is_the_run_that_was_recorded(scene: Scene, tmp_path: Path, zone: str) -> None:
    run = record(scene)
    assert scene.deliver(run)
    export = Export(tmp_path / "exports")
    exported(tmp_path / "offline", export, zone)
    scene.backend = NeptuneBackend(str(export.root), NeptuneSettings(source_tz=zone))

    (ref,) = scene.backend.source().runs(RunFilter())
    assert (ref.native_id, ref.status, ref.project) == ("VIS-1", "finished", "conformance")
    verdict = scene.verify(run)
    assert (verdict.verdict, verdict.attached) == ("identical but for declared losses", "exact"), verdict


def test_records_that_are_damaged_do_not_hide_the_others(scene: Scene, tmp_path: Path) -> None:
    assert scene.deliver(record(scene))
    export = Export(tmp_path / "exports")
    exported(tmp_path / "offline", export)
    export.run("GOOD", [sys_2x("GOOD")])
    for path in export.root.rglob("records/*"):
        path.write_bytes(b"{no record}\n")
    source = NeptuneBackend(str(export.root)).source()

    refs = {ref.native_id: ref for ref in source.runs(RunFilter())}
    assert set(refs) == {"VIS-1", "GOOD"}
    assert Counter(record.kind for record in source.read(refs["GOOD"])) == {"run_started": 1, "run_finished": 1}
    with pytest.raises(PermanentError):
        list(source.read(refs["VIS-1"]))
