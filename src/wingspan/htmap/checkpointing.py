"""Checkpoints."""

from __future__ import annotations

from wingspan.worker.words_of_htmap import checkpoint

__all__ = ["checkpoint"]
