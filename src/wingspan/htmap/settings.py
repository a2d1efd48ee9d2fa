"""Settings of HTMap programs: the program's own, over ``~/.htmaprc``, the environment, and defaults.

Where maps lie is Wingspan's setting (``wingspan.settings``); ``HTMAP_DIR`` moves it below that folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wingspan._files import lock
from wingspan.errors import SettingsError
from wingspan.htmap.exceptions import MissingSetting
from wingspan.settings import configure, load_settings
from wingspan.worker import trust

__all__ = [
    "BASE_SETTINGS",
    "USER_SETTINGS",
    "Settings",
    "changed_map_options",
    "follow_htmap_dir",
    "set_user_setting",
    "settings",
    "user_file",
    "wait_time",
]

_ABSENT = object()
#: Seconds to wait for another process that writes the file of settings.
_PATIENCE = 20.0


def _parts(key: str) -> list[str]:
    if not isinstance(key, str) or not all(key.split(".")):
        raise MissingSetting(
            f"{key!r} is no name of a setting", hint='for example settings["MAP_OPTIONS.REQUEST_MEMORY"]'
        )
    return key.split(".")


def _find(plain: Mapping[str, Any], key: str) -> Any:
    found: Any = plain
    for part in _parts(key):
        if not isinstance(found, Mapping) or part not in found:
            return _ABSENT
        found = found[part]
    return found


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables; where both have a key the first one's value counts."""
    merged = dict(second)
    for key, value in first.items():
        other = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(other, Mapping)
        merged[key] = _merged(value, other) if both and isinstance(other, Mapping) else value
    return merged


