"""Where things are kept, which pool is used, and default options.

Each setting is looked for in this order: `configure` in this process, the environment, ``config.toml`` in the
user's configuration folder, the default. A setting has one environment variable, ``WINGSPAN_<NAME>``
(``WINGSPAN_OPTION_<NAME>`` for a default option), and one key in the file. (The folders are platformdirs';
``wingspan doctor`` prints them, ``wingspan settings`` says where each value comes from.)
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any

import attrs

from wingspan.errors import DiskError, SettingsError
from wingspan.worker import trust

__all__ = [
    "Configured",
    "Settings",
    "check_document",
    "configure",
    "ignoring_config_file",
    "load_settings",
    "origins",
    "private_folder",
]


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
        ssh: The ``[ssh."HOST"]`` tables, read by `wingspan.pools.ssh_connection`.
        memo_size: How much outputs that are kept for later maps may take (`wingspan.map`, ``memo``).
    """

    data_dir: Path
    cache_dir: Path
    config_dir: Path
    pool: str | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    store: dict[str, Any] = attrs.field(factory=dict)
    profile: dict[str, Any] = attrs.field(factory=dict)
    ssh: dict[str, Any] = attrs.field(factory=dict)
    memo_size: str = "5GB"

    @property
    def config_file(self) -> Path:
        return self.config_dir / "config.toml"


_SCALARS = frozenset({"data_dir", "cache_dir", "memo_size", "pool"})
#: Environment variables of default options begin with this.
_OPTION = "WINGSPAN_OPTION_"


_is_ignored: ContextVar[bool] = ContextVar("_is_ignored", default=False)


@contextlib.contextmanager
def ignoring_config_file() -> Iterator[None]:
    """Within the block, the settings are those without a configuration file: for code that reports that the
    file is broken, and goes on.
    """
    token = _is_ignored.set(True)
    try:
        yield
    finally:
        _is_ignored.reset(token)


