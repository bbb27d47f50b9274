"""What is captured for as long as a run goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .recorder import Recorder

HEAD_START = 0.05
"""Seconds that a capture's thread leaves to `init` before it begins: two threads that run Python slow each other down."""


class Watch(ABC):
    """Something that is watched from the run's start to its end, and written to its `recorder` as it happens."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    @abstractmethod
    def start(self) -> None:
        """Begin. Called once, by the thread that starts the run, and quick: what takes time belongs into a thread."""

    @abstractmethod
    def stop(self, timeout: float) -> None:
        """End, and write what is left, within `timeout` seconds. Called once, before the run's last record is written."""
