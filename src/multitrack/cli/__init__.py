"""The command line. `main` is its entry point; each command is a module of this package."""

from __future__ import annotations

from .app import main

__all__ = ["main"]
