"""Images, tables, figures and histograms: what is taken, what is refused, and what a run makes of them."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure as MatplotlibFigure
from plotly.graph_objects import Figure as PlotlyFigure

import multitrack as mt
from multitrack.journal import Journal, RunFolder
from multitrack.media.figure import Figure
from multitrack.records import Artifact, ArtifactRef, Metrics, Record
from multitrack.records import Histogram as HistogramRecord
from multitrack.records.media_names import media_name, parse_media_name
from multitrack.run import Run
from support.strategies import steps

GRAY = np.arange(6 * 5, dtype=np.uint8).reshape(6, 5)
COLOR = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


class Tensor:
    """What of a torch tensor is looked at: it keeps channels first, and is an array on a device."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self._array


def pixels(image: mt.Image) -> np.ndarray:
    """Return what Pillow, which has not written it, reads."""
    return np.asarray(image.to_pil())


# -- images ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (GRAY, GRAY),
        (GRAY[:, :, None], GRAY),
        (COLOR, COLOR),
        (np.dstack([COLOR, GRAY]), np.dstack([COLOR, GRAY])),
        (COLOR.transpose(2, 0, 1), COLOR),
        (COLOR[:, ::-1], COLOR[:, ::-1]),
        (COLOR.tolist(), COLOR),
        (COLOR.astype(np.int64), COLOR),
        (COLOR / 255, COLOR),
        ((COLOR / 255).astype(np.float16), COLOR),
        (GRAY > 10, (GRAY > 10) * np.uint8(255)),
        (np.array([[-0.001, 1.001]]), np.array([[0, 255]])),
        (Tensor(COLOR.transpose(2, 0, 1)), COLOR),
        (Tensor(COLOR[:3, :, :]), COLOR[:3].transpose(1, 2, 0)),
        (COLOR[:3, :, :], COLOR[:3]),
        (np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8)),
    ],
)
def test_an_array_becomes_a_png_of_the_same_pixels(given: Any, seen: np.ndarray) -> None:
    image = mt.Image(given)
    assert (image.media_type, image.suffix) == ("image/png", "png")
    assert np.array_equal(pixels(image), seen)