_held: ContextVar[Settings | None] = ContextVar("_held", default=None)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Within the block, the settings are read once: while a map is made they are asked for a dozen times, and
    one map has one state of them.

    Raises:
        SettingsError: As `load_settings`.
    """
    token = _held.set(None)
    try:
        _held.set(load_settings())
        yield
    finally:
        _held.reset(token)


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
            f"{path} is not valid TOML: a key, a list or a table in it is more than 100 levels deep",
            hint="mend that line, or move the file away",
        ) from None
    check_document(document, str(path))
    return document


def check_document(document: Mapping[str, Any], place: str) -> None:
    """See that these are settings, and that each has a value of its type.

    Args:
        document: What the configuration file says, or is to say.
        place: Where it comes from, for the message.

    Raises:
        SettingsError: A name is unknown, or a value has another type.
    """
    unknown = sorted(set(document) - _SCALARS - {"options", "profile", "ssh", "store"})
    if unknown:
        raise SettingsError(
            f"{place}: unknown setting {unknown[0]!r}",
            hint=f"known settings: {', '.join(sorted(_SCALARS))}, [options]",
        )
    for name, value in document.items():
        if not isinstance(value, str if name in _SCALARS else dict):
            raise SettingsError(
                f"{place}: {name} is {value!r:.40}",
                hint=f'write {name} = "…"'
                if name in _SCALARS
                else f"write a table: [{name}], and below it name = value",
            )


#: What `configure` has set in this process.
_configured: dict[str, Any] = {}


class Configured:
    """What `configure` answers: at the end of a ``with`` block the settings are again what they were."""

    def __init__(self, before: dict[str, Any]) -> None:
        self._before = before

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _configured.clear()
        _configured.update(self._before)
        _known.clear()
        _held.set(None)


def configure(
    *,
    pool: str | None = None,
    options: Mapping[str, Any] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Configured:
    """Set settings for this process: they come before the environment and the configuration file.

    Used as a context manager it does so for the length of the ``with`` block.

    Args:
        pool: ``"personal"``, ``"htcondor"``, ``"slurm"`` or ``"local"``.
        options: Default options by name. They are joined to those that were set so before; None as a value
            takes one back.
        data_dir: Folder of maps and runs.
        cache_dir: Folder of what can be obtained again.

    Raises:
        SettingsError: A value has another type.

    >>> with configure(options={"request_cpus": 2}):
    ...     load_settings().options["request_cpus"]
    2
    """
    given: dict[str, Any] = {
        "pool": pool,
        "data_dir": None if data_dir is None else os.fspath(data_dir),
        "cache_dir": None if cache_dir is None else os.fspath(cache_dir),
        "options": None if options is None else dict(options) if isinstance(options, Mapping) else options,
    }
    new = {name: value for name, value in given.items() if value is not None}
    check_document(new, "configure")
    before = dict(_configured)
    if "options" in new:
        joined = {**_configured.get("options", {}), **new["options"]}
        new["options"] = {name: value for name, value in joined.items() if value is not None}
    _configured.update(new)
    _known.clear()
    _held.set(None)
    return Configured(before)


def _environment_options() -> dict[str, str]:
    """Default options that environment variables name."""
    # Asked for every map several times: values are looked at only where the name fits.
    names = [name for name in os.environ if name.startswith(_OPTION)]
    return {name[len(_OPTION) :].lower(): value for name in names if (value := os.environ.get(name))}


def origins() -> dict[str, tuple[Any, str]]:
    """Each setting with its value, and where that comes from: ``configure``, a variable, the file, or
    ``default``. Default options are named ``options.NAME``; tables of the file by their name.

    Raises:
        SettingsError: As `load_settings`.
    """
    settings = load_settings()
    config = _read_config(settings.config_file)
    found: dict[str, tuple[Any, str]] = {}

    def origin(name: str, variable: str, configured: Mapping[str, Any], file: Mapping[str, Any]) -> str:
        if name in configured:
            return "configure"
        if os.environ.get(variable):
            return variable
        return str(settings.config_file) if name in file else "default"

    for name in ("pool", "data_dir", "cache_dir", "memo_size"):
        value = getattr(settings, name)
        value = None if value is None else str(value)
        found[name] = value, origin(name, f"WINGSPAN_{name.upper()}", _configured, config)
    for name, value in settings.options.items():
        set_here, in_file = _configured.get("options", {}), config.get("options", {})
        found[f"options.{name}"] = value, origin(name, _OPTION + name.upper(), set_here, in_file)
    for table in ("store", "profile", "ssh"):
        for name, value in (getattr(settings, table)).items():
            found[f"{table}.{name}"] = value, str(settings.config_file)
    return found


def load_settings() -> Settings:
    """Read the settings as they are now.

    Raises:
        SettingsError: The configuration file is not TOML or names an unknown setting.
    """
    held_ones = _held.get()
    if held_ones is not None and not _is_ignored.get():
        return held_ones
    environment = (
        *(os.environ.get(name) for name in _VARIABLES),
        *(f"{name}={value}" for name, value in _environment_options().items()),
    )
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


#: The capability that lets root pass over the modes of files (capabilities(7), CAP_DAC_OVERRIDE), as a bit.
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
            f"the umask of this process is {int(umask[1], 8):03o}: with it, you yourself could not use the files that are made here",
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
    *(f"WINGSPAN_{name}" for name in ("CONFIG_DIR", "DATA_DIR", "CACHE_DIR", "POOL", "MEMO_SIZE")),
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
        low = name.lower()
        value = _configured.get(low) or os.environ.get(f"WINGSPAN_{name}") or config.get(low) or default
        return Path(value).expanduser().absolute()

    config: dict[str, Any] = {}
    config_dir = folder("CONFIG_DIR", platformdirs.user_config_dir("wingspan"))
    config = _read_config(config_dir / "config.toml")
    return Settings(
        config_dir=config_dir,
        data_dir=folder("DATA_DIR", platformdirs.user_data_dir("wingspan")),
        cache_dir=folder("CACHE_DIR", platformdirs.user_cache_dir("wingspan")),
        pool=_configured.get("pool") or os.environ.get("WINGSPAN_POOL") or config.get("pool") or None,
        options={
            **(config.get("options") or {}),
            **_environment_options(),
            **_configured.get("options", {}),
        },
        store=dict(config.get("store") or {}),
        profile=dict(config.get("profile") or {}),
        ssh=dict(config.get("ssh") or {}),
        memo_size=os.environ.get("WINGSPAN_MEMO_SIZE") or config.get("memo_size") or "5GB",
    )
