"""Couriers killed at random points. A thousand of them: `python tests/kill/many.py couriers 1000`."""

from __future__ import annotations

import random

import pytest

from support.kills.command import kill_many

pytestmark = pytest.mark.slow


def test_fifty_kills_lose_and_double_nothing(dice: random.Random) -> None:
    told = kill_many("couriers", 50, dice)
    assert "50 kills" in told
    assert "at any moment" in told
    assert any(f"{moment} {call}" in told for moment in ("before", "after", "half-way through") for call in ("write", "flush"))
