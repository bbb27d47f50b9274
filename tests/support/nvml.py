"""A machine with NVIDIA accelerators, as their library answers: functions with the names, arguments and codes of `libnvidia-ml.so.1`.

nvidia-ml-py itself is real: its ctypes calls reach these functions in place of the library's. Each writes through the pointers
that it is given, as C does, and whatever is not listed here fails as a driver does that is older than the call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pynvml

_OK, _NOT_SUPPORTED, _NOT_FOUND, _INVALID = 0, 3, 6, 2


@dataclass
class Board:
    """One accelerator."""

    name: str = "NVIDIA H100 80GB HBM3"
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    minor: int = 0
    total: int = 80_000_000_000
    used: int = 20_000_000_000
    busy: int | None = 50
    """Per cent; None: the accelerator does not tell."""
    power: int | None = 350_000
    """Milliwatts."""
    limit: int = 700_000
    temperature: int = 60
    parts: list[Board] = field(default_factory=list)
    """MIG."""


class Library:
    """`libnvidia-ml.so.1`."""

    def __init__(self, boards: list[Board], *, driver: str = "550.54.15", cuda: int = 12040, starts: int = _OK) -> None:
        self._boards = boards
        self._driver, self._cuda, self._starts = driver, cuda, starts
        self._devices = [device for board in boards for device in (board, *board.parts)]
        self.users = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        # As CDLL: nvidia-ml-py makes NVML_ERROR_FUNCTION_NOT_FOUND of it.
        raise AttributeError(name)

    def nvmlInitWithFlags(self, flags: int) -> int:
        assert flags == 0
        self.users += self._starts == _OK
        return self._starts

    def nvmlShutdown(self) -> int:
        self.users -= 1
        return _OK

    def nvmlSystemGetDriverVersion(self, text: Any, size: ctypes.c_uint) -> int:
        return _write(text, size, self._driver)

    def nvmlSystemGetCudaDriverVersion_v2(self, version: Any) -> int:
        return _set(version, self._cuda)

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        return _set(count, len(self._boards))

    def nvmlDeviceGetHandleByIndex_v2(self, index: ctypes.c_uint, device: Any) -> int:
        return self._point(device, self._boards[index.value]) if index.value < len(self._boards) else _INVALID

    def nvmlDeviceGetName(self, device: Any, text: Any, size: ctypes.c_uint) -> int:
        return _write(text, size, self._of(device).name)

    def nvmlDeviceGetUUID(self, device: Any, text: Any, size: ctypes.c_uint) -> int:
        return _write(text, size, self._of(device).uuid)

    def nvmlDeviceGetMinorNumber(self, device: Any, number: Any) -> int:
        return _set(number, self._of(device).minor)

    def nvmlDeviceGetMemoryInfo(self, device: Any, memory: Any) -> int:
        board = self._of(device)
        memory._obj.total, memory._obj.used, memory._obj.free = board.total, board.used, board.total - board.used
        return _OK

    def nvmlDeviceGetUtilizationRates(self, device: Any, rates: Any) -> int:
        board = self._of(device)
        if board.busy is None or board not in self._boards:
            return _NOT_SUPPORTED
        rates._obj.gpu, rates._obj.memory = board.busy, 1
        return _OK

    def nvmlDeviceGetPowerUsage(self, device: Any, power: Any) -> int:
        board = self._of(device)
        return _NOT_SUPPORTED if board.power is None else _set(power, board.power)

    def nvmlDeviceGetEnforcedPowerLimit(self, device: Any, limit: Any) -> int:
        return _set(limit, self._of(device).limit)

    def nvmlDeviceGetTemperature(self, device: Any, sensor: ctypes.c_uint, temperature: Any) -> int:
        return _set(temperature, self._of(device).temperature) if sensor.value == 0 else _INVALID

    def nvmlDeviceGetMigMode(self, device: Any, current: Any, pending: Any) -> int:
        return _set(current, int(bool(self._of(device).parts))) or _set(pending, 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Any, count: Any) -> int:
        return _set(count, 7)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: ctypes.c_uint, part: Any) -> int:
        parts = self._of(device).parts
        return self._point(part, parts[index.value]) if index.value < len(parts) else _NOT_FOUND

    def _point(self, handle: Any, board: Board) -> int:
        """Give a handle: a pointer, here a number above 0."""
        place = next(place for place, device in enumerate(self._devices) if device is board)
        ctypes.cast(ctypes.pointer(handle._obj), ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.c_void_p(place + 1).value
        return _OK

    def _of(self, handle: Any) -> Board:
        place = ctypes.cast(handle, ctypes.c_void_p).value
        assert place, "no handle"
        return self._devices[place - 1]


def _set(pointer: Any, value: int) -> int:
    pointer._obj.value = value
    return _OK


def _write(text: Any, size: ctypes.c_uint, value: str) -> int:
    assert len(value) < size.value
    text.value = value.encode()
    return _OK


@contextmanager
def library(*boards: Board, **options: Any) -> Iterator[Library]:
    """Let nvidia-ml-py find these accelerators."""
    made = Library(list(boards), **options)
    before = pynvml.nvmlLib
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml.nvmlLib = made
    try:
        yield made
    finally:
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()
