"""The configuration file: what is wrong in it is told, with the file's name, never as a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wingspan
from wingspan.errors import SettingsError, WingspanError
from wingspan.pools.personal import PersonalPool
from wingspan.settings import held, load_settings

WRONG = {
    "a number for a folder": (b"data_dir = 5\n", "data_dir is 5"),
    "a list for the pool": (b'pool = ["local"]\n', "pool is ['local']"),
    "no table of options": (b'options = "many"\n', "options is 'many'"),
    "no table of stores": (b"store = 3\n", "store is 3"),
    "another encoding": (b'pool = "\xff"\n', "is not UTF-8 text"),
    "no TOML": (b"pool = [\n", "is not valid TOML"),
    "a key of thousands of parts": (b".".join(20_000 * [b"a"]) + b" = 1\n", "is not valid TOML"),
    "an unknown name": (b"colour = 3\n", "unknown setting 'colour'"),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(tmp_path, monkeypatch, text, words):
    """As a SettingsError that names the file and has a hint."""
    (tmp_path / "config.toml").write_bytes(text)
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(tmp_path / "config.toml") in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("command", ["maps", "doctor"])
def test_the_command_line_shows_no_traceback(tmp_path, command):
    """A setting of the wrong type is a message, of whatever command."""
    (tmp_path / "config.toml").write_text("cache_dir = 5\n")
    done = subprocess.run(
        [sys.executable, "-m", "wingspan", command],
        capture_output=True,
        text=True,
        env={"WINGSPAN_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert "cache_dir is 5" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["DATA", "CACHE"])
def test_a_file_in_the_place_of_a_folder_is_told(tmp_path, monkeypatch, kind):
    """Maps, runs and the personal pool name it in an error of ours that is an OSError where a program may
    want that, with a hint.
    """
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv(f"WINGSPAN_{kind}_DIR", str(tmp_path / "file"))
    makers = [lambda: wingspan.map(abs, [1], pool="local")]
    if kind == "DATA":
        makers += [lambda: wingspan.run(["true"], pool="local"), lambda: PersonalPool().start()]
    for make in makers:
        with pytest.raises(WingspanError, match=str(tmp_path / "file")) as caught:
            make()
        assert f"WINGSPAN_{kind}_DIR" in str(caught.value.hint)


#: Starts Python statements with a umask that takes all rights away, as a user whom modes of files hinder
#: (root is one, once he has given up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, which are 1 and 2, by
#: PR_CAPBSET_DROP, which is 24).
_NO_RIGHTS = """
import ctypes, os, sys
prctl = ctypes.CDLL(None).prctl
for capability in (1, 2):
    prctl(24, capability, 0, 0, 0)
os.umask(0o777)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""


@pytest.mark.parametrize("make", ["map(abs, [1], pool='local')", "run(['true'], pool='local')"])
def test_a_umask_that_takes_the_owners_rights_is_told(tmp_path, make):
    """It is named before anything is made, with what to do; nothing is left."""
    code = f"import wingspan\ntry: wingspan.{make}\nexcept wingspan.WingspanError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", _NO_RIGHTS, code],
        capture_output=True,
        text=True,
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "WINGSPAN_DATA_DIR": str(tmp_path / "data"),
            "WINGSPAN_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",  # nobody could read it afterwards
        },
        check=False,
    )
    assert "the umask of this process is 777" in done.stdout, done.stderr
    assert "os.umask(0o077)" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", ["map(abs, [-1], pool='local')", "run(['true'], pool='local')"])
def test_a_python_that_does_not_know_its_path_is_told_what_to_set(tmp_path, monkeypatch, make):
    """In a program that Python is a part of, an error of ours says so; with the path everything goes on."""
    code = (
        "import sys\npython, sys.executable = sys.executable, None\nimport wingspan\n"
        f"try: wingspan.{make}\nexcept wingspan.WingspanError as error: print(error)\n"
        f"sys.executable = python\nwingspan.{make}.wait()\nprint('done')"
    )
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "sys.executable is empty" in done.stdout, done.stderr
    assert done.stdout.endswith("done\n"), done.stderr


def test_held_settings_stay_what_they_were(tmp_path, monkeypatch):
    """While settings are held a variable that changes is not looked at; `configure` counts at once, another
    holder inside reads anew, and afterwards all is as it is.
    """
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "first"))
    with held():
        monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "second"))
        assert load_settings().data_dir == tmp_path / "first"
        with held():
            assert load_settings().data_dir == tmp_path / "second"
        assert load_settings().data_dir == tmp_path / "first"
        with wingspan.configure(data_dir=tmp_path / "third"):
            assert load_settings().data_dir == tmp_path / "third"
    assert load_settings().data_dir == tmp_path / "second"
