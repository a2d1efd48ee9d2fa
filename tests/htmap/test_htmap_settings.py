"""Settings of HTMap programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wingspan
from wingspan import htmap
from wingspan.htmap import Settings, exceptions
from wingspan.htmap.settings import set_user_setting, wait_time


def test_the_first_table_with_a_key_counts():
    """Keys with dots lead into tables; setting one changes the first table only."""
    low = {"A": {"B": 1, "C": 2}, "D": 3}
    layered = Settings({"A": {"B": 4}}, low)
    assert (layered["A.B"], layered["A.C"], layered["D"], layered["A"]) == (4, 2, 3, {"B": 4, "C": 2})
    assert (layered.get("E"), layered.get("A.E", 5), "A.B" in layered, "E" in layered) == (
        None,
        5,
        True,
        False,
    )
    layered["A.C"] = 6
    layered["X.Y.Z"] = 7
    assert (layered["A.C"], layered["X.Y.Z"], low) == (6, 7, {"A": {"B": 1, "C": 2}, "D": 3})
    for key in ("E", "A.E", "D.E", "", "A..B"):
        with pytest.raises(exceptions.MissingSetting) as caught:
            _ = layered[key]
        assert isinstance(caught.value, KeyError)


def test_settings_are_put_over_and_below_each_other():
    """`prepend` wins, `append` gives way, `replace` takes the other's tables; equal is what counts."""
    one = Settings({"A": 1})
    one.prepend({"A": 2})
    one.append(Settings({"A": 3, "B": 4}))
    assert one.to_dict() == {"A": 2, "B": 4}
    assert one == Settings({"B": 4}, {"A": 2}) != Settings()
    both = Settings.from_settings(Settings({"B": 5}), one)
    assert both["B"] == 5
    one["A"] = 6
    assert both["A"] == 6
    other = Settings({"C": 7})
    both.replace(other)
    assert both.to_dict() == {"C": 7}
    both["D"] = 8
    both.prepend(other)
    both["C"] = 9
    assert (both["C"], other.to_dict()) == (9, {"C": 7})


def test_files_of_settings_are_toml(tmp_path):
    """What was saved is loaded again, but for what has no value; what is no TOML is told."""
    path = tmp_path / "settings"
    written = Settings({"A": {"B": "x", "C": None}, "D": tmp_path})
    written.save(path)
    assert Settings.load(path) == Settings({"A": {"B": "x"}, "D": str(tmp_path)})
    assert 'B = "x"' in str(written)
    path.write_text("no toml")
    with pytest.raises(wingspan.SettingsError, match="TOML"):
        Settings.load(path)
    with pytest.raises(FileNotFoundError):
        Settings.load(tmp_path / "nothing")


READ = "from wingspan import htmap; print(htmap.settings['DOCKER.IMAGE'], htmap.settings['DELIVERY_METHOD'])"


def test_the_users_file_counts_before_the_environment(tmp_path, monkeypatch):
    """``~/.htmaprc`` wins over variables, and those over defaults."""
    (tmp_path / ".htmaprc").write_text('DELIVERY_METHOD = "shared"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTMAP_DELIVERY_METHOD", "docker")
    monkeypatch.setenv("HTMAP_DOCKER_IMAGE", "mine:1")
    read = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    assert read.stdout == "mine:1 shared\n"
    assert htmap.settings["DELIVERY_METHOD"] == "assume"


def test_maps_lie_where_the_program_says(tmp_path, data_dir):
    """``HTMAP_DIR`` has maps of its own, as long as it is set."""
    htmap.settings["HTMAP_DIR"] = str(tmp_path / "elsewhere")
    m = htmap.map(abs, [-1], tag="there")
    assert list(m) == [1]
    assert Path(m.wingspan_map.path).is_relative_to(tmp_path / "elsewhere")
    assert htmap.get_tags() == ("there",)
    htmap.clean(all=True)
    del htmap.settings.maps[0]["HTMAP_DIR"]
    assert Path(htmap.map(abs, [-1], tag="here").wingspan_map.path).is_relative_to(data_dir)


@pytest.mark.parametrize("value", ["soon", None, 0, -1, float("nan")])
def test_a_pause_that_is_no_number_is_told(value):
    """The setting is named, and not the place where it would have been used."""
    htmap.settings["WAIT_TIME"] = value
    with pytest.raises(wingspan.SettingsError, match="WAIT_TIME"):
        wait_time()
    htmap.settings["WAIT_TIME"] = "0.5"
    assert wait_time() == 0.5


def test_setting_a_value_keeps_the_others(tmp_path, monkeypatch):
    """One setting is written to the user's file, whole; what else is in it stays."""
    monkeypatch.setenv("HOME", str(tmp_path))
    set_user_setting("A.B", 1)
    set_user_setting("A.C", "x")
    assert Settings.load(tmp_path / ".htmaprc") == Settings({"A": {"B": 1, "C": "x"}})
