"""Functions and inputs that are not what most people write: they fork, print past Python, close what is not theirs."""

from __future__ import annotations
