"""Faults that were found once, each by its smallest reproduction."""

from __future__ import annotations
