"""Where things are kept and which pool is used: defaults < configuration file < environment < arguments.

Every setting has one environment variable, ``WINGSPAN_<NAME>``, and one key in ``config.toml`` in the user's
configuration folder (the folders are platformdirs'; ``wingspan doctor`` prints them).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs

from wingspan.errors import DiskError, SettingsError
from wingspan.worker import trust

__all__ = ["Settings", "ignoring_config_file", "load_settings", "private_folder"]


@attrs.frozen(kw_only=True)
class Settings:
    """What the configuration file and the environment say.

    Attributes:
        data_dir: Maps, runs and the personal pool's state. Removing it loses results.
        cache_dir: What can be obtained again: HTCondor, packages, bundles.
        config_dir: Holds ``config.toml``.
        pool: ``"personal"``, ``"htcondor"``, ``"slurm"``, ``"local"`` or None to choose by what answers.
        options: Defaults of `wingspan.Options`, by field name.
        store: The ``[store.NAME]`` tables, read by `wingspan.stores`.
        profile: The ``[profile.NAME]`` tables, read by `wingspan.pools.profiles`.
    """

    data_dir: Path
    cache_dir: Path
    config_dir: Path
    pool: str | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    store: dict[str, Any] = attrs.field(factory=dict)
    profile: dict[str, Any] = attrs.field(factory=dict)

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"


_SCALARS = frozenset({"data_dir", "cache_dir", "pool"})


_is_ignored: ContextVar[bool] = ContextVar("_is_ignored", default=False)


@contextlib.contextmanager
def ignoring_config_file() -> Iterator[None]:
    """Within, the settings are those without a configuration file: for whoever reports that it is broken,
    and goes on.
    """
    token = _is_ignored.set(True)
    try:
        yield
    finally:
        _is_ignored.reset(token)


def _read_config(path: Path) -> dict[str, Any]:
    if _is_ignored.get():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is not UTF-8 text: {error}", hint="write it again with an editor, or move it away"
        ) from None
    import tomlkit
    from tomlkit.exceptions import ParseError

    try:
        document: dict[str, Any] = tomlkit.parse(text).unwrap()
    except ParseError as error:
        raise SettingsError(
            f"{path} is not valid TOML: {error}", hint="mend that line, or move the file away"
        ) from None
    except RecursionError:  # older versions of tomlkit have no limit of their own
        raise SettingsError(
            f"{path} is not valid TOML: a key, or what lies in each other, is more than 100 levels deep",
            hint="mend that line, or move the file away",
        ) from None
    unknown = sorted(set(document) - _SCALARS - {"options", "profile", "store"})
    if unknown:
        raise SettingsError(
            f"{path}: unknown setting {unknown[0]!r}",
            hint=f"known settings: {', '.join(sorted(_SCALARS))}, [options]",
        )
    for name, value in document.items():
        if not isinstance(value, str if name in _SCALARS else dict):
            raise SettingsError(
                f"{path}: {name} is {value!r:.40}",
                hint=f'write {name} = "…"'
                if name in _SCALARS
                else f"write a table: [{name}], and below it name = value",
            )
    return document


def load_settings() -> Settings:
    """Read the settings as they are now.

    Raises:
        SettingsError: The configuration file is not TOML or names an unknown setting.
    """
    environment = tuple(os.environ.get(name) for name in _VARIABLES)
    known = None if _is_ignored.get() else _known.get(environment)
    if known is not None:
        config_file, written, settings = known
        if _written(config_file) == written:
            return settings
    settings = _load()
    if _is_ignored.get():
        return settings
    config_file = str(settings.config_file)
    _known.clear()
    _known[environment] = (config_file, _written(config_file), settings)
    return settings


#: The capability of root that makes modes of files no obstacle (capabilities(7), CAP_DAC_OVERRIDE), as a bit.
_DAC_OVERRIDE = 1 << 1
#: What the owner of a file may do: read, write, and enter a folder.
_OWN_RIGHTS = 0o700


def _check_umask() -> None:
    """See that this process can read what it writes.

    The umask is read from /proc: asking the kernel would change it for a moment, for all threads. Where there
    is no /proc nothing is said.

    Raises:
        SettingsError: Its umask takes the owner's own rights away.
    """
    try:
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - asked for every map
            status = file.read()
    except OSError:
        return
    umask, capabilities = (
        re.search(rb"^" + name + rb":\s*(\w+)", status, re.MULTILINE) for name in (b"Umask", b"CapEff")
    )
    if umask is None or capabilities is None:
        return
    if int(umask[1], 8) & _OWN_RIGHTS and not int(capabilities[1], 16) & _DAC_OVERRIDE:
        raise SettingsError(
            f"the umask of this process is {int(umask[1], 8):03o}: it takes your own rights to files away that are made here",
            hint="set another one before, such as umask 077 in a shell, or os.umask(0o077) in Python",
        )


def private_folder(root: Path, *parts: str) -> Path:
    """A folder below `root` (the data or the cache folder), made if it is not there, and closed to others on
    the whole way from `root`.

    Raises:
        SettingsError: One of them belongs to somebody else, or the umask of this process takes its owner's
            own rights away.
        DiskError: It cannot be made.
    """
    _check_umask()
    try:
        trust.close_folder(str(root))
        for part in parts:
            root /= part
            trust.make_folder(str(root))
    except trust.NotClosed as error:
        raise SettingsError(
            f"{error.filename} cannot be used: {error.strerror}",
            hint="set WINGSPAN_DATA_DIR and WINGSPAN_CACHE_DIR to folders of yours",
        ) from None
    except OSError as error:
        made = DiskError(
            f"the folder {root} cannot be made: {error.strerror}",
            hint="see what is wrong there, or set WINGSPAN_DATA_DIR and WINGSPAN_CACHE_DIR to folders that can be written to",
        )
        made.errno, made.strerror, made.filename = error.errno, error.strerror, str(root)
        raise made from None
    return root


#: What the folders depend on: ours, and those that platformdirs reads.
_VARIABLES = (
    *(f"WINGSPAN_{name}" for name in ("CONFIG_DIR", "DATA_DIR", "CACHE_DIR", "POOL")),
    *("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"),
)
_known: dict[tuple[str | None, ...], tuple[str, int | None, Settings]] = {}


def _written(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - asked at every load_settings
    except OSError:
        return None


def _load() -> Settings:
    import platformdirs

    def folder(name: str, default: str) -> Path:
        value = os.environ.get(f"WINGSPAN_{name}") or config.get(name.lower()) or default
        return Path(value).expanduser().absolute()

    config: dict[str, Any] = {}
    config_dir = folder("CONFIG_DIR", platformdirs.user_config_dir("wingspan"))
    config = _read_config(config_dir / "config.toml")
    return Settings(
        config_dir=config_dir,
        data_dir=folder("DATA_DIR", platformdirs.user_data_dir("wingspan")),
        cache_dir=folder("CACHE_DIR", platformdirs.user_cache_dir("wingspan")),
        pool=os.environ.get("WINGSPAN_POOL") or config.get("pool") or None,
        options=dict(config.get("options") or {}),
        store=dict(config.get("store") or {}),
        profile=dict(config.get("profile") or {}),
    )
