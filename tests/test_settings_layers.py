"""Settings: configure() over the environment over the file over defaults, and changing the file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import wingspan
from wingspan.cli._main import cli
from wingspan.errors import SettingsError
from wingspan.maps._options import default_options
from wingspan.settings import load_settings, origins


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration folder of the test's own."""
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    for name in ("WINGSPAN_POOL", "WINGSPAN_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config.toml"


def run(*words: str):
    return CliRunner().invoke(cli, list(words), catch_exceptions=False, standalone_mode=False)


def test_the_order_of_settings(config, monkeypatch) -> None:
    """Each layer gives way to the next; `origins` says which one it was."""
    assert load_settings().pool is None
    config.write_text('pool = "slurm"\n[options]\nretries = 1\nrequest_cpus = 3\n')
    assert (load_settings().pool, default_options(load_settings()).retries) == ("slurm", 1)
    monkeypatch.setenv("WINGSPAN_POOL", "local")
    monkeypatch.setenv("WINGSPAN_OPTION_RETRIES", "2")
    assert (load_settings().pool, default_options(load_settings()).retries) == ("local", 2)
    with wingspan.configure(pool="personal", options={"retries": 3}):
        assert (load_settings().pool, default_options(load_settings()).retries) == ("personal", 3)
        assert default_options(load_settings()).request_cpus == 3
        found = origins()
        assert found["pool"] == ("personal", "configure")
        assert found["options.request_cpus"] == (3, str(config))
    assert origins()["options.retries"] == ("2", "WINGSPAN_OPTION_RETRIES")
    assert origins()["data_dir"][1] == "default"
    monkeypatch.delenv("WINGSPAN_POOL")
    assert load_settings().pool == "slurm"


def test_a_wrong_default_option_names_its_place(config, monkeypatch) -> None:
    """The variable that holds it, `configure`, or the file."""
    monkeypatch.setenv("WINGSPAN_OPTION_RETRIES", "many")
    with pytest.raises(SettingsError, match="WINGSPAN_OPTION_RETRIES: retries='many'"):
        default_options(load_settings())
    with (
        wingspan.configure(options={"retries": -1}),
        pytest.raises(SettingsError, match="configure: retries=-1"),
    ):
        default_options(load_settings())
    monkeypatch.delenv("WINGSPAN_OPTION_RETRIES")
    with pytest.raises(SettingsError, match="configure: pool is 5"):
        wingspan.configure(pool=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("options.workers", "8", 8),
        ("options.request_memory", "2GB", "2GB"),
        ("options.requirements", "true", "true"),
        ("options.switches", '["want_ospool"]', ["want_ospool"]),
        ("options.custom.WantGPULab", "true", True),
        ("pool", "local", "local"),
        ("data_dir", "/somewhere/5", "/somewhere/5"),
    ],
)
def test_a_value_is_kept_with_its_type(config, key, text, value) -> None:
    """`wingspan set` writes numbers as numbers and keeps comments; `wingspan settings` shows the value."""
    config.write_text("# mine\n[options]  # these too\nretries = 1\n")
    run("set", key, text)
    written = config.read_text()
    assert "# mine" in written
    assert "# these too" in written
    shown = json.loads(run("settings", "--json").output)
    name = key if key.count(".") < 2 else "options.custom"
    assert shown[name]["value"] == (value if key.count(".") < 2 else {"WantGPULab": value})
    run("set", "--unset", key)
    assert json.loads(run("settings", "--json").output).get(name, {}).get("value") != shown[name]["value"]


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("options.workers", "-1", "workers=-1"),
        ("options.memory", "2GB", "no option 'memory'"),
        ("colour", "red", "unknown setting 'colour'"),
        ("pool", "cloud", "no pool 'cloud'"),
        ("pool.name", "x", "is a value, not a table"),
        ("options..x", "1", "no name of a setting"),
    ],
)
def test_what_cannot_be_set(config, key, text, words) -> None:
    """Is refused, and the file stays as it was."""
    config.write_text('pool = "local"\n')
    with pytest.raises(SettingsError) as caught:
        run("set", "--", key, text)
    assert words in str(caught.value)
    assert config.read_text() == 'pool = "local"\n'


def test_processes_that_write_at_once_lose_nothing(config) -> None:
    """Each finds its own keys in the file afterwards, and the other's."""
    script = (
        "import sys\nfrom wingspan._settings_file import change_setting\n"
        "for n in range(15): change_setting(f'store.{sys.argv[1]}{n}.url', 'file:///x', lambda document: None)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert set(load_settings().store) == {f"{name}{n}" for name in "abc" for n in range(15)}
