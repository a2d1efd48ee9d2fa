"""Programs that say ``import htmap``, and HTMap's command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan import htmap
from wingspan.htmap import cli

PROGRAM = """
import sys
import htmap
from htmap.exceptions import OutputNotFound
import htmap.options as options, htmap.settings

@htmap.mapped(map_options=options.MapOptions(request_cpus="1"))
def double(x):
    print("at", x)
    return 2 * x

if __name__ == "__main__":
    m = double.map(range(3), tag="program")
    m.wait()
    print(list(m), sys.argv[1:], htmap.load("program") is m, htmap.version_info() > (0, 6))
"""


def test_a_program_that_imports_htmap_runs_unchanged(tmp_path):
    """``python -m wingspan.htmap PROGRAM.py`` runs it, with its arguments, beside its own modules."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "wingspan.htmap", program, "one", "--two"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.stdout, done.returncode) == ("[0, 2, 4] ['one', '--two'] True True\n", 0), done.stderr
    assert wingspan.load("program")[1] == 2


def test_install_has_import_htmap_mean_ours():
    """After `install`, htmap and its modules are those of wingspan.htmap; HTMap itself is left alone."""
    script = (
        "import wingspan.htmap; wingspan.htmap.install(); wingspan.htmap.install(); import htmap, htmap.maps\n"
        "print(htmap is wingspan.htmap, htmap.maps.Map is wingspan.htmap.Map)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "True True\n"
    script = "import sys; sys.modules['htmap'] = sys; from wingspan import htmap; htmap.install()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "imported already" in done.stderr


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys):
    """Runs one of HTMap's commands in this process."""

    def call(*argv: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(argv))
        out, err = capsys.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def sums():
    """A finished map of three components, of which the last has failed."""

    def divide(x):
        print("at", x)
        return 1 / (2 - x)

    m = htmap.map(divide, range(3), tag="sums")
    m.wait(timeout=PATIENCE, errors_ok=True)
    return m


def test_commands_that_look(run, sums, data_dir):
    """Tags, statuses, outputs, reports and places are shown in each form."""
    assert run("tags").out == run("tags", "-p", "s*", "-p", "*m*").out == "sums\n"
    assert run("tags", "-p", "x*").out == ""
    assert run("status").out.splitlines()[1].split()[:6] == ["sums", "0", "1", "0", "0", "2"]
    for form in ("json", "json_compact"):
        known = json.loads(run("status", "--format", form).out)["sums"]
        assert (known["COMPLETED"], known["ERRORED"]) == (2, 1)
    assert run("status", "--format", "csv", "--no-meta").out.splitlines() == [
        "tag,transient,components,HELD,ERRORED,IDLE,RUNNING,COMPLETED",
        "sums,False,3,0,1,0,0,2",
    ]
    assert run("components", "sums").out == "0 COMPLETED\n1 COMPLETED\n2 ERRORED\n"
    assert run("components", "sums", "--status", "errored").out == "2\n"
    assert run("stdout", "sums", "1").out == "at 1\n"
    assert run("stderr", "sums", "1", "--timeout", "1").out == ""
    assert "ZeroDivisionError" in run("errors", "--all", "--limit", "1").out
    assert run("reasons", "sums").out == ""
    assert run("path", "sums").out == f"{sums.wingspan_map.path}\n"
    assert Path(run("path", "sums:tag").out.strip()).read_text() == sums.wingspan_map.path.name
    assert "0.6.1" in run("version").out
    assert "0.6.1" in run("--version").out
    assert "WAIT_TIME" in run("settings").out
    assert run("transplants", "info").code == 0


def test_commands_that_act(run, sums, tmp_path, monkeypatch):
    """They act on the maps that are named, by tag, by pattern, all, or on standard input."""
    assert run("wait", "sums").code == 1
    assert run("rerun", "components", "sums", "0", "1").code == 0
    assert run("wait", "--all").code == 1
    assert run("rerun", "map", "-p", "su*").code == 0
    assert (
        run("edit", "memory", "sums", "2", "--unit", "GB").code == run("edit", "disk", "sums", "1").code == 0
    )
    for word in ("hold", "release", "pause", "resume", "vacate"):
        assert run(word, "sums").code == 0
    assert run("retag", "sums", "products").code == 0
    htmap.map(abs, [1]).wait(timeout=PATIENCE)
    assert run("clean").out.endswith(": removed\n")
    names = tmp_path / "names"
    names.write_text("products\n")
    with names.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert run("remove").out == "products: removed\n"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("set", "WAIT_TIME", "5").code == 0
    assert htmap.Settings.load(tmp_path / ".htmaprc")["WAIT_TIME"] == 5
    for _ in range(2):
        assert run("autocompletion", "--shell", "bash", "--destination", str(tmp_path / "rc")).code == 0
    assert len((tmp_path / "rc").read_text().splitlines()) == 1


def test_commands_say_what_is_wrong(run, sums, monkeypatch):
    """An error of ours is a message and an exit code, never a traceback."""
    for words in (
        ("status", "--format", "xml"),
        ("components", "nothing"),
        ("remove", "nothing"),
        ("stdout", "sums", "3"),
        ("rerun", "components", "sums"),
        ("rerun", "components", "sums", "7"),
        ("path", "sums:nothing"),
        ("transplants", "remove", "99"),
        ("logs",),
        ("retag", "sums", "a b"),
        ("nonsense",),
    ):
        ended = run(*words)
        assert ended.code, words
        assert "Error: " in ended.err, words
        assert "Traceback" not in ended.err
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert run("hold").code == 2
