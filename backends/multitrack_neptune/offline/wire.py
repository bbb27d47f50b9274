"""Protocol Buffers on the wire: the fields of a message, without its schema.

A message is a row of fields; each begins with a varint `number << 3 | type`, then comes a varint (type 0), 8 bytes (1), a length and as
many bytes (2: texts, messages, packed lists), or 4 bytes (5). See https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10


class WireError(ValueError):
    """The bytes are no message."""


def read_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) for each field: a varint as an unsigned int, anything else as its bytes.

    Raises:
        WireError: the message is cut off, or has a type of field that Protocol Buffers have given up.
    """
    place = 0
    while place < len(data):
        tag, place = _read_varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, place = _read_varint(data, place)
            yield number, value
            continue
        if kind == BYTES:
            length, place = _read_varint(data, place)
        elif kind in {FIXED64, FIXED32}:
            length = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"a field of type {kind}")
        if place + length > len(data):
            raise WireError("the message is cut off")
        yield number, data[place : place + length]
        place += length


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        if place >= len(data):
            raise WireError("the message is cut off")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise WireError("a varint of more than 10 bytes")


def signed(value: int | bytes) -> int:
    """Return an int64 or int32: negative numbers are written as if they had 64 bits."""
    number = number_of(value)
    return number - (1 << 64) if number >> 63 else number


def number_of(value: int | bytes) -> int:
    """Return a varint.

    Raises:
        WireError: the field has another type.
    """
    if not isinstance(value, int):
        raise WireError("bytes where a number belongs")
    return value


def bytes_of(value: int | bytes) -> bytes:
    """Return a message's bytes.

    Raises:
        WireError: the field has another type.
    """
    if not isinstance(value, bytes):
        raise WireError("a number where bytes belong")
    return value


def text(value: int | bytes) -> str:
    """Return a text."""
    return bytes_of(value).decode("utf-8", "replace")


def double(value: int | bytes) -> float:
    """Return a double."""
    data = bytes_of(value)
    if len(data) != 8:
        raise WireError("a double has 8 bytes")
    return float(struct.unpack("<d", data)[0])


def doubles(value: int | bytes) -> list[float]:
    """Return the doubles of one field of a repeated one: several where it is packed, as it nearly always is."""
    data = bytes_of(value)
    if len(data) % 8:
        raise WireError("a double has 8 bytes")
    return list(struct.unpack(f"<{len(data) // 8}d", data))


def varints(value: int | bytes) -> list[int]:
    """Return the varints of one field of a repeated one, packed or not."""
    if isinstance(value, int):
        return [value]
    found, place = [], 0
    while place < len(value):
        number, place = _read_varint(value, place)
        found.append(number)
    return found
