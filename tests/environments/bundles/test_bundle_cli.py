"""``wingspan env bundle | unpack | verify | enter`` as people call them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from _command_line import wingspan_here


@pytest.fixture
def wingspan(bundle_cache: Path, local_workspace: Path):  # type: ignore[no-untyped-def]
    """Call the command line in the workspace; answers the finished process."""

    def call(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        if words[0] == "enter":  # the command takes the place of this process
            command = [sys.executable, "-m", "wingspan", "env", *words]
            done = subprocess.run(command, cwd=local_workspace, capture_output=True, text=True, check=False)
        else:
            done = wingspan_here("env", *words, cwd=local_workspace)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


def test_bundle_verify_unpack_enter(wingspan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """From the lock to a bundle, checked, entered, and a pack of it unpacked."""
    made = wingspan(
        "bundle", "-e", "small", "-k", "squashfs", "-k", "pack", "-o", str(tmp_path), "--json", "-q"
    )
    image, pack = json.loads(made.stdout)
    assert made.stderr == ""
    assert (
        wingspan("verify", image["path"], pack["path"]).stdout
        == f"{image['path']}: good\n{pack['path']}: good\n"
    )
    entered = wingspan("enter", image["path"], "prefix-probe")
    assert entered.stdout == "/opt/wingspan/environment\n"
    assert entered.stderr.startswith("wingspan-start: ")
    unpacked = wingspan("unpack", pack["path"], "-o", str(tmp_path / "out"), "-e", "mine")
    assert unpacked.stdout == f"{tmp_path}/out/mine\n"
    assert (
        wingspan("unpack", pack["path"], "-o", str(tmp_path / "out"), "-e", "mine", code=1).stderr.count(
            "exists"
        )
        == 1
    )


def test_what_is_told_of_a_bundle(wingspan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """GPUs that nothing in it uses; a folder without the way to it; and a base that is none, in one line
    before anything is made.
    """
    (tmp_path / "here").mkdir()
    made = wingspan("bundle", "-e", "small", "-k", "install", "--gpus", "-o", f"{tmp_path}/here/..", "-q")
    assert "GPUs are asked for, but nothing in environment 'small'" in made.stderr
    assert Path(made.stdout.strip()).parent == tmp_path
    no_base = wingspan("bundle", "-e", "small", "-k", "oci", "--base", "/etc/passwd", code=1)
    assert no_base.stderr.splitlines()[0].endswith("/etc/passwd is not a tar of a root file system")
    assert len(no_base.stderr.splitlines()) == 2


def test_options_after_the_bundle_are_the_commands(wingspan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """--method and --help of a program are not those of `enter`; an option alone is no command."""
    path = wingspan("bundle", "-e", "small", "-o", str(tmp_path), "-q").stdout.strip()
    said = ["echo", "--method", "fuse", "--help", "-x"]
    assert wingspan("enter", path, *said).stdout == "--method fuse --help -x\n"
    assert wingspan("enter", "--method", "unpack", path, "--", *said).stdout == "--method fuse --help -x\n"
    assert "stand before BUNDLE" in wingspan("enter", path, "--method", "fuse", code=2).stderr


def test_plain_output_is_the_path(wingspan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Standard output is the path alone, to be used in scripts; the rest goes to standard error."""
    done = wingspan("bundle", "-e", "small", "-o", str(tmp_path))
    assert Path(done.stdout.strip()).is_file()
    assert "sha256" in done.stderr


def test_enter_hides_the_shells_variables(wingspan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """Inside, variables of this shell are gone as in a job, unless they are asked for."""
    monkeypatch.setenv("MINE", "here")
    path = wingspan("bundle", "-e", "small", "-o", str(tmp_path), "-q").stdout.strip()
    assert wingspan("enter", path, "sh", "-c", "echo [$MINE]").stdout == "[]\n"
    assert wingspan("enter", "--keep-environment", path, "sh", "-c", "echo [$MINE]").stdout == "[here]\n"


def test_errors_are_messages(wingspan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A damaged bundle, a missing one and an unknown kind end with a message, a hint and an exit code."""
    path = Path(wingspan("bundle", "-e", "small", "-o", str(tmp_path), "-q").stdout.strip())
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    bad = tmp_path / "bad" / path.name
    bad.parent.mkdir()
    bad.write_bytes(content)
    damaged = wingspan("verify", str(bad), code=1)
    assert "damaged" in damaged.stderr
    assert "Hint: " in damaged.stderr
    # the digits in its name say what it should be where nothing lies beside it
    assert "damaged" in wingspan("enter", str(bad), "true", code=1).stderr
    assert "no bundle" in wingspan("verify", str(tmp_path / "none"), code=1).stderr
    wingspan("bundle", "-k", "zip", code=2)


def test_all_are_verified(wingspan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """One that is damaged does not keep the others from being checked; the exit code tells."""
    good = Path(wingspan("bundle", "-e", "small", "-o", str(tmp_path), "-q").stdout.strip())
    bad = tmp_path / "bad" / good.name
    bad.parent.mkdir()
    bad.write_bytes(good.read_bytes() + b"x")
    done = wingspan("verify", "-q", str(bad), str(good), code=1)
    assert done.stdout == f"{good}: good\n"
    assert str(bad) in done.stderr
    # As the shell makes of out/*: the digest's file stands for the bundle, which is checked once.
    every = sorted(map(str, tmp_path.glob(f"{good.name}*")))
    assert wingspan("verify", "-q", *every).stdout == f"{good}: good\n"
    first, second = json.loads(wingspan("verify", "--json", str(bad), str(good), code=1).stdout)
    assert (first["good"], second["good"]) == (False, True)
    assert "damaged" in first["error"]


def test_options_of_another_kind_are_refused(wingspan, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """What would have no effect is said, before anything is built."""
    assert (
        "add --kind pack"
        in wingspan("bundle", "-x", "-k", "squashfs", "-o", str(tmp_path / "o"), code=2).stderr
    )
    assert (
        "for sif and oci"
        in wingspan("bundle", "--base", str(tmp_path), "-o", str(tmp_path / "o"), code=2).stderr
    )
    assert not (tmp_path / "o").exists()
