"""What every test may use: the real engines of `_engines`."""

from __future__ import annotations

from _engines import personal_pool, slurm_cluster

__all__ = ["personal_pool", "slurm_cluster"]
