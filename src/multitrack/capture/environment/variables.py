"""Which environment variables are recorded: those that change what a training does or how fast, and those that were asked for.

Never the whole environment: it is where people keep their credentials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from ...masking import Mask

RECORDED: Mapping[str, tuple[str, ...]] = {
    "Accelerators": (
        "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUDA_HOME", "CUBLAS_WORKSPACE_CONFIG",
        "NVIDIA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION",
        "TPU_VISIBLE_CHIPS",
    ),
    "Threads": (
        "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_SCHEDULE", "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_CBWR",
        "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS", "NUMBA_NUM_THREADS", "KMP_AFFINITY",
        "KMP_BLOCKTIME", "GOMP_CPU_AFFINITY", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS", "TOKENIZERS_PARALLELISM",
    ),
    "Python": (
        "PYTHONHASHSEED", "PYTHONPATH", "PYTHONOPTIMIZE", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE",
        "PYTHONWARNINGS", "PYTHONMALLOC", "PYTHON_GIL", "PYTHON_JIT", "VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "CONDA_PREFIX",
    ),
    "Frameworks": (
        "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_ENABLE_MPS_FALLBACK", "TORCH_CUDNN_V8_API_ENABLED", "TORCH_LOGS",
        "TORCHDYNAMO_DISABLE", "TORCHINDUCTOR_MAX_AUTOTUNE", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC", "TF_ENABLE_ONEDNN_OPTS",
        "TF_FORCE_GPU_ALLOW_GROWTH", "TF_XLA_FLAGS", "XLA_FLAGS", "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_PREALLOCATE",
        "JAX_PLATFORMS", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "KERAS_BACKEND", "HF_HOME", "HF_HUB_OFFLINE",
        "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "ACCELERATE_MIXED_PRECISION",
    ),
    "Communication": (
        "NCCL_ALGO", "NCCL_PROTO", "NCCL_DEBUG", "NCCL_IB_DISABLE", "NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_SOCKET_IFNAME",
        "NCCL_NET_GDR_LEVEL", "GLOO_SOCKET_IFNAME", "UCX_TLS",
    ),
    "System": ("LANG", "LC_ALL", "TZ", "LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "MALLOC_CONF", "TMPDIR"),
}  # fmt: skip
"""By what they are about. `docs/records/environment.md` lists them."""


def selected(env: Mapping[str, str], mask: Mask, more: Sequence[str] = ()) -> dict[str, str]:
    """Return the variables that are recorded, masked, sorted; `more` are names, or beginnings of names with `*`.

    A variable whose name says that it is a credential is left out, whoever asks for it.
    """
    known = {name for names in RECORDED.values() for name in names}
    wanted = {name for name in env if name in known or any(fnmatchcase(name, pattern) for pattern in more)}
    return {name: str(mask.value(name, env[name])) for name in sorted(wanted) if env[name] and not mask.is_secret_name(name)}
