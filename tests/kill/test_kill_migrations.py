"""Migrations killed at random points and run again. Many of them: `python tests/kill/many.py migrations 100`."""

from __future__ import annotations

import random

import pytest

from support.kills.command import kill_many

pytestmark = pytest.mark.slow


def test_a_migration_that_is_killed_again_and_again_equals_an_undisturbed_one(dice: random.Random) -> None:
    assert "10 kills" in kill_many("migrations", 10, dice)
