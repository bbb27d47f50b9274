"""Arrays of other libraries as numpy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def is_tensor(value: Any) -> bool:
    """Return whether the value is a torch tensor, or behaves like one."""
    return hasattr(value, "detach") and hasattr(value, "cpu")


def to_numpy(what: str, value: Any) -> NDArray[np.generic]:
    """Return an array-like (numpy, torch, JAX, TensorFlow, nested lists) as a numpy array; `what` names it in an error.

    Raises:
        TypeError: numpy is missing, or can make nothing of the value.
        ValueError: its rows differ in length.
    """
    try:
        import numpy as np
    except ImportError:
        raise TypeError(f"{what}: arrays need numpy; `pip install numpy`") from None
    try:
        if is_tensor(value):
            value = value.detach().cpu()
            if str(value.dtype) == "torch.bfloat16":  # numpy has no such type
                value = value.float()
            value = value.numpy()
        array = np.asarray(value)
    except (TypeError, ValueError):
        raise
    except Exception as error:
        raise TypeError(f"{what}: a {type(value).__name__} cannot be read as an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{what}: an array of numbers is needed, not one of {array.dtype}")
    return array
