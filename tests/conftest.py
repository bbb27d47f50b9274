"""What holds for every test."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Have Ctrl-C mean what it means to people: a shell's background job, or CI, may have it ignored, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let whoever has an account at a service run the tests that ask it."""
    parser.addoption("--live", action="store_true", help="ask the real services whose API keys are set, too: COMET_API_KEY, ...")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what asks real services, unless it is wanted."""
    if not config.getoption("--live"):
        left_out = pytest.mark.skip(reason="asks a real service: --live")
        for item in items:
            if "live" in item.keywords:
                item.add_marker(left_out)
