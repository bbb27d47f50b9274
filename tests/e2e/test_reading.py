"""Looking at runs: the commands `runs` and `show`, and the reading API."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree

import pytest

import multitrack as mt
from multitrack.cli import app
from multitrack.notebook import card

QUICK = mt.Capture(code=False, environment=False, system=False, console=False)
RICH = mt.Capture(system=False, console=False)


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MULTITRACK_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("MULTITRACK_QUIET", "1")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "multitrack.cli", *arguments], capture_output=True, text=True, check=False)


def record(name: str, *, project: str = "digits", accuracy: float = 0.5, fail: bool = False) -> mt.Run:
    params = {"model": {"depth": 3, "kind": "tree"}, "lr": accuracy / 10}
    run = mt.init(project=project, name=name, params=params, tags={"team": "vision", "base": None}, notes="two\nlines", capture=RICH)
    for step in range(3):
        run.log({"val/acc": accuracy * (step + 1) / 3, "loss": 1 / (step + 1)}, step=step)
    run.define_metric("loss", summary="min")
    run.summary["verdict"] = "good"
    run.log_data("digits", digest="abc", role="train", rows=1797)
    (file := Path("notes.txt")).write_text("some notes")
    run.log_artifact(file, "notes/all.txt", kind="notes")
    run.finish("failed" if fail else "finished", error="ValueError: no" if fail else None)
    return run


def test_runs_lists_what_is_there_and_filters() -> None:
    first, second, other = record("first"), record("second", accuracy=0.9, fail=True), record("third", project="other")

    everything = command("runs")
    assert everything.returncode == 0
    assert [run.id in everything.stdout for run in (first, second, other)] == [True] * 3
    assert "val/acc" in everything.stdout
    assert "0.9" in everything.stdout

    def ids(*arguments: str) -> list[str]:
        done = command("runs", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [run["id"] for run in json.loads(done.stdout)]

    assert ids("-p", "digits") == [first.id, second.id]
    assert ids("--status", "failed") == [second.id]
    assert ids("--tag", "team=vision", "-n", "1") == [other.id]
    assert ids("--tag", "team=audio") == []
    assert ids("--since", (datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []


def test_show_tells_everything_of_a_run() -> None:
    run = record("first", fail=True)

    told = command("show", run.id).stdout

    for text in ("failed", "ValueError: no", "model.depth", "'tree'", "val/acc", "notes/all.txt", "1,797 rows", "team=vision", "verdict"):
        assert text in told
    whole = json.loads(command("show", run.id, "--json").stdout)
    assert whole["params"]["model"] == {"depth": 3, "kind": "tree"}
    assert whole["summary"]["loss"] == pytest.approx(1 / 3)
    assert whole["metrics"] == {"val/acc": 3, "loss": 3}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "0" * 32), "no run"),
        (("show", "nonsense"), "names no run"),
        (("runs", "mlflw:x"), "Did you mean 'mlflow'"),
        (("runs", "--status", "finsihed"), "Did you mean 'finished'"),
        (("runs", "--since", "yesterday"), "is no time"),
        (("runs", "local:./nowhere"), "no store"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_an_exit_code(arguments: tuple[str, ...], told: str) -> None:
    record("first")

    done = command(*arguments)

    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_damaged_run_does_not_hide_the_others() -> None:
    whole, damaged = record("whole"), record("damaged")
    for path in (damaged.dir / "records").glob("*.jsonl"):
        path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2', 1))

    listed = command("runs")
    assert listed.returncode == 0
    assert whole.id in listed.stdout
    assert "unreadable" in listed.stdout
    shown = command("show", damaged.id)
    assert shown.returncode == 1
    assert "upgrade" in shown.stderr


def test_the_reading_api() -> None:
    run = record("first", accuracy=0.75)

    with mt.open("local") as store:
        assert store.projects() == ["digits"]
        [view] = store.runs(project="digits", params={"model.depth": 3})
        assert list(store.runs(params={"model.depth": 4})) == []
        same = store.run(run.id)

        assert (view.id, view.name, view.status, same.id) == (run.id, "first", "finished", run.id)
        assert view.params == {"model": {"depth": 3, "kind": "tree"}, "lr": 0.075}
        assert view.tags == {"team": "vision", "base": None}
        loss = view.metrics("loss")
        assert (len(loss), loss["step"], loss["value"]) == (3, [0, 1, 2], [1.0, 0.5, 1 / 3])
        assert all(isinstance(time, datetime) and time.tzinfo is not None for time in loss["time"])
        assert list(loss.to_pandas().columns) == ["step", "time", "value"]
        assert view.summary == {"val/acc": 0.75, "loss": 1 / 3, "verdict": "good"}
        assert view.download("notes/all.txt", "copy.txt").read_text() == "some notes"
        assert view.started is not None
        assert view.ended is not None
        assert view.started < view.ended
        with pytest.raises(KeyError, match="Did you mean 'loss'"):
            view.metrics("los")
        with pytest.raises(mt.RunNotFoundError, match="multitrack runs"):
            store.run("0" * 32)


# -- filters, orders, tables


class Told(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def cli(*arguments: str) -> Told:
    """Run a command in this process: a second less than in one of its own."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.run(list(arguments))
    return Told(code, out.getvalue(), err.getvalue())


