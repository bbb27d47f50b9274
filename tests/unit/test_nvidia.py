"""Accelerators: nvidia-ml-py itself, over functions that answer as NVIDIA's library does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multitrack.capture.environment.gpus import find_gpus
from multitrack.capture.nvidia import Nvml, driver_from_files, from_files, present
from multitrack.capture.system.gpus import Gpus
from support.nvml import Board, library

FIRST = Board(uuid="GPU-aaaa0000-1", minor=0)
SECOND = Board(uuid="GPU-bbbb0000-2", minor=3, used=0, busy=None, power=None)
PART, OTHER_PART = Board(name="H100 MIG 1g.10gb", uuid="MIG-1111", total=10**10), Board(name="H100 MIG 2g.20gb", uuid="MIG-2222")
SPLIT = Board(uuid="GPU-cccc0000-3", minor=5, parts=[PART, OTHER_PART])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine whose files show accelerators."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    return tmp_path


def labels(visible: str | None, *boards: Board) -> list[str]:
    with library(*boards):
        nvml = Nvml()
        try:
            return [device.label for device in nvml.devices(visible)]
        finally:
            nvml.close()


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["gpu_0", "gpu_3"]),
        ("0", ["gpu_0"]),
        ("1", ["gpu_3"]),
        ("1,0", ["gpu_0", "gpu_3"]),
        (" 1 ", ["gpu_3"]),
        ("GPU-bbbb", ["gpu_3"]),
        ("GPU-aaaa0000-1,GPU-bbbb0000-2", ["gpu_0", "gpu_3"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", ["gpu_0"]),
        ("0,9,1", ["gpu_0"]),
        ("GPU-", []),
    ],
)
def test_what_is_visible(visible: str | None, expected: list[str]) -> None:
    assert labels(visible, FIRST, SECOND) == expected


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["gpu_0", "gpu_5_mig_0", "gpu_5_mig_1"]),
        ("MIG-2222", ["gpu_5_mig_1"]),
        ("MIG-1111,MIG-2222", ["gpu_5_mig_0", "gpu_5_mig_1"]),
        ("1", ["gpu_5_mig_0"]),
        ("GPU-cccc", ["gpu_5_mig_0"]),
    ],
)
def test_parts_of_one(visible: str | None, expected: list[str]) -> None:
    assert labels(visible, FIRST, SPLIT) == expected


def test_usage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with library(FIRST, SECOND, SPLIT) as lib:
        gpus = Gpus.find(lambda _: True, root)
        assert gpus is not None
        found = gpus.read()
        gpus.close()
        assert lib.users == 0
    assert {name: value for name, value in found.items() if name.startswith("gpu_0_")} == {
        "gpu_0_memory_usage_megabytes": 20_000,
        "gpu_0_memory_usage_percentage": 25,
        "gpu_0_utilization_percentage": 50,
        "gpu_0_power_usage_watts": 350,
        "gpu_0_power_usage_percentage": 50,
        "gpu_0_temperature_celsius": 60,
    }
    assert {name for name in found if name.startswith("gpu_3_")} == {
        "gpu_3_memory_usage_megabytes", "gpu_3_memory_usage_percentage", "gpu_3_temperature_celsius",
    }  # fmt: skip
    assert {name for name in found if name.startswith("gpu_5")} == {
        f"gpu_5_mig_{part}_memory_usage_{unit}" for part in (0, 1) for unit in ("megabytes", "percentage")
    }


def test_what_another_process_records_is_left_to_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with library(FIRST, SECOND) as lib:
        gpus = Gpus.find(lambda uuid: uuid == SECOND.uuid, root)
        assert gpus is not None
        assert {name.split("_")[1] for name in gpus.read()} == {"3"}
        gpus.close()
        assert Gpus.find(lambda _: False, root) is None
        assert lib.users == 0


def test_the_environment_has_them(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    with library(FIRST, SECOND, SPLIT):
        fields, omitted = find_gpus(root)
    assert (fields["driver"], fields["cuda"], omitted) == ("550.54.15", "12.4", [])
    assert [(gpu.name, gpu.memory, gpu.uuid, gpu.number, gpu.mig) for gpu in fields["gpus"]] == [
        (SECOND.name, SECOND.total, SECOND.uuid, 3, None),
        (PART.name, PART.total, PART.uuid, 5, 0),
    ]


def test_a_machine_without_any_costs_no_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # an import would raise
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert not present(tmp_path)
    assert Gpus.find(lambda _: True, tmp_path) is None
    assert find_gpus(tmp_path) == ({}, [])
    assert not present(tmp_path / "nowhere")


def test_without_the_library_the_drivers_files_tell_what_they_can(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    driver = root / "proc/driver/nvidia"
    for number, place in enumerate(("0000:01:00.0", "0000:41:00.0")):
        (driver / "gpus" / place).mkdir(parents=True)
        information = f"Model: \t\t NVIDIA A100\nIRQ:   \t\t 100\nGPU UUID: \t GPU-{number}\nDevice Minor: \t {number}\n"
        (driver / "gpus" / place / "information").write_text(information)
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Feb 24 22:17:41 UTC 2024\nGCC version:  gcc 12\n"
    (driver / "version").write_text(version)
    fields, omitted = find_gpus(root)
    assert [(gpu.name, gpu.uuid, gpu.number) for gpu in fields["gpus"]] == [("NVIDIA A100", "GPU-0", 0), ("NVIDIA A100", "GPU-1", 1)]
    assert fields["driver"] == "535.161.08"
    assert "pip install" in omitted[0].reason
    with pytest.raises(ImportError):
        Gpus.find(lambda _: True, root)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build\n", "560.35.03"),
        ("nothing of the kind\n", None),
    ],
)
def test_the_drivers_version(tmp_path: Path, text: str, version: str | None) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(text)
    assert driver_from_files(tmp_path) == version
    assert from_files(tmp_path) == []


def test_a_driver_that_does_not_start(root: Path) -> None:
    with library(FIRST, starts=9):  # NVML_ERROR_DRIVER_NOT_LOADED
        with pytest.raises(OSError, match="Driver Not Loaded"):
            Gpus.find(lambda _: True, root)
        fields, omitted = find_gpus(root)
    assert fields["gpus"] == []
    assert "Driver Not Loaded" in omitted[0].reason
