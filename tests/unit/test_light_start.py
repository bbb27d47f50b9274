"""What a training process loads before its first record, nothing that only couriers need; and how couriers keep out of its way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import multitrack.delivery

AUTOGROUP = Path("/proc/self/autogroup")


def test_init_loads_nothing_of_delivery_but_the_ledger_and_the_starting_of_couriers() -> None:
    program = "import multitrack as mt; mt.init; import sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout) if name.startswith(("multitrack.delivery.", "multitrack.adapt"))}
    assert loaded == {"multitrack.delivery.ledger", "multitrack.delivery.progress", "multitrack.delivery.start"}


def test_every_name_of_delivery_is_there() -> None:
    assert set(multitrack.delivery.__all__) == set(multitrack.delivery._HOMES)
    for name in multitrack.delivery.__all__:
        assert getattr(multitrack.delivery, name) is not None


def test_a_courier_gives_way_to_everything_else() -> None:
    program = "import os; from multitrack.courier import step_aside; step_aside(); print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, start_new_session=True)
    assert done.stdout.split() == ["19"]


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")
def test_so_does_its_session_where_the_kernel_weighs_those() -> None:
    program = f"from multitrack.courier import step_aside; step_aside(); print(open({str(AUTOGROUP)!r}).read())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, start_new_session=True)
    assert done.stdout.split()[-2:] == ["nice", "19"]
