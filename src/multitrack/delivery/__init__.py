"""Delivery: from a journal to a service, now or later.

    ledger.py      what one target has got of one run       deliver.py    one run to one target, resumable
    attachment.py  the records that travel with a run       dispatch.py   many runs to one target
    start.py       a courier, started when needed
"""

from .attachment import attached_records, read_attachment
from .deliver import Delivery, DeliveryBusyError
from .dispatch import Dispatcher
from .ledger import Ledger, Progress, Status
from .start import start_courier

__all__ = [
    "Delivery",
    "DeliveryBusyError",
    "Dispatcher",
    "Ledger",
    "Progress",
    "Status",
    "attached_records",
    "read_attachment",
    "start_courier",
]