def record_points(
    name: str, *, params: dict[str, object] | None = None, goal: Literal["min", "max"] | None = None, **metrics: object
) -> str:
    with mt.init(project="sweep", name=name, params=params or {}, capture=QUICK) as run:
        if goal is not None:
            run.define_metric("*", goal=goal)
        if metrics:
            run.log(metrics, step=0)
    return run.id


def test_runs_are_filtered_sorted_and_shown_by_field() -> None:
    low = record_points("low", params={"lr": 0.1, "model": {"depth": 1}}, acc=0.5, loss=3.0)
    high = record_points("high", params={"lr": 0.01, "model": {"depth": 2}}, acc=0.9, loss=1.0)
    none = record_points("none", params={"lr": "auto"})
    nan = record_points("nan", params={"lr": 0.001}, acc=float("nan"), loss=2.0)

    def ids(*arguments: str) -> list[str]:
        done = cli("runs", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [run["id"] for run in json.loads(done.stdout)]

    assert ids("--filter", "params.lr <= 0.1 and not metrics.acc = nan") == [low, high]
    assert ids("--filter", "params.lr = auto or name ~ 'n?n'") == [none, nan]
    assert ids("--sort", "metrics.acc", "--top", "1") == [high]
    assert ids("--sort", "metrics.acc") == [high, low, none, nan]
    assert ids("--sort", "params.lr") == [nan, high, low, none]
    assert ids("--sort", "metrics.loss", "--reverse", "--top", "2") == [high, nan]

    table = cli("runs", "--columns", "name,params.model.depth,duration", "--sort", "name").stdout.splitlines()
    assert table[0].split() == ["RUN", "name", "params.model.depth", "duration"]
    assert [line.split()[1] for line in table[1:]] == ["high", "low", "nan", "none"]
    assert "none of the 4 runs" in cli("runs", "--filter", "params.lr > 5").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--filter", "params.lrr < 1"), "no run has params.lrr. Did you mean 'params.lr'?"),
        (("--sort", "metrics.ac"), "no run has metrics.ac. Did you mean 'metrics.acc'?"),
        (("--filter", "lr < 1"), "write params.lr"),
        (("--columns", "nam"), "Did you mean 'name'?"),
        (("--top", "3"), "--top needs an order"),
    ],
)
def test_a_misspelt_field_is_told(arguments: tuple[str, ...], told: str) -> None:
    record_points("one", params={"lr": 0.1}, acc=0.5)
    done = cli("runs", *arguments)
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_best_run_is_that_of_the_goal() -> None:
    record_points("nan", loss=float("nan"), acc="high")
    first = record_points("first", goal="min", loss=1.0, acc=1)
    record_points("second", loss=2.0, acc=True)
    latest = record_points("latest", loss=2.0, text="a")

    with mt.open("local") as store:
        assert store.best("loss").name == "second"  # the latest run with it defines no goal: the most; the first of two
        assert store.best("loss", goal="min").id == first
        assert store.best("loss", where="name ~ '*t' and name != first").id == latest
        assert store.best("acc").id == first  # a bool is a number, a text is none
        with pytest.raises(mt.RunNotFoundError, match=r"Did you mean 'metrics\.loss'"):
            store.best("los")
        with pytest.raises(mt.RunNotFoundError, match="no run has a number for the metric 'text'"):
            store.best("text")
        with pytest.raises(mt.RunNotFoundError, match="no such runs"):
            store.best("loss", project="nothing")
        with pytest.raises(mt.ConfigError, match="goal"):
            store.best("loss", goal="least")  # type: ignore[arg-type]
    lowest = record_points("lowest", goal="min", loss=0.5)
    with mt.open("local") as store:
        assert store.best("loss").id == lowest