def test_a_mode_says_what_the_channels_mean() -> None:
    assert np.array_equal(pixels(mt.Image(COLOR[:, :, ::-1], mode="BGR")), COLOR)
    four = np.dstack([COLOR, GRAY])
    assert np.array_equal(pixels(mt.Image(four[:, :, [2, 1, 0, 3]], mode="BGRA")), four)
    assert pixels(mt.Image(np.zeros((1, 4, 3), np.uint8), mode="L")).shape == (4, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.bmp"])
def test_a_file_is_kept_byte_for_byte(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    PIL.Image.fromarray(COLOR).save(file)
    for form in (file, str(file), file.read_bytes(), bytearray(file.read_bytes())):
        image = mt.Image(form)
        assert image.data == file.read_bytes()
        assert image.suffix == name[2:]
        assert image.media_type == f"image/{'jpeg' if name == 'a.jpg' else name[2:]}"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_every_kind_of_pillow_image_is_taken(mode: str) -> None:
    kept = mt.Image(PIL.Image.new(mode, (4, 3))).to_pil()
    assert kept.size == (4, 3)
    assert kept.mode == (mode if mode not in ("CMYK", "YCbCr", "F") else "RGB")


@pytest.mark.parametrize(
    ("image", "error", "says"),
    [
        (np.array([[0.5, 1.5]]), ValueError, "0 to 1, not 0.5 to 1.5; scale or clip"),
        (np.array([[-1, 3]]), ValueError, "0 to 255, not -1 to 3"),
        (np.array([[math.nan]]), ValueError, "NaN"),
        (np.zeros((2, 2, 2)), ValueError, r"\(2, 2, 2\)"),
        (np.zeros(3), ValueError, r"\(3,\)"),
        (np.zeros((0, 3)), ValueError, "no pixels"),
        (np.zeros((0, 3), np.uint8), ValueError, "3 x 0 pixels"),
        (np.array([["a"]]), TypeError, "an array of numbers"),
        ([[1, 2], [3]], ValueError, "inhomogeneous"),
        ({"a": 1}, TypeError, "an array of numbers"),
        (None, TypeError, "an array of numbers"),
        ("nowhere.png", ValueError, "nowhere.png"),
        (b"GIF", ValueError, "no PNG, JPEG"),
        (b"", ValueError, "no PNG, JPEG"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(image: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        mt.Image(image)


def test_the_other_arguments_of_an_image_are_checked() -> None:
    with pytest.raises(TypeError, match="caption"):
        mt.Image(GRAY, caption=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode"):
        mt.Image(GRAY, mode="CMYK")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is for arrays"):
        mt.Image(PIL.Image.new("L", (1, 1)), mode="L")
    with pytest.raises(ValueError, match=r"width, 3\)"):
        mt.Image(GRAY, mode="RGB")


# -- tables ---------------------------------------------------------------------------------------------------------------

ROWS = [[1, 0.5, "a"], [2, math.nan, "\u00e9\udc00"], [2**70, -math.inf, None]]


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def test_a_table_is_read_back_exactly() -> None:
    table = mt.Table(columns=["int", "float", "text"], rows=ROWS)
    again = mt.Table.from_json(table.data)
    assert again.columns == ["int", "float", "text"]
    assert same(again.rows, ROWS)
    assert json.loads(table.data)["columns"] == ["int", "float", "text"]
    assert table.metadata == {"rows": 3, "columns": 3}


def test_every_form_of_the_same_table_is_the_same_file() -> None:
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    forms = [
        mt.Table(frame),
        mt.Table(pl.DataFrame({"x": [1, 2], "y": ["a", "b"]})),
        mt.Table([{"x": 1, "y": "a"}, {"y": "b", "x": 2}]),
        mt.Table({"x": np.array([1, 2]), "y": ("a", "b")}),
        mt.Table(columns=("x", "y"), rows=[(1, "a"), (2, "b")]),
    ]
    assert len({form.data for form in forms}) == 1
    pd.testing.assert_frame_equal(forms[0].to_pandas(), frame)
    pd.testing.assert_frame_equal(pd.read_json(io.BytesIO(forms[0].data), orient="split"), frame)


def test_what_a_frame_holds_besides_numbers() -> None:
    frame = pd.DataFrame(
        {
            "when": [pd.Timestamp("2020-01-02T03:04:05.123456Z"), pd.NaT],
            "nullable": pd.array([1, None], dtype="Int64"),
            "class": pd.Categorical(["x", "y"]),
            "list": [[1, np.float32(0.5)], {"a": (1, 2)}],
        }
    )
    assert mt.Table(frame).rows == [
        ["2020-01-02T03:04:05.123456+00:00", 1, "x", [1, 0.5]],
        [None, None, "y", {"a": [1, 2]}],
    ]
    assert mt.Table([{"d": date(2020, 1, 2), "p": Path("a/b"), "n": Decimal("0.5")}, {}]).rows == [["2020-01-02", "a/b", 0.5], [None] * 3]


def test_empty_tables() -> None:
    assert mt.Table([]).rows == []
    assert mt.Table(columns=["a"], rows=[]).columns == ["a"]
    assert len(mt.Table(pd.DataFrame())) == 0
    assert len(mt.Table({})) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"data": {"a": [1], "b": [1, 2]}}, ValueError, "one length, not 'a' 1, 'b' 2"),
        ({"data": {"a": "text"}}, TypeError, "column 'a' is a list"),
        ({"data": 5}, TypeError, "not of a int"),
        ({"data": "text"}, TypeError, "not of a str"),
        ({"data": [[1, 2]]}, TypeError, "columns= and rows="),
        ({}, TypeError, "columns= and rows="),
        ({"data": [], "columns": ["a"]}, TypeError, "or of columns="),
        ({"rows": [[1]]}, TypeError, "needs their columns"),
        ({"columns": ["a"], "rows": [[1, 2]]}, ValueError, "row 0 has 2 values for 1 columns"),
        ({"columns": ["a"], "rows": [3]}, TypeError, "row 0 is a list"),
        ({"columns": ["a", "a"], "rows": []}, ValueError, "two columns named 'a'"),
        ({"columns": ["a"], "rows": [[object()]]}, TypeError, "row 0, column 'a': a object"),
        ({"columns": ["a"], "rows": [[0]] * 1_000_001}, ValueError, "up to 1,000,000 cells, not 1,000,001 rows of 1"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        mt.Table(**arguments)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"columns": ["a"], "data": [[1, 2]]}', b'{"columns": ["a"], "data": [[{"$": "new"}]]}']
)
def test_a_file_that_is_no_table_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no table"):
        mt.Table.from_json(data)


# -- histograms -----------------------------------------------------------------------------------------------------------


def test_a_histogram_of_data_counts_like_numpy() -> None:
    data = np.random.default_rng(0).normal(size=(100, 30))
    counts, edges = np.histogram(data, bins=40)
    made = mt.Histogram(data, bins=40)
    assert type(made) is HistogramRecord
    assert isinstance(made, mt.Histogram)
    assert made.counts == counts.tolist()
    assert made.edges == pytest.approx(edges.tolist())


@given(st.lists(st.floats() | st.integers(-(10**6), 10**6), max_size=50), st.integers(1, 70))
def test_a_histogram_is_the_same_without_numpy(data: list[float], bins: int) -> None:
    plain, array = mt.Histogram(data, bins=bins), mt.Histogram(np.array(data, dtype=float), bins=bins)
    assert plain == array
    assert sum(plain.counts) == sum(map(math.isfinite, data))
    assert len(plain.edges) == len(plain.counts) + 1
    assert all(one < other for one, other in zip(plain.edges, plain.edges[1:], strict=False))
    assert all(map(math.isfinite, plain.edges))


def test_nothing_finite_is_no_error_since_training_goes_on() -> None:
    assert sum(mt.Histogram([math.nan, math.inf]).counts) == 0
    assert mt.Histogram(np.array([]), bins=2) == HistogramRecord(edges=[0.0, 0.5, 1.0], counts=[0, 0])
    assert mt.Histogram([3.0, 3.0], bins=2).edges == [2.5, 3.0, 3.5]


def test_a_ready_made_histogram_stays_as_it_is() -> None:
    assert mt.Histogram(edges=[0.0, 1.0], counts=[2.5]) == HistogramRecord(edges=[0.0, 1.0], counts=[2.5])
    assert mt.Histogram(Tensor(np.array([True, False])), bins=1).counts == [2]


@pytest.mark.parametrize(
    ("arguments", "fields", "error"),
    [
        ((), {}, TypeError),
        (([1],), {"edges": [0.0]}, TypeError),
        (("text",), {}, TypeError),
        ((5,), {}, TypeError),
        ((["x"],), {}, ValueError),
        (([1],), {"bins": 0}, ValueError),
        (([1],), {"bins": 2.0}, TypeError),
        (([10**400],), {}, ValueError),
        ((), {"edges": [0.0], "counts": [1]}, ValueError),
        ((), {"edges": [0.0, 1.0]}, ValueError),
    ],
)  # fmt: skip
def test_what_is_no_histogram_is_refused(arguments: tuple[Any, ...], fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        mt.Histogram(*arguments, **fields)


def test_listings_show_a_point_in_a_few_words() -> None:
    assert str(mt.Histogram([1, 2, 3.5])) == "histogram of 3, 1 to 3.5"
    assert str(HistogramRecord(edges=[], counts=[])) == "histogram of 0"
    assert str(ArtifactRef(name="media/images/a/0-b.png", sha256="b")) == "media/images/a/0-b.png"


# -- names ----------------------------------------------------------------------------------------------------------------


def test_a_name_tells_metric_step_and_content() -> None:
    assert media_name("image", "val/pred", 3, "0a1b2c3d4e5f60718293", "png") == "media/images/val/pred/3-0a1b2c3d4e5f6071.png"
    parts = parse_media_name("media/tables/cm/-2.5-0a1b2c3d4e5f6071.json")
    assert parts is not None
    assert (parts.kind, parts.key, parts.step, parts.suffix) == ("table", "cm", "-2.5", "json")


@given(st.text(), st.none() | steps)
def test_every_metric_and_step_has_a_name_that_can_be_read(metric: str, step: Any) -> None:
    name = media_name("figure", metric, step, "0" * 64, "html")
    parts = parse_media_name(name)
    assert parts is not None
    assert str(parts) == name
    assert name.isascii()
    assert len(name) < 200
    assert all(part not in ("", ".", "..") for part in name.split("/"))


def test_names_of_metrics_that_cannot_be_paths_differ() -> None:
    hostile = ["a b", "a_b", "a?b", "../a", "/a", "a/", ".a", "", "x" * 300, "x" * 299 + "y", "\u00e9", "\udc00", "a~b", "a+b", "a/../b"]
    assert len({media_name("image", metric, 0, "0" * 64, "png") for metric in hostile}) == len(hostile)
    steps = [1, 1.0, -1, None, 10**400, 10**400 + 1, 0.1, 1e300]
    assert len({media_name("image", "a", step, "0" * 64, "png") for step in steps}) == len(steps)


# -- in a run -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path):
    folder = RunFolder(tmp_path / "p" / ("0" * 32))
    folder.create()
    run = Run(folder, "p", None)
    yield run
    run.finish()


def records(run: Run) -> list[Record]:
    return list(Journal(RunFolder(run.dir)).records())


def content(run: Run, reference: ArtifactRef) -> bytes:
    return RunFolder(run.dir).content(reference.sha256).read_bytes()


def test_an_image_is_a_point_and_a_file(run: Run) -> None:
    image = mt.Image(COLOR, caption="a cat")
    run.log({"loss": 0.5, "pred": image}, step=3, time=datetime(2020, 1, 2, tzinfo=UTC))

    artifact, row = records(run)
    assert isinstance(artifact, Artifact)
    assert isinstance(row, Metrics)
    reference = row.values["pred"]
    assert isinstance(reference, ArtifactRef)
    assert row.values["loss"] == 0.5
    assert (artifact.name, artifact.sha256) == (reference.name, reference.sha256)
    assert (artifact.type, artifact.step, artifact.time, row.time) == ("image", 3, row.time, 1_577_923_200_000_000)
    assert artifact.metadata == {"metric": "pred", "caption": "a cat"}
    assert content(run, reference) == image.data
    assert artifact.size == len(image.data)


def test_several_images_at_one_step_are_several_points(run: Run) -> None:
    images = [mt.Image(COLOR), mt.Image(GRAY), mt.Image(COLOR)]
    run.log({"pred": images, "loss": 1, "one": (mt.Image(GRAY),)}, step=1)

    rows = [record for record in records(run) if isinstance(record, Metrics)]
    assert [set(row.values) for row in rows] == [{"pred", "loss", "one"}, {"pred"}, {"pred"}]
    assert [content(run, row.values["pred"]) for row in rows] == [image.data for image in images]  # type: ignore[arg-type]
    assert {row.step for row in rows} == {1}
    assert len(list(RunFolder(run.dir).artifacts.iterdir())) == 2


def test_figures_are_taken_as_they_are(run: Run) -> None:
    drawn = MatplotlibFigure()
    drawn.subplots().plot([1, 2])
    run.log({"plot": drawn, "page": PlotlyFigure(data=[{"y": [1, 2]}]), "photo": PIL.Image.fromarray(COLOR)})

    row = records(run)[-1]
    assert isinstance(row, Metrics)
    plot, page, photo = (row.values[name] for name in ("plot", "page", "photo"))
    assert isinstance(plot, ArtifactRef)
    assert isinstance(page, ArtifactRef)
    assert isinstance(photo, ArtifactRef)
    assert plot.name.startswith("media/figures/plot/none-")
    assert PIL.Image.open(io.BytesIO(content(run, plot))).size == (640, 480)
    assert page.media_type == "text/html"
    assert b'"y":[1,2]' in content(run, page)
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(content(run, photo)))), COLOR)


def test_the_same_plotly_figure_is_the_same_file() -> None:
    from multitrack.media.figure import to_figure

    one, other = (to_figure("f", PlotlyFigure(data=[{"y": [1, 2]}])) for _ in range(2))
    assert isinstance(one, Figure)
    assert isinstance(other, Figure)
    assert one.data == other.data


class Unreadable(MatplotlibFigure):
    def savefig(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("no font")


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"a": mt.Image(GRAY), "b": object()}, TypeError, "metric 'b'"),
        ({"a": [mt.Image(GRAY), 3]}, TypeError, "metric 'a': a list holds images"),
        ({"a": []}, TypeError, "metric 'a'"),
        ({"a": [1, 2]}, TypeError, "metric 'a'"),
        ({"a": Unreadable()}, ValueError, "metric 'a': the figure cannot be drawn: no font"),
        ({"a": COLOR}, TypeError, "make a Histogram or an Image of it"),
        ({"a": mt.Image(GRAY), "": 1}, ValueError, "empty"),
    ],
)  # fmt: skip
def test_a_wrong_argument_writes_nothing(run: Run, values: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        run.log(values)
    with pytest.raises(ValueError, match="finite"):
        run.log({"a": mt.Image(GRAY)}, step=math.nan)
    assert records(run) == []
    assert list(RunFolder(run.dir).artifacts.iterdir()) == []


def test_a_disk_that_refuses_the_file_raises_nothing(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    RunFolder(run.dir).artifacts.rmdir()
    RunFolder(run.dir).artifacts.write_text("a file where the folder was: nothing can be put into it")

    run.log({"pred": mt.Image(GRAY), "loss": 1.0})
    run.log({"pred": mt.Image(GRAY)})

    assert [record.values for record in records(run) if isinstance(record, Metrics)] == [{"loss": 1.0}]
    assert "records are lost" in capsys.readouterr().err
    assert run._writer.refused == 2


def test_a_run_that_has_ended_takes_no_image(run: Run) -> None:
    run.finish()
    with pytest.raises(ValueError, match="ended"):
        run.log({"pred": mt.Image(GRAY)})


def test_an_image_needs_no_pillow_and_the_rest_nothing_at_all(tmp_path: Path) -> None:
    """Where nothing of the sort is installed, tables and histograms of plain Python work, and images are said to need numpy."""
    program = f"""
import sys
for name in ("PIL", "pandas", "matplotlib", "plotly", "polars"): sys.modules[name] = None
import multitrack as mt
with mt.init(project="p", dir={str(tmp_path)!r}, backends="local") as run:
    run.log({{"t": mt.Table([{{"a": 1}}]), "h": mt.Histogram([1, 2, 3])}})
    assert "numpy" not in sys.modules
    import numpy as np
    run.log({{"i": mt.Image(np.zeros((2, 2)))}})
sys.modules["numpy"] = None
try: mt.Image([[0.5]])
except TypeError as error: print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)}
    )
    assert (done.returncode, done.stdout) == (0, "an image: arrays need numpy; `pip install numpy`\n"), done.stderr
