"""For tests and doctests alike: no test sees the maps, the settings or the pool of whoever runs it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from _pytest.doctest import DoctestModule

# A shell's background job, as in some CI, has both ignored, and every process that a test starts would
# inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


#: A file system in memory: the tests make and remove so many small files that a disk's file system costs them
#: a seventh of the processor's time.
MEMORY = Path("/dev/shm")  # noqa: S108
#: The bytes that must be free, there and of the machine's memory: else the tests' folders are on the disk.
ROOM = 16 << 30
_PASSED = pytest.StashKey[bool]()
_IN_MEMORY = pytest.StashKey[Path]()
_FAILED = pytest.StashKey[set[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``make test`` gives this option."""
    told = f"the tests' folders are in {MEMORY} where {ROOM >> 30} GB are free, for this session only"
    parser.addoption("--in-memory", action="store_true", help=told)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose where the tests' folders are; xdist tells its processes."""
    asked = config.getoption("in_memory") and config.option.basetemp is None
    if not asked or hasattr(config, "workerinput"):
        return
    mark = f"wingspan-tests-{os.geteuid()}-"
    for left in MEMORY.glob(f"{mark}*-*"):  # of a session that failed or was killed
        if not Path("/proc", left.name.removeprefix(mark).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    if _free_memory() > ROOM:
        folder = Path(tempfile.mkdtemp(prefix=f"{mark}{os.getpid()}-", dir=MEMORY))
        config.option.basetemp = config.stash[_IN_MEMORY] = folder


def _free_memory() -> int:
    """How many bytes of memory files may take here; 0 where there is no file system in memory."""
    try:
        if not os.path.ismount(MEMORY) or not os.access(MEMORY, os.W_OK):
            return 0
        facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return min(shutil.disk_usage(MEMORY).free, int(facts["MemAvailable"].split()[0]) << 10)
    except (OSError, KeyError):
        return 0


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What failed can be looked at until the next session; not what xdist's processes have shared, which may
    be gigabytes.
    """
    if session.testsfailed and _IN_MEMORY in session.config.stash:
        shutil.rmtree(session.config.stash[_IN_MEMORY] / "shared-by-processes", ignore_errors=True)
        del session.config.stash[_IN_MEMORY]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the memory back."""
    if folder := config.stash.get(_IN_MEMORY, None):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep in mind whether the test itself has passed."""
    report = yield
    if report.when == "call":
        item.stash[_PASSED] = report.passed
    return report


@pytest.fixture(scope="session", autouse=True)
def _only_failures_stay_in_memory(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[None]:
    """What modules and sessions have made there may be gigabytes: at the end this process removes it."""
    yield
    base = tmp_path_factory.getbasetemp()
    if pytestconfig.getoption("in_memory") and base.is_relative_to(MEMORY):
        failed: set[Path] = pytestconfig.stash.setdefault(_FAILED, set())
        for folder in set(base.iterdir()) - failed:
            folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    """Data and configuration folders of its own for each test; what can be obtained again stays in the
    cache.
    """
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "wingspan-data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "wingspan-config"))
    for name in ("WINGSPAN_POOL", "_condor_SCHEDD_HOST", "_WINGSPAN_COMPLETE"):
        monkeypatch.delenv(name, raising=False)
    yield
    if not request.node.stash.get(_PASSED, False):
        request.config.stash.setdefault(_FAILED, set()).add(tmp_path)
    elif tmp_path.is_relative_to(MEMORY):
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Only files with doctests are searched for them: a search takes as long as an import."""
    found = yield
    if file_path.suffix != ".py" or b">>>" in file_path.read_bytes():
        return found
    return [collector for collector in found if not isinstance(collector, DoctestModule)]
