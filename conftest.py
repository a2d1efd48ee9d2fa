"""For tests and doctests alike: no test sees the maps, the settings or the pool of whoever runs it."""

from __future__ import annotations

import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule

# A shell's background job, as in some CI, has both ignored, and every process that a test starts would
# inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and configuration folders of its own for each test; what can be obtained again stays in the
    cache.
    """
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "wingspan-data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "wingspan-config"))
    for name in ("WINGSPAN_POOL", "_condor_SCHEDD_HOST", "_WINGSPAN_COMPLETE"):
        monkeypatch.delenv(name, raising=False)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Only files with doctests are searched for them: a search takes as long as an import."""
    found = yield
    if file_path.suffix != ".py" or b">>>" in file_path.read_bytes():
        return found
    return [collector for collector in found if not isinstance(collector, DoctestModule)]
