"""Values that are no JSON are told so that people recognise them, and the same way in each run."""

from __future__ import annotations

import collections
import decimal
import enum
import functools
import json
import re
import subprocess
import sys
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitrack.params import read_params
from multitrack.records import Hyperparameters
from multitrack.records.codec import decode, encode


class Plain:
    def method(self) -> None: ...


class Named:
    def __repr__(self) -> str:
        return "Compose(<tests.Resize object at 0x7f00deadbeef>, size=3)"


class Wordy:
    def __repr__(self) -> str:
        return "x" * 10_000


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Gone:
    """As a tensor whose device is gone."""

    shape = ()

    def item(self) -> float:
        raise RuntimeError("no device")

    def __repr__(self) -> str:
        return "Gone()"


class Kind(enum.Enum):
    ADAM = 1
    SGD = "sgd"


class Level(enum.IntEnum):
    LOW = 1


class Parts(enum.Flag):
    A = 1
    B = 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (int, "int"),
        (Plain, f"{__name__}.Plain"),
        (collections.OrderedDict, "collections.OrderedDict"),
        (len, "len"),
        (json.dumps, "json.dumps"),
        (np.mean, "numpy.mean"),
        (Plain().method, f"{__name__}.Plain.method"),
        (json, "json"),
        (
            functools.partial(json.dumps, [1], indent=Kind.ADAM),
            {"_target_": "json.dumps", "_partial_": True, "_args_": [[1]], "indent": "ADAM"},
        ),
        (Path("/data/x"), "/data/x"),
        (Kind.ADAM, "ADAM"),
        (Kind.SGD, "sgd"),
        (Level.LOW, 1),
        (Parts.A | Parts.B, "A|B"),
        (np.float32(0.5), 0.5),
        (np.dtype("float32"), "float32"),
        (np.float32, "numpy.float32"),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.zeros((100, 100)), "ndarray of shape (100, 100), float64"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(minutes=1.5), 90.0),
        (ZoneInfo("UTC"), "UTC"),
        (decimal.Decimal("0.5"), 0.5),
        (Fraction(1, 4), 0.25),
        (Fraction(10**400, 3), f"Fraction({10**400}, 3)"),
        (1 + 2j, "(1+2j)"),
        (b"text", "text"),
        (b"", ""),
        (b"\xff\x00", "base64:/wA="),
        (bytes(1000), "1,000 bytes"),
        ({3, 1}, [1, 3]),
        (range(3), [0, 1, 2]),
        (range(10**12), "range(0, 1000000000000)"),
        (collections.deque([1, 2]), [1, 2]),
        (re.compile("a+"), "a+"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ip_address("::1"), "::1"),
        (slice(1, 2), "slice(1, 2, None)"),
        (list[int], "list[int]"),
        (int | None, "int | None"),
        (object(), "object"),
        (Named(), "Compose(<tests.Resize>, size=3)"),
        (Wordy(), "x" * 500 + "... (10,000 characters)"),
        (Broken(), "<Broken that cannot be read: RuntimeError>"),
        (Gone(), "<Gone that cannot be read: TypeError>"),
        (types.SimpleNamespace(a=1), {"a": 1}),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_forms_of_values(value: Any, expected: Any) -> None:
    read = read_params({"a": value, "b": [{"c": value}]}).values
    assert read == {"a": expected, "b": [{"c": expected}]}
    assert type(read["a"]) is type(expected)


def test_torch_says_its_types_and_devices_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for torch, which is too large for a test: the same module, the same str, another repr."""
    device = type(
        "device", (), {"__module__": "torch", "__str__": lambda _: "cuda:0", "__repr__": lambda _: "device(type='cuda', index=0)"}
    )
    dtype = type("dtype", (), {"__module__": "torch", "__repr__": lambda _: "torch.float32"})
    assert read_params({"device": device(), "dtype": dtype()}).values == {"device": "cuda:0", "dtype": "torch.float32"}


def test_names_that_are_no_text() -> None:
    assert read_params({1: "a", None: {Kind.ADAM: 1, (1, 2): 2, Path("x"): 3}}).values == {
        "1": "a",
        "None": {"ADAM": 1, "(1, 2)": 2, "x": 3},
    }
    with pytest.raises(ValueError, match="two names are both '1' as texts"):
        read_params({1: 1, "1": 2})


def test_it_is_the_same_in_each_process() -> None:
    program = (
        "from multitrack.params import read_params\nclass A: pass\n"
        "print(read_params({'f': lambda: 1, 'o': object(), 'a': A, 'i': A(), 's': {'x', 'y', 'z'}, 'g': (x for x in ())}).values)"
    )
    outputs = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in range(3)}
    assert len(outputs) == 1
    assert "0x" not in outputs.pop()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers() | st.dates() | st.timedeltas()
    | st.decimals() | st.fractions() | st.uuids() | st.sampled_from([int, len, Kind.ADAM, Plain, Plain(), object(), ...]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(), anything, max_size=4))
@settings(max_examples=200, deadline=None)
def test_whatever_it_is_it_can_be_written_and_read(params: dict[str, Any]) -> None:
    line = encode(Hyperparameters(time=1, values=read_params(params).values), 0)
    assert encode(decode(line)[1], 0) == line
