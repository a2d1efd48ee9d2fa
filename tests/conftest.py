"""What every test may use: the real engines of `_engines`."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from _engines import apptainer, apptainer_on_path, personal_pool, shell_pool, slurm_cluster

# How long an example takes depends on who else works on this machine. Fixtures of a test are shared by its examples, knowingly.
settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any machine")

#: Programs and packages that tests run; no tests.
collect_ignore = ["data"]

__all__ = ["apptainer", "apptainer_on_path", "personal_pool", "shell_pool", "slurm_cluster"]
