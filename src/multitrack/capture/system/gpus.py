"""NVIDIA's accelerators: utilisation, memory, power and temperature of those that this process sees."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..nvidia import Device, Nvml, present
from .process import MEGABYTE


class Gpus:
    """The accelerators, sample by sample."""

    def __init__(self, nvml: Nvml, devices: list[Device]) -> None:
        self._nvml = nvml
        self._devices = devices

    @classmethod
    def find(cls, claim: Callable[[str], bool], root: Path = Path("/")) -> Gpus | None:
        """Return the visible accelerators that nobody else on this machine records; None where there are none, at no cost.

        Raises:
            ImportError: nvidia-ml-py is not installed.
            OSError: NVIDIA's library is missing or does not answer.
        """
        if not present(root):
            return None
        nvml = Nvml()
        devices = [device for device in nvml.devices(os.environ.get("CUDA_VISIBLE_DEVICES")) if claim(device.uuid)]
        if not devices:
            nvml.close()
            return None
        return cls(nvml, devices)

    def read(self) -> dict[str, float]:
        """Return what is used now."""
        return {f"{device.label}_{name}": value for device in self._devices for name, value in self._read(device)}

    def close(self) -> None:
        """Let go of NVIDIA's library."""
        self._nvml.close()

    def _read(self, device: Device) -> Iterator[tuple[str, float]]:
        memory = self._nvml.ask("nvmlDeviceGetMemoryInfo", device.handle)
        if memory is not None:
            yield "memory_usage_megabytes", memory.used / MEGABYTE
            if memory.total:
                yield "memory_usage_percentage", 100 * memory.used / memory.total
        if device.mig is None:  # of the parts of one, NVML tells memory alone
            yield from self._read_board(device)

    def _read_board(self, device: Device) -> Iterator[tuple[str, float]]:
        rates = self._nvml.ask("nvmlDeviceGetUtilizationRates", device.board)
        if rates is not None:
            yield "utilization_percentage", float(rates.gpu)
        power = self._nvml.ask("nvmlDeviceGetPowerUsage", device.board)
        if power is not None:
            yield "power_usage_watts", power / 1000
            limit = self._nvml.ask("nvmlDeviceGetEnforcedPowerLimit", device.board)
            if limit:
                yield "power_usage_percentage", 100 * power / limit
        temperature = self._nvml.ask("nvmlDeviceGetTemperature", device.board, self._nvml.temperature_sensor)
        if temperature is not None:
            yield "temperature_celsius", float(temperature)
