"""For tests and doctests alike: no test sees the maps, the settings or the pool of whoever runs it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

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
