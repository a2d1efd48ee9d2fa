"""``make demo``'s program, with four settings instead of 120."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import wingspan

PROGRAM = Path(__file__).resolve().parent.parent / "examples" / "demo.py"


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The program as a module, small, with a folder of its own for the picture."""
    spec = importlib.util.spec_from_file_location("demo", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PENALTIES", [1.0, 10.0])
    monkeypatch.setattr(module, "WIDTHS", [1e-5, 1e-3])
    monkeypatch.setattr(module, "OUTPUT", tmp_path / "demo-output")
    yield module
    wingspan.clean(all=True)


def test_demo_finds_the_best_setting_twice(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It names the best setting and the picture, reads the results from another process, and may run
    again.
    """
    monkeypatch.setenv("WINGSPAN_POOL", "local")
    # Each imports scikit-learn. The test below has as many as there are cores.
    monkeypatch.setenv("WINGSPAN_OPTION_WORKERS", "1")
    for _ in range(2):
        demo.main()
        out, _ = capfd.readouterr()
        assert "4 components are on their way to the local pool" in out
        assert "gamma = 0.001: 99." in out
        assert '>>> m = wingspan.load("digits-demo")' in out
        assert "\n  4 0.99" in out
    picture = tmp_path / "demo-output" / "accuracy.png"
    assert str(picture) in out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_demo_says_so_where_no_pool_can_be_had(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without HTCondor it goes on with plain processes, and tells why."""
    real = wingspan.map

    def no_condor(*args: object, pool: str, **how: object) -> wingspan.Map:
        if pool == "personal":
            raise wingspan.PoolUnavailable("nothing answers")
        return real(*args, pool=pool, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(wingspan, "map", no_condor)
    demo.main()
    out, _ = capfd.readouterr()
    assert "No HTCondor is to be had here (nothing answers): plain processes instead." in out
    assert "Best: C = " in out
