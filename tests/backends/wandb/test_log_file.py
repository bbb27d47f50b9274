"""The transaction log's frames: what was written is read, and of what is damaged all that is whole."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitrack_wandb.log_file import MAGIC, Damage, LogWriter, NotALogError, read_log

BLOCK = 32 * 1024
HEAD = 7


def written(*records: bytes) -> bytes:
    file = io.BytesIO()
    writer = LogWriter(file)
    for record in records:
        writer.write(record)
    return file.getvalue()


def read(content: bytes) -> tuple[list[bytes], list[Damage]]:
    found = list(read_log(io.BytesIO(content)))
    return [one for one in found if isinstance(one, bytes)], [one for one in found if isinstance(one, Damage)]


def many(count: int = 2000, size: int = 100) -> list[bytes]:
    return [f"record {number} ".encode().ljust(size, b".") for number in range(count)]


# -- whole ones


@pytest.mark.parametrize("spare", range(-2, 10))
def test_a_record_that_ends_near_the_end_of_a_block(spare: int) -> None:
    """At 0 to 6 bytes before it the rest is padding; at 7 the next record begins with an empty part."""
    first = b"a" * (BLOCK - len(MAGIC) - HEAD - spare)
    records = [first, b"second", b"third"]
    content = written(*records)
    assert read(content) == (records, [])
    if 0 <= spare < HEAD:
        assert content[BLOCK - spare : BLOCK] == bytes(spare)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=50), st.integers(BLOCK - 40, BLOCK + 40).map(lambda size: b"x" * size)), max_size=30))
def test_whatever_was_written_is_read(records: list[bytes]) -> None:
    assert read(written(*records)) == (records, [])


def test_a_record_of_many_blocks() -> None:
    records = [b"before", bytes(range(256)) * 1000, b"after"]
    assert read(written(*records)) == (records, [])


def test_a_frame_is_what_the_format_says() -> None:
    content = written(b"hello")
    assert content[:HEAD] == b":W&B\xe1\xbe\x00"
    assert content[HEAD:] == struct.pack("<IHB", zlib.crc32(b"\x01hello"), 5, 1) + b"hello"


@pytest.mark.parametrize("content", [b"", b":W&B", b"PK\x03\x04 and so on", b":W&B\xe1\xbe\x01"])
def test_what_is_no_log_is_refused(content: bytes) -> None:
    with pytest.raises(NotALogError):
        list(read_log(io.BytesIO(content)))


def test_a_log_without_records() -> None:
    assert read(MAGIC) == ([], [])


# -- damaged ones


@pytest.mark.parametrize("kept", [1, 3, HEAD - 1, HEAD, HEAD + 1, 100, BLOCK - 1, BLOCK, BLOCK + 3, 100_000])
def test_a_file_that_was_cut_off(kept: int) -> None:
    """A killed process leaves a beginning of the file: every whole record in it is read, and the torn one is told."""
    records = many()
    content = written(*records)
    cut = content[: len(MAGIC) + kept]
    found, damages = read(cut)
    assert found == records[: len(found)]
    assert len(written(*found)) <= len(cut) < len(written(*records[: len(found) + 1]))
    rest = len(cut) - len(written(*found))
    if any(cut[len(cut) - rest :] if rest else b""):
        (damage,) = damages
        assert damage.at_end
        assert damage.offset + damage.length == len(cut)
    else:
        assert not damages


def test_a_flipped_bit_costs_the_rest_of_its_block() -> None:
    records = many()
    content = bytearray(written(*records))
    place = 2 * BLOCK + 5_000
    content[place] ^= 1
    found, (damage,) = read(bytes(content))
    lost = [record for record in records if record not in found]
    assert 1 < len(lost) <= BLOCK // 100 + 1
    assert lost == records[records.index(lost[0]) : records.index(lost[0]) + len(lost)], "one stretch is lost"
    assert damage.offset <= place < damage.offset + damage.length
    assert damage.reason == "a checksum that does not fit"
    assert not damage.at_end
    assert found == [record for record in records if record not in lost]


def test_a_record_across_a_damaged_block_is_lost_and_no_other() -> None:
    long = b"z" * (3 * BLOCK)
    records = [*many(20), long, *many(5000)]
    content = bytearray(written(*records))
    middle = len(written(*many(20))) + BLOCK + 1000
    content[middle : middle + 50] = bytes(50)
    found, damages = read(bytes(content))
    assert found[:20] == records[:20]
    assert long not in found
    assert found[-4000:] == records[-4000:]
    assert damages
    assert damages[0].offset == len(written(*many(20))), "the damage begins with the record that it tears"


def test_a_stretch_of_zeros() -> None:
    records = many()
    content = bytearray(written(*records))
    content[BLOCK : 3 * BLOCK] = bytes(2 * BLOCK)
    found, damages = read(bytes(content))
    assert [record for record in records if record in found] == found
    assert {damage.reason for damage in damages} == {"zeros"}
    assert sum(damage.length for damage in damages) >= 2 * BLOCK


def test_a_record_that_breaks_off_is_told() -> None:
    """Somebody's copy lacks a block: after the beginning of a record comes another one."""
    torn = written(b"z" * (2 * BLOCK))[:BLOCK]
    whole = written(b"a" * (BLOCK - len(MAGIC) - HEAD), b"b" * (BLOCK - HEAD))[BLOCK:]
    found, damages = read(torn + whole)
    assert found == [b"b" * (BLOCK - HEAD)]
    assert damages == [Damage(len(MAGIC), BLOCK - len(MAGIC), "a record breaks off")]


def test_damages_say_where_they_are() -> None:
    assert str(Damage(1234567, 89012, "zeros")) == "89,012 bytes from byte 1,234,567 on: zeros"


@settings(deadline=None, max_examples=60)
@given(st.integers(len(MAGIC), 200_000), st.binary(min_size=1, max_size=300))
def test_no_garbage_makes_reading_fail_or_brings_up_what_was_not_written(place: int, garbage: bytes) -> None:
    records = many()
    content = bytearray(written(*records))
    content[place : place + len(garbage)] = garbage
    found, damages = read(bytes(content))
    assert set(found) <= set(records)
    assert len(found) >= len(records) - 3 * (BLOCK // 100 + 2)
    for one, other in pairwise(damages):
        assert one.offset + one.length <= other.offset
