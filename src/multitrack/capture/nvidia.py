"""NVIDIA's accelerators, as their own library (NVML, through nvidia-ml-py) and the driver's files tell.

Which of them a process sees is CUDA_VISIBLE_DEVICES's to say: numbers, or beginnings of UUIDs, up to the first that names nothing
(CUDA's programming guide, "CUDA Environment Variables"). NVML itself lists all that the container or batch job lets through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DEVICE = re.compile(r"nvidia[0-9]+")


@dataclass(frozen=True)
class Device:
    """One accelerator, or one MIG part of it."""

    handle: Any
    """NVML's."""
    board: Any
    """NVML's handle of the whole accelerator: itself, or what it is a part of."""
    name: str
    uuid: str
    number: int
    """The N of `/dev/nvidiaN`: the same in every container and batch job of a machine. NVML's own index where there are no such files."""
    mig: int | None = None

    @property
    def label(self) -> str:
        """What it is called in the names of metrics: `gpu_0`, `gpu_0_mig_1`."""
        return f"gpu_{self.number}" if self.mig is None else f"gpu_{self.number}_mig_{self.mig}"


def present(root: Path = Path("/")) -> bool:
    """Return whether the machine shows this process any accelerator of NVIDIA. `root` is where `dev` is."""
    try:
        # dxg: Windows's subsystem for Linux.
        return any(_DEVICE.fullmatch(entry.name) or entry.name == "dxg" for entry in (root / "dev").iterdir())
    except OSError:
        return False


class Nvml:
    """NVIDIA's library, in use until `close`."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            ImportError: nvidia-ml-py is not installed.
            OSError: the library or the driver is missing or does not answer.
        """
        import pynvml

        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise OSError(f"NVML: {error}") from None

    def close(self) -> None:
        """Let go of the library. Never raises."""
        self.ask("nvmlShutdown")

    def ask(self, function: str, *arguments: Any) -> Any:
        """Return what a function of NVML returns; None where it fails: many accelerators lack a part of them."""
        try:
            return getattr(self._nvml, function)(*arguments)
        except self._nvml.NVMLError:
            return None

    @property
    def temperature_sensor(self) -> int:
        return int(self._nvml.NVML_TEMPERATURE_GPU)

    def driver(self) -> str | None:
        """Return the driver's version."""
        version = self.ask("nvmlSystemGetDriverVersion")
        return None if version is None else str(version)

    def cuda(self) -> str | None:
        """Return the latest version of CUDA that the driver supports, such as `12.4`."""
        version = self.ask("nvmlSystemGetCudaDriverVersion_v2")
        return None if version is None else f"{version // 1000}.{version % 1000 // 10}"

    def memory(self, device: Device) -> int | None:
        """Return its size in bytes."""
        memory = self.ask("nvmlDeviceGetMemoryInfo", device.handle)
        return None if memory is None else int(memory.total)

    def devices(self, visible: str | None) -> list[Device]:
        """Return the accelerators that a process sees; `visible` is its CUDA_VISIBLE_DEVICES, None if that is not set."""
        boards = [self._device(handle, index) for index in range(self.ask("nvmlDeviceGetCount") or 0) if (handle := self._handle(index))]
        parts = {board.uuid: list(self._parts(board)) for board in boards}
        return choose(boards, parts, visible)

    def _handle(self, index: int) -> Any:
        return self.ask("nvmlDeviceGetHandleByIndex", index)

    def _device(self, handle: Any, index: int) -> Device:
        number = self.ask("nvmlDeviceGetMinorNumber", handle)
        name, uuid = self.ask("nvmlDeviceGetName", handle), self.ask("nvmlDeviceGetUUID", handle)
        return Device(handle, handle, name or "unknown", uuid or f"GPU-{index}", index if number is None else number)

    def _parts(self, board: Device) -> Iterator[Device]:
        mode = self.ask("nvmlDeviceGetMigMode", board.handle)
        if not mode or not mode[0]:
            return
        for index in range(self.ask("nvmlDeviceGetMaxMigDeviceCount", board.handle) or 0):
            handle = self.ask("nvmlDeviceGetMigDeviceHandleByIndex", board.handle, index)
            if handle is not None:
                name, uuid = self.ask("nvmlDeviceGetName", handle), self.ask("nvmlDeviceGetUUID", handle)
                yield Device(handle, board.handle, name or board.name, uuid or f"MIG-{board.uuid}/{index}", board.number, mig=index)


def choose(boards: Sequence[Device], parts: dict[str, list[Device]], visible: str | None) -> list[Device]:
    """Return the accelerators that CUDA_VISIBLE_DEVICES names, in the order of `boards`; of those with MIG switched on, their parts.

    Of parts that no UUID names, CUDA sees the first one alone.
    """
    if visible is None:
        return [device for board in boards for device in (parts[board.uuid] or [board])]
    everything = [device for board in boards for device in (board, *parts[board.uuid])]
    chosen: list[Device] = []
    for word in map(str.strip, visible.split(",")):
        if word.isascii() and word.isdigit():
            named = [boards[int(word)]] if int(word) < len(boards) else []
        else:
            named = [device for device in everything if word.startswith(("GPU-", "MIG-")) and device.uuid.startswith(word)]
        if len(named) != 1:
            break
        board = named[0]
        chosen.append(parts[board.uuid][0] if board.mig is None and parts.get(board.uuid) else board)
    return [device for device in everything if device in chosen]


def from_files(root: Path = Path("/")) -> list[tuple[str, str | None, int]]:
    """Return name, UUID and number of the accelerators from the driver's own files, which need no library."""
    found = []
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        fields = dict(_fields(path))
        number = fields.get("Device Minor", "")
        if "Model" in fields and number.isdigit():
            found.append((fields["Model"], fields.get("GPU UUID"), int(number)))
    return sorted(found, key=lambda gpu: gpu[2])


def driver_from_files(root: Path = Path("/")) -> str | None:
    """Return the driver's version from its own file."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"Kernel Module(?: for \S+)?\s+(\d[\d.]*)", text)
    return match[1] if match else None


def _fields(path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()
