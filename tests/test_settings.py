"""The configuration file: what is wrong in it is told, with the file's name, never as a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wingspan
from wingspan.errors import SettingsError, WingspanError
from wingspan.pools.personal import PersonalPool
from wingspan.settings import load_settings

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
    """Maps, runs and the personal pool name it in an error of ours that is an OSError where a program may want that, with a hint."""
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
