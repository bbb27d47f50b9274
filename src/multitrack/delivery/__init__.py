"""Delivery: from a journal to a service, now or later.

ledger.py      what one target has got of one run       deliver.py    one run to one target, resumable
progress.py    how far that is, for people              refusal.py    which entry of a refused batch is at fault
attachment.py  the records that travel with a run       dispatch.py   many runs to one target
start.py       a courier, started when needed           targets.py    targets, set up from the ledgers
"""

from .attachment import attached_records, read_attachment
from .deliver import Delivery, DeliveryBusyError
from .dispatch import Dispatcher
from .ledger import Ledger, Status
from .progress import Progress
from .start import start_courier
from .targets import Hidden, Targets, settle

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