class Settings:
    """Tables of settings, one over the other; the first one that has a key counts.

    Keys with dots name what lies in tables within tables: ``settings["DOCKER.IMAGE"]``.

    >>> layered = Settings({"A": {"B": 1}}, {"A": {"B": 2, "C": 3}})
    >>> layered["A.B"], layered["A.C"], layered.get("A.D", "none")
    (1, 3, 'none')
    """

    def __init__(self, *settings: Mapping[str, Any]) -> None:
        self.maps: list[dict[str, Any]] = [dict(one) for one in settings] or [{}]

    @classmethod
    def from_settings(cls, *settings: Settings) -> Settings:
        """The tables of all `settings`, those of the first one over the others. They share the tables."""
        made = cls()
        made.maps = [table for one in settings for table in one.maps]
        return made

    @classmethod
    def load(cls, path: str | Path) -> Settings:
        """The settings of a TOML file.

        Raises:
            FileNotFoundError: There is no such file.
            SettingsError: It is not valid TOML.
        """
        return cls(_read(Path(path)))

    def save(self, path: str | Path) -> None:
        """Write all settings to a TOML file, whole or not at all. What has no value is left out."""
        _write(Path(path), self.to_dict())

    def __getitem__(self, key: str) -> Any:
        found = _find(self.to_dict(), key)
        if found is _ABSENT:
            raise MissingSetting(f"there is no setting {key!r}", hint="str(settings) shows those there are")
        return found

    def __setitem__(self, key: str, value: Any) -> None:
        *tables, name = _parts(key)
        into = self.maps[0]
        for table in tables:
            inner = into.get(table)
            # A table of its own: the one that is there may be another Settings', too.
            into[table] = dict(inner) if isinstance(inner, Mapping) else {}
            into = into[table]
        into[name] = value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key, _ABSENT) is not _ABSENT

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` if there is none."""
        try:
            return self[key]
        except MissingSetting:
            return default

    def to_dict(self) -> dict[str, Any]:
        """All settings as one table, of tables within tables."""
        made: dict[str, Any] = {}
        for table in self.maps:
            made = _merged(made, table)
        return made

    def replace(self, other: Settings) -> None:
        """Have the tables of `other` instead of one's own. What is set later is not set in `other`."""
        self.maps = [dict(one) for one in other.maps]

    def append(self, other: Settings | Mapping[str, Any]) -> None:
        """Put `other` below one's own tables."""
        self.maps = [*self.maps, *(other.maps if isinstance(other, Settings) else [dict(other)])]

    def prepend(self, other: Settings | Mapping[str, Any]) -> None:
        """Put `other` over one's own tables. What is set later is not set in `other`."""
        above = other.maps if isinstance(other, Settings) else [other]
        self.maps = [*map(dict, above), *self.maps]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return _toml(self.to_dict())

    def __repr__(self) -> str:
        return f"<Settings({', '.join(map(repr, self.maps))})>"


def _without_nothing(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A table without keys whose value is None, which TOML cannot say; paths as text."""
    made: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            made[key] = _without_nothing(value)
        elif value is not None:
            made[key] = str(value) if isinstance(value, Path) else value
    return made


def _toml(plain: Mapping[str, Any]) -> str:
    import tomlkit

    return tomlkit.dumps(_without_nothing(plain))


def _read(path: Path) -> dict[str, Any]:
    import tomlkit
    from tomlkit.exceptions import ParseError

    try:
        plain: dict[str, Any] = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except (ParseError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(
            f"{path} is not valid TOML: {error}", hint="mend that line, or move the file away"
        ) from None
    return plain


def _write(path: Path, plain: Mapping[str, Any]) -> None:
    trust.write_whole(str(path), _toml(plain).encode())


def user_file() -> Path:
    """The user's file of settings, ``~/.htmaprc``."""
    return Path.home() / ".htmaprc"


def set_user_setting(key: str, value: Any) -> None:
    """Write one setting to the user's file. What other processes write at the same time is kept."""
    path = user_file()
    with lock(path.with_name(f"{path.name}.lock"), patience=_PATIENCE) as held:
        if not held:
            raise SettingsError(f"{path} is being written by another process", hint="try again")
        found = Settings(_read(path) if path.exists() else {})
        found[key] = value
        found.save(path)


#: Settings that an environment variable can have, and which.
_VARIABLES = {
    "HTMAP_DIR": "HTMAP_DIR",
    "DELIVERY_METHOD": "HTMAP_DELIVERY_METHOD",
    "HTCONDOR.SCHEDULER": "HTMAP_CONDOR_SCHEDULER",
    "HTCONDOR.COLLECTOR": "HTMAP_CONDOR_COLLECTOR",
    "DOCKER.IMAGE": "HTMAP_DOCKER_IMAGE",
    "SINGULARITY.IMAGE": "HTMAP_SINGULARITY_IMAGE",
}


def _environment() -> dict[str, Any]:
    found = Settings()
    for key, variable in _VARIABLES.items():
        if os.environ.get(variable):
            found[key] = os.environ[variable]
    return found.maps[0]


def _user() -> dict[str, Any]:
    try:
        return _read(user_file())
    except OSError:
        return {}  # there is none, or nobody may read it


#: What counts where nobody has set anything.
BASE_SETTINGS = Settings(
    {
        "HTMAP_DIR": str(load_settings().data_dir),
        "DELIVERY_METHOD": "assume",
        "WAIT_TIME": 1,
        "CLI": {"IS_CLI": False, "SPINNERS_ON": True},
        "HTCONDOR": {"SCHEDULER": None, "COLLECTOR": None},
        "MAP_OPTIONS": {
            "REQUEST_CPUS": "1",
            "REQUEST_MEMORY": "128MB",
            "REQUEST_DISK": "1GB",
            "KEEP_CLAIM_IDLE": "30",
        },
        "DOCKER": {"IMAGE": None},
        "SINGULARITY": {"IMAGE": None},
        "TRANSPLANT": {"DIR": None, "ALTERNATE_INPUT_PATH": None, "ASSUME_EXISTS": False},
        "WINGSPAN": {"POOL": None, "ENVIRONMENT": None},
    }
)
#: The user's file, over the environment.
USER_SETTINGS = Settings(_user(), _environment())
#: What counts: what the program sets, over the user's, over the defaults.
settings: Settings = Settings.from_settings(Settings(), USER_SETTINGS, BASE_SETTINGS)


def changed_map_options(of: Settings = settings) -> dict[str, Any]:
    """The options of maps that somebody has set, in lower case. Defaults of HTMap's are left to Wingspan."""
    default = BASE_SETTINGS["MAP_OPTIONS"]
    chosen: dict[str, Any] = {}
    for key, value in of.get("MAP_OPTIONS", {}).items():
        if isinstance(value, Mapping):  # MAP_OPTIONS.MY.WantGPULab is a table within it
            chosen.update((f"{key}.{inner}", each) for inner, each in value.items())
        elif key not in default or value != default[key]:
            chosen[key] = value
    return {key.lower(): value for key, value in chosen.items()}


def follow_htmap_dir(of: Settings = settings) -> None:
    """Have Wingspan keep maps below ``HTMAP_DIR``, if somebody has set it: in a folder of its own there,
    beside whatever HTMap has left there.
    """
    chosen = of.get("HTMAP_DIR")
    wanted = str(chosen) if chosen and str(chosen) != BASE_SETTINGS["HTMAP_DIR"] else None
    if wanted == _followed.get("folder"):
        return
    if wanted is not None:
        configured = configure(data_dir=Path(wanted).expanduser().absolute() / "wingspan")
        _followed.setdefault("configured", configured)
    else:
        _followed.pop("configured").__exit__(None, None, None)
    _followed["folder"] = wanted


#: The folder that `follow_htmap_dir` has Wingspan use, and how to undo that.
_followed: dict[str, Any] = {}


def wait_time(of: Settings = settings) -> float:
    """The longest pause between two looks at a map (s).

    Raises:
        SettingsError: The setting is no number.
    """
    value = of.get("WAIT_TIME", 1)
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise SettingsError(f"the setting WAIT_TIME is {value!r}", hint="it is a number of seconds above 0")
    return seconds
