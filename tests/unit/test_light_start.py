"""What a training process loads before its first record: nothing that only couriers need."""

from __future__ import annotations

import json
import subprocess
import sys

import multitrack.delivery


def test_init_loads_nothing_of_delivery_but_the_ledger_and_the_starting_of_couriers() -> None:
    program = "import multitrack as mt; mt.init; import sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout) if name.startswith(("multitrack.delivery.", "multitrack.adapt"))}
    assert loaded == {"multitrack.delivery.ledger", "multitrack.delivery.progress", "multitrack.delivery.start"}


def test_every_name_of_delivery_is_there() -> None:
    assert set(multitrack.delivery.__all__) == set(multitrack.delivery._HOMES)
    for name in multitrack.delivery.__all__:
        assert getattr(multitrack.delivery, name) is not None
