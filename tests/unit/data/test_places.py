"""URLs as they are recorded: enough to find the data, nothing to get in with."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.data.places import from_uri, is_url, safe_url, scheme_of, to_local_path
from multitrack.masking import Mask


@pytest.mark.parametrize(
    ("url", "recorded"),
    [
        ("https://ann:hunter2secret@example.com/d.csv", "https://example.com/d.csv"),
        (
            "https://b.s3.amazonaws.com/d.csv?X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIA&X-Amz-Signature=abc",
            "https://b.s3.amazonaws.com/d.csv",
        ),
        ("https://a.blob.core.windows.net/c/d.csv?sv=2022-11-02&se=2026&sr=b&sp=r&sig=abc%3D", "https://a.blob.core.windows.net/c/d.csv"),
        ("https://storage.googleapis.com/b/d?X-Goog-Signature=abc", "https://storage.googleapis.com/b/d"),
        ("https://storage.googleapis.com/b/d?GoogleAccessId=a&Expires=1&Signature=abc", "https://storage.googleapis.com/b/d"),
        ("https://example.com/d.csv?access_token=abc&version=2", "https://example.com/d.csv"),
        ("s3://AKIAABCDEFGH:verysecret@bucket/key", "s3://bucket/key"),
        ("zip://a.csv::https://ann:hunter2secret@example.com/d.zip?sig=abc", "zip://a.csv::https://example.com/d.zip"),
        ("https://example.com/d.csv?version=2&split=train", "https://example.com/d.csv?version=2&split=train"),
        ("s3://bucket/key?versionId=abc", "s3://bucket/key?versionId=abc"),
        ("abfs://container@account.dfs.core.windows.net/d.csv", "abfs://container@account.dfs.core.windows.net/d.csv"),
        ("hf://datasets/squad@main/d.parquet", "hf://datasets/squad@main/d.parquet"),
        ("gs://bucket/a b/é.csv", "gs://bucket/a b/é.csv"),
        ("https://[bad/d.csv?sig=abc", "https://[bad/d.csv"),
    ],
)
def test_what_lets_one_in_is_not_recorded(url: str, recorded: str) -> None:
    assert safe_url(url, Mask()) == recorded


@pytest.mark.parametrize("place", ["s3://b/k", "https://x/y", "memory://a", "simplecache::s3://b/k", "zip://a::file:///x.zip", "hf://d"])
def test_urls(place: str) -> None:
    assert is_url(place)


@pytest.mark.parametrize("place", ["data/x.csv", "/data/x", "a:b", "~/x", "x//y", "C:/data//x"])
def test_paths(place: str) -> None:
    assert not is_url(place)


def test_local_urls_are_paths() -> None:
    assert to_local_path("file:///a%20b/c.csv") == "/a b/c.csv"
    assert to_local_path("/a b") is None
    assert from_uri(Path("/a b/é#?.csv").as_uri()) == Path("/a b/é#?.csv")
    assert from_uri("s3://b/k") is None
    assert from_uri('{"uri": "x"}') is None


def test_kinds_of_places() -> None:
    kinds = [scheme_of(url) for url in ("https://x/y", "s3a://b", "simplecache::gcs://b", "hf://d", "abfs://c@a/x")]
    assert kinds == ["http", "s3", "gs", "hugging_face", "abfs"]
