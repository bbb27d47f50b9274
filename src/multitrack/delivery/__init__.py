"""Delivery: from a journal to a service, now or later.

ledger.py      what one target has got of one run       deliver.py    one run to one target, resumable
prepare.py     from the journal to batches              ahead.py      one thing made ready ahead, in a thread
refusal.py     which entry of a refused batch is wrong  conclude.py   the end of a run at a service
progress.py    how far delivery is, for people          attachment.py the records that travel with a run
dispatch.py    many runs to one target                  targets.py    targets, set up from the ledgers
start.py       a courier, started when needed           dedicated.py  what only a process that just delivers may do

A process that trains needs three small modules of these, so the names below load theirs when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attachment import attached_records, read_attachment
    from .deliver import Delivery, DeliveryBusyError
    from .dispatch import Dispatcher
    from .ledger import Ledger, Status
    from .progress import Progress
    from .start import start_courier
    from .targets import Hidden, Targets, settle

_HOMES = {
    "Delivery": "deliver",
    "DeliveryBusyError": "deliver",
    "Dispatcher": "dispatch",
    "Hidden": "targets",
    "Ledger": "ledger",
    "Progress": "progress",
    "Status": "ledger",
    "Targets": "targets",
    "attached_records": "attachment",
    "read_attachment": "attachment",
    "settle": "targets",
    "start_courier": "start",
}

__all__ = [
    "Delivery",
    "DeliveryBusyError",
    "Dispatcher",
    "Hidden",
    "Ledger",
    "Progress",
    "Status",
    "Targets",
    "attached_records",
    "read_attachment",
    "settle",
    "start_courier",
]


def __getattr__(name: str) -> Any:
    import importlib

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
