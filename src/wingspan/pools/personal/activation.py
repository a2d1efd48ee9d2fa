"""Which pool the ``htcondor2`` bindings of this process speak with: they know one configuration a process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["activated", "configure", "import_bindings", "missing_configuration"]

_SITE = ("/etc/condor/condor_config", "/usr/local/etc/condor_config")

_changed = threading.Condition()
_configs: list[Path] = []  # what is active, innermost last
_threads: list[int] = []  # who activated it
_before: list[dict[str, str]] = []  # the variables to put back


def _overrides() -> dict[str, str]:
    """Variables that would reach over into the pool's configuration, such as ``_CONDOR_SCHEDD_HOST``."""
    return {
        key: value
        for key, value in os.environ.items()
        if key == "CONDOR_CONFIG" or key.upper().startswith("_CONDOR_")
    }


@contextmanager
def _some_configuration() -> Iterator[None]:
    """Have an empty configuration where there is none: else the library may end the process."""
    named = os.environ.get("CONDOR_CONFIG")
    is_there = any(map(os.path.isfile, _SITE)) if named is None else _may_be_read(named)
    if is_there:
        yield
        return
    os.environ["CONDOR_CONFIG"] = "/dev/null"
    try:
        yield
    finally:
        del os.environ["CONDOR_CONFIG"]
        if named is not None:
            os.environ["CONDOR_CONFIG"] = named


def _may_be_read(configuration: str) -> bool:
    """Whether what CONDOR_CONFIG names is there; so are ONLY_ENV, and a command with ``|`` at its end."""
    return (
        configuration.upper() == "ONLY_ENV"
        or configuration.rstrip().endswith("|")
        or os.path.exists(configuration)  # noqa: PTH110
    )


def missing_configuration() -> str | None:
    """What CONDOR_CONFIG names, if that is not there."""
    named = os.environ.get("CONDOR_CONFIG")
    return None if named is None or _may_be_read(named) else named


def import_bindings() -> Any:
    """The module ``htcondor2``, which reads a configuration when it is imported."""
    with _some_configuration():
        import htcondor2
    return htcondor2


def configure() -> None:
    """Have the bindings read the configuration again, which they do by themselves only when imported."""
    if _configured != sorted(_overrides().items()):
        _reload()


#: The environment's variables when the bindings last read their configuration.
_configured: list[tuple[str, str]] | None = None


def _reload() -> None:
    global _configured  # noqa: PLW0603 - the library has one configuration a process
    was_imported = "htcondor2" in sys.modules
    htcondor2 = import_bindings()
    if was_imported:  # else it has just read it
        with _some_configuration():
            htcondor2.reload_config()
    _configured = sorted(_overrides().items())


@contextmanager
def activated(config: Path) -> Iterator[None]:
    """Make the bindings speak with the pool of `config`.

    May be nested, and entered by many threads for the same pool at once; a thread that wants another pool
    waits until the others have left.
    """
    me = threading.get_ident()
    with _changed:
        _changed.wait_for(lambda: not _configs or _configs[-1] == config or set(_threads) == {me})
        switch = not _configs or _configs[-1] != config
        if switch:
            saved = _overrides()
            _before.append(saved)
            for key in saved:
                del os.environ[key]
            os.environ["CONDOR_CONFIG"] = str(config)
            _reload()
        _configs.append(config)
        _threads.append(me)
    try:
        yield
    finally:
        with _changed:
            # Threads leave in any order; entries of one pool are alike, so the innermost can go.
            _configs.pop()
            _threads.remove(me)
            if not _configs or _configs[-1] != config:
                for key in _overrides():
                    del os.environ[key]
                os.environ.update(_before.pop())
                _reload()
            _changed.notify_all()
