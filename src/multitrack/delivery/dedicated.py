"""What a process that does nothing but deliver may do to itself: a courier, or a command. One that trains must be left as it is.

An imported SDK is some 170,000 objects that stay. Python's garbage collector looks through all of them whenever a quarter as many new ones
have come, which every batch brings, for a tenth of a second with all threads at rest: a tenth of a delivery's time (measured). Nothing is
ever found there. Frozen, they are passed over.
"""

from __future__ import annotations

import gc
import threading

_mutex = threading.Lock()
_is_dedicated = _is_frozen = False


def dedicate() -> None:
    """Say that this process does nothing but deliver."""
    global _is_dedicated
    _is_dedicated = True


def freeze_imports() -> None:
    """Keep the garbage collector from what is there by now, the SDK above all. Once, and only in a dedicated process."""
    global _is_frozen
    with _mutex:
        if not _is_dedicated or _is_frozen:
            return
        _is_frozen = True
        gc.collect()
        gc.freeze()
