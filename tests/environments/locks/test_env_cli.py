"""``wingspan env list | show | needs | diff``, run as people run them."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from wingspan.cli._main import main


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def wingspan(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs ``wingspan env …`` in this process, through the program's own entry point."""

    def run(*args: str | Path) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["env", *map(str, args)])
        return Done(int(caught.value.code or 0), *capsys.readouterr())

    return run


def _json(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_list_has_every_environment_and_platform(wingspan: Any, locks: Path) -> None:
    """One entry an (environment, platform), with counts, sizes, identity and the default platform."""
    document = _json(wingspan("list", "-m", locks / "prefix-dev__pixi--multi-machine", "--json"))
    assert document["workspace"] == "multi-machine"
    assert document["lock_version"] == 7
    entries = {e["platform"]: e for e in document["environments"]}
    assert set(entries) == {"cuda-win-64", "win-64", "cuda-linux-64", "linux-64", "osx-arm64-osx-13-5"}
    assert entries["cuda-linux-64"]["lock_platform"] == "p2"
    assert entries["cuda-linux-64"]["conda_packages"] == 133
    assert [p for p, e in entries.items() if e["default_platform"]] == ["linux-64"]
    assert all(e["outdated"] == [] and len(e["digest"]) == 64 for e in entries.values())


def test_list_in_a_pipe_is_plain_text(locks: Path) -> None:
    """In the workspace itself nothing need be named; no colours, no boxes, one line an environment."""
    done = subprocess.run(
        [sys.executable, "-m", "wingspan", "env", "list"],
        capture_output=True,
        text=True,
        check=False,
        cwd=locks / "UW-Madison-DSI__pixi-docker-chtc",
    )
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[1].split()[:3] == ["environment", "platform", "conda"]
    assert [line.split()[0] for line in lines[2:]] == ["default", "gpu", "pack", "pack", "pack"]
    assert "12.9" in lines[2]


def test_list_tells_of_an_outdated_lock(wingspan: Any, real: Callable[[str], Path]) -> None:
    """The list still shows it, and says that it is outdated and why."""
    folder = real("lightgbm")
    (folder / "pixi.toml").write_text((folder / "pixi.toml").read_text().replace("4.1.0.*", "5.*"))
    assert "lock outdated" in wingspan("list", "-m", folder).stdout
    document = _json(wingspan("list", "-m", folder, "--platform", "linux-64", "--json"))
    (entry,) = document["environments"]
    assert "lightgbm" in entry["outdated"][0]


def test_show_has_builds_sizes_and_hashes(wingspan: Any, locks: Path) -> None:
    """Every package with its version, build string, size and digest."""
    folder = locks / "matthewfeickert__nvidia-gpu-ml-library-test"
    document = _json(wingspan("show", "-m", folder, "-e", "gpu", "--json"))
    packages = {p["name"]: p for p in document["packages"]}
    assert packages["pytorch"]["build"] == "cuda129_mkl_py313_h1e53aa0_304"
    assert all(p["size"] and len(p["sha256"]) == 64 for p in packages.values())
    assert document["problems"] == []
    text = wingspan("show", "-m", folder, "-e", "gpu").stdout
    assert "cuda129_mkl_py313_h1e53aa0_304" in text
    assert "120 packages, 4.0 GB to download" in text


def test_needs_for_people_and_programs(wingspan: Any, locks: Path) -> None:
    """People get a table and warnings apart; programs the documented keys."""
    folder = locks / "matthewfeickert__nvidia-gpu-ml-library-test"
    done = wingspan("needs", "-m", folder, "-e", "gpu")
    assert ">= 12.0 (NVIDIA driver 525.60.13 or later)" in done.stdout
    assert "Warning: cudnn 9.12.0.46" in done.stderr
    assert "Warning" not in done.stdout
    document = _json(wingspan("needs", "-m", folder, "-e", "gpu", "--strict-ptx", "--json"))
    assert document["cuda_runtime_min"] == "12.9"
    assert document["gpu_capability_min"] == "7.5"
    assert isinstance(document["warnings"], list)
    strict = wingspan("needs", "-m", folder, "-e", "gpu", "--strict-ptx")
    assert ">= 12.9 (NVIDIA driver 575.51.03 or later)" in strict.stdout


def test_diff_tells_packages_and_needs(wingspan: Any, locks: Path) -> None:
    """Added, removed and changed packages, and what a machine must have more."""
    old, new = locks / "CHTC__templates-GPUs", locks / "UW-Madison-DSI__pixi-docker-chtc"
    document = _json(wingspan("diff", old, new, "--json"))
    assert document["same"] is False
    assert document["needs"] == {"gpu_capability_min": {"old": "5.0", "new": "7.5"}}
    changed = {pair["old"]["name"]: pair for pair in document["changed"]}
    assert (changed["pytorch"]["old"]["version"], changed["pytorch"]["new"]["version"]) == ("2.9.1", "2.7.1")
    assert "fmt" in {p["name"] for p in document["removed"]}
    assert wingspan("diff", old, new, "--exit-code").returncode == 1
    text = wingspan("diff", old, new).stdout
    assert "needs: gpu_capability_min 5.0 → 7.5" in text


def test_diff_of_the_same_lock_is_nothing(wingspan: Any, real: Callable[[str], Path]) -> None:
    """A copy of a lock under another name is the same environment."""
    folder = real("lightgbm")
    shutil.copyfile(folder / "pixi.lock", folder / "old.lock")
    done = wingspan("diff", folder / "old.lock", folder / "pixi.lock", "-p", "linux-64", "--exit-code")
    assert done.returncode == 0
    assert "byte by byte" in done.stdout
    assert "byte by byte" in wingspan("diff", folder / "old.lock", "-m", folder, "-p", "linux-64").stdout


@pytest.mark.parametrize("command", ["list", "show", "needs"])
def test_errors_are_a_message_and_a_hint(wingspan: Any, real: Callable[[str], Path], command: str) -> None:
    """A slip in a name, a missing and a damaged lock: exit code 1, a hint, no traceback."""
    folder = real("lightgbm")
    lock = folder / "pixi.lock"

    def fails(*args: str) -> str:
        done = wingspan(command, "-m", folder, *args)
        assert done.returncode == 1
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert "Hint: " in done.stderr
        return str(done.stderr)

    assert "defualt" in fails("-e", "defualt")
    assert "linux-65" in fails("-p", "linux-65")
    lock.write_bytes(lock.read_bytes()[:20000])
    assert str(lock) in fails()
    lock.unlink()
    assert str(lock) in fails()


def test_an_outdated_lock_is_refused_unless_frozen(wingspan: Any, real: Callable[[str], Path]) -> None:
    """--frozen takes the lock as it is, as in Pixi."""
    folder = real("lightgbm")
    (folder / "pixi.toml").write_text((folder / "pixi.toml").read_text().replace("4.1.0.*", "5.*"))
    done = wingspan("needs", "-m", folder)
    assert done.returncode == 1
    assert "lightgbm" in done.stderr
    assert "--frozen" in done.stderr
    assert _json(wingspan("needs", "-m", folder, "--frozen", "--json"))["python"] == "3.12"


def test_help_and_slips(wingspan: Any) -> None:
    """The group lists its commands without importing them, and answers a slip with the nearest."""
    done = wingspan("--help")
    assert done.returncode == 0
    for command in ("list", "show", "needs", "diff"):
        assert command in done.stdout
        assert "Usage" in wingspan(command, "--help").stdout
    done = wingspan("shwo")
    assert done.returncode == 2
    assert "'show'" in done.stderr


def test_a_terminal_gets_a_drawn_table(locks: Path) -> None:
    """On a terminal rich draws; with NO_COLOR it does so without colours."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wingspan", "env", "list", "-m", str(locks / "prefix-dev__pixi--lightgbm")],
        stdout=slave,
        stderr=slave,
        env={**os.environ, "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(slave)
    output = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux says EIO when the other end is closed
            break
        if not chunk:
            break
        output += chunk
    assert process.wait() == 0
    os.close(master)
    text = output.decode()
    assert "───" in text
    assert "b8cdb4cb" in text
    assert "\x1b[3" not in text