def test_runs_become_a_data_frame() -> None:
    run = record("first", accuracy=0.75)
    record_points("second", params={"lr": 1}, acc=2**70)
    with mt.open("local") as store:
        frame = store.to_pandas(where="status = finished").set_index("name")
        only = store.runs(project="sweep").to_pandas()
    assert list(frame.columns[:5]) == ["id", "project", "status", "started", "ended"]
    assert frame.loc["first", "id"] == run.id
    assert frame.loc["first", "params.model.depth"] == 3
    assert frame.loc["first", "metrics.val/acc"] == 0.75
    assert frame.loc["first", "tags.team"] == "vision"
    assert frame.loc["first", "tags.base"] is True
    assert frame.loc["second", "metrics.acc"] == 2**70
    assert frame.loc["second":, "params.model.depth"].isna().all()
    assert str(frame["started"].dt.tz) == "UTC"
    assert list(only["name"]) == ["second"]


def test_without_pandas_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    record_points("one", acc=1.0)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with mt.open("local") as store:
        with pytest.raises(mt.MissingExtraError, match="pip install pandas"):
            store.to_pandas()
        with pytest.raises(mt.MissingExtraError, match="pip install pandas"):
            store.best("acc").metrics("acc").to_pandas()


HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;\ud800"


def test_what_notebooks_show_is_escaped() -> None:
    with mt.init(project=HOSTILE, name=HOSTILE, params={HOSTILE: HOSTILE}, tags={HOSTILE: HOSTILE}) as run:
        run.log({HOSTILE: HOSTILE, "loss": 0.123456789})
    with mt.open("local") as store:
        shown = [run._repr_html_(), store.run(run.id)._repr_html_(), store.runs()._repr_html_()]
    for html in shown:
        assert ElementTree.fromstring(html.encode()).tag == "div"  # well-formed: every sign was taken for a text
        assert {element.tag for element in ElementTree.fromstring(html.encode()).iter()} <= HARMLESS
        assert "<script>alert" in "".join(ElementTree.fromstring(html.encode()).itertext())
    assert "0.123457" in shown[1]
    assert run.id in shown[2]


HARMLESS = {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}


def test_a_notebook_links_to_web_pages_only() -> None:
    assert "javascript" not in card("run", {}, {}, "javascript:alert(1)")
    page = ElementTree.fromstring(
        card("run", {"a": None}, {"params": dict.fromkeys(map(str, range(30)), 1)}, 'https://me:pw@host/"onclick="x')
    )
    link = page.find(".//a")
    assert link is not None
    assert link.get("href") == 'https://***@host/"onclick="x'
    assert set(link.keys()) == {"href", "target", "rel"}
    assert "and 10 more" in "".join(page.itertext())
    assert "pw" not in ElementTree.tostring(page, "unicode")


def test_a_large_run_is_read_without_holding_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    pd = pytest.importorskip("pandas")
    run = record("first", accuracy=0.75)
    with mt.open("local") as store:
        small = store.run(run.id)
        expected = {name: small.metrics(name) for name in small.metric_names}
        summary, records = small.summary, list(small._recalled.records)
    for name in ("columnar.WORTH", "columnar.files.WORTH_OF_WRITER", "recall.WORTH"):
        monkeypatch.setattr(f"multitrack.{name}", 1)
    with mt.open("local") as store:
        store.run(run.id).metric_names  # noqa: B018 - the first to read it makes the side file
        large = store.run(run.id)
        assert list((run.dir / "columns").glob("*.parquet"))
        assert large.metric_names == list(expected)
        assert (large.summary, large.params, large.tags, large.status) == (summary, small.params, small.tags, "finished")
        assert [list(large._recalled.records) for _ in range(2)] == [records, records]
        for name, series in expected.items():
            there = large.metrics(name)
            assert len(there) == len(series)
            assert list(there) == list(series) == list(zip(*(series[column] for column in ("step", "time", "value")), strict=True))
            assert [there[column] for column in ("step", "time", "value")] == [series[column] for column in ("step", "time", "value")]
            pd.testing.assert_frame_equal(there.to_pandas(), series.to_pandas())
        with pytest.raises(KeyError, match="no metric"):
            large.metrics("nonsense")
