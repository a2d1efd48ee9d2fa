"""What every test may use: the real engines of `_engines`."""

from __future__ import annotations

from _engines import apptainer, apptainer_on_path, personal_pool, shell_pool, slurm_cluster

#: Programs and packages that tests run; no tests.
collect_ignore = ["data"]

__all__ = ["apptainer", "apptainer_on_path", "personal_pool", "shell_pool", "slurm_cluster"]
