"""The accelerators that this process sees."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...records import Gpu, Omission
from ..nvidia import Nvml, driver_from_files, from_files, present


def find_gpus(root: Path = Path("/")) -> tuple[dict[str, Any], list[Omission]]:
    """Return the fields of `Environment` about accelerators, and what could not be found out. `root` is where `dev` and `proc` are.

    Without NVIDIA's library, the driver's own files tell names and numbers, of all accelerators of the container or batch job.
    """
    if not present(root):
        return {}, []
    try:
        nvml = Nvml()
    except (ImportError, OSError) as error:
        why = "nvidia-ml-py is not installed: pip install 'multitrack[gpu]'" if isinstance(error, ImportError) else str(error)
        gpus = [Gpu(name=name, uuid=uuid, number=number) for name, uuid, number in from_files(root)]
        return {"gpus": gpus, "driver": driver_from_files(root)}, [Omission(name="GPUs' memory, CUDA", reason=why)]
    try:
        devices = nvml.devices(os.environ.get("CUDA_VISIBLE_DEVICES"))
        gpus = [
            Gpu(name=device.name, memory=nvml.memory(device), uuid=device.uuid, number=device.number, mig=device.mig) for device in devices
        ]
        return {"gpus": gpus, "driver": nvml.driver(), "cuda": nvml.cuda()}, []
    finally:
        nvml.close()
