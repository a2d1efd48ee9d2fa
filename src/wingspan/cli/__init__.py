"""The ``wingspan`` command. Subcommands are imported when they are called: ``--help`` stays quick."""

from __future__ import annotations

from wingspan.cli._main import main

__all__ = ["main"]
