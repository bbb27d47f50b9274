"""Where images and tables stand for MLflow's own pages, and how they are told from what others put there."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.records.media_names import media_name
from multitrack_mlflow import display

AT = 1_577_934_245_678_901
HASH = "0a1b2c3d4e5f6071" + "0" * 48
PRED = media_name("image", "val/pred", 3, HASH, "png")
TABLE = media_name("table", "cm", 3, HASH, "json")


def test_an_image_stands_where_the_grid_reads_key_step_and_time() -> None:
    path = display.image_path(PRED, AT)
    assert path == "images/val~pred+step+3+timestamp+1577934245678+3-0a1b2c3d4e5f6071.png"
    assert display.thumbnail_path(path) == "images/val~pred+step+3+timestamp+1577934245678+3-0a1b2c3d4e5f6071+compressed.webp"


@pytest.mark.parametrize(("step", "shown"), [(None, 0), (0, 0), (2.5, 2), (-2.5, -3), (-7, -7), (1e9, 10**9)])
def test_the_grid_knows_whole_steps_alone(step: float | None, shown: int) -> None:
    path = display.image_path(media_name("image", "a", step, HASH, "png"), AT)
    assert path is not None
    assert f"+step+{shown}+" in path


@pytest.mark.parametrize(
    "name",
    [
        TABLE,
        media_name("figure", "a", 0, HASH, "png"),
        media_name("image", "a", 0, HASH, "jpg"),
        media_name("image", "a", 2**60, HASH, "png"),
        media_name("image", "a", 10**40, HASH, "png"),
        "media/images/a/3-0a1b.png",
        "images/a.png",
    ],
)
def test_what_the_grid_cannot_show_keeps_its_name(name: str) -> None:
    assert display.image_path(name, AT) is None


@given(st.text(), st.none() | st.integers() | st.floats(allow_nan=False), st.sampled_from(["png", "webp"]), st.integers(-(2**60), 2**60))
def test_an_images_name_can_be_made_from_its_path(metric: str, step: float | None, suffix: str, at: int) -> None:
    name = media_name("image", metric, step, HASH, suffix)
    path = display.image_path(name, at)
    if path is not None:
        assert display.artifact_name(path) == name
        assert display.artifact_name(display.thumbnail_path(path)) == ""
        assert all(len(part) <= 255 for part in path.split("/"))


@pytest.mark.parametrize(
    "path",
    [
        "images/dogs+step+3+timestamp+1700000000000+f47ac10b-58cc-4372-a567-0e02b2c3d479.png",
        "images/dogs+step+3+timestamp+1700000000000+f47ac10b-58cc-4372-a567-0e02b2c3d479+compressed.webp",
        "images/dogs%step%3%timestamp%1700000000000%f47ac10b.png",
        "images/photo.png",
        "images/deep/val+step+3+timestamp+17+3-0a1b2c3d4e5f6071.png",
        "other/val+step+3+timestamp+17+3-0a1b2c3d4e5f6071.png",
        PRED,
    ],
)
def test_what_others_call_an_image_is_not_ours(path: str) -> None:
    assert display.artifact_name(path) is None


def test_a_thumbnail_is_small_and_what_cannot_be_read_stands_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "image"
    for mode, size, small in (
        ("RGB", (1000, 10), (256, 3)),
        ("P", (10, 1000), (3, 256)),
        ("RGBA", (8, 9), (8, 9)),
        ("I;16", (300, 300), (256, 256)),
    ):
        PIL.Image.new(mode, size).save(file, "PNG")
        thumbnail = display.thumbnail(file)
        assert isinstance(thumbnail, bytes)
        made = PIL.Image.open(io.BytesIO(thumbnail))
        assert (made.format, made.size) == ("WEBP", small)
    whole = file.read_bytes()
    for content in (b"", b"no image", whole[:40], whole[: len(whole) // 2]):
        file.write_bytes(content)
        assert display.thumbnail(file) == file
    file.write_bytes(whole)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert display.thumbnail(file) == file


# -- tags -----------------------------------------------------------------------------------------------------------------


def listed(*paths: str) -> str:
    return json.dumps([{"path": path, "type": "table"} for path in paths])


def test_tags_tell_of_images_and_tables() -> None:
    assert display.tags_for(["model.pt"], {}) == {}
    tags = display.tags_for([PRED, TABLE, "model.pt"], {})
    assert tags == {"mlflow.loggedImages": "True", "multitrack.logged_images": "True", "mlflow.loggedArtifacts": listed(TABLE)}
    assert display.tags_for([PRED, TABLE], tags) == {"mlflow.loggedArtifacts": listed(TABLE)}
    assert set(display.without_own(tags)) == {"multitrack.logged_images"}


def test_a_users_own_tags_stay() -> None:
    own = {"mlflow.loggedImages": "True", "mlflow.loggedArtifacts": listed("table.json"), "other": "x"}
    assert display.without_own(own) == own
    tags = display.tags_for([PRED, TABLE], own)
    assert tags == {"mlflow.loggedArtifacts": listed("table.json", TABLE)}
    assert display.without_own({**own, **tags}) == own


@pytest.mark.parametrize("text", ["", "no json", "{}", "[3, null]", '["media/tables/cm/3-0a1b2c3d4e5f6071.json"]'])
def test_a_tag_that_somebody_has_spoiled_is_left_alone(text: str) -> None:
    known = {"mlflow.loggedArtifacts": text}
    assert display.without_own(known) == known
    assert display.without_own(known | display.tags_for([TABLE], known)) == known


def test_the_list_of_tables_keeps_to_what_a_tag_holds() -> None:
    tables = [media_name("table", "cm", step, HASH, "json") for step in range(500)]
    known: dict[str, str] = {"mlflow.loggedArtifacts": listed("table.json")}
    for table in tables:
        known |= display.tags_for([table], known)
    text = known["mlflow.loggedArtifacts"]
    paths = [one["path"] for one in json.loads(text)]
    assert len(text) <= 8000
    assert paths[0] == "table.json"
    assert paths[1:] == tables[-len(paths) + 1 :]
    assert len(paths) > 80
