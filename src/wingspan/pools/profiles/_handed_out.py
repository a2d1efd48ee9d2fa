"""Profiles that a site hands out at an address: fetched once, checked against their digest, and kept.

Kept are ``profiles/<sha256>.toml`` in the data folder, and beside them ``added.json``, which says which of
them were added under a name. Nothing is asked of the network for a profile that is kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wingspan._urls import secrets_of, without_secrets
from wingspan.errors import SettingsError
from wingspan.settings import Settings, private_folder

__all__ = [
    "added_tables",
    "fetch_offer",
    "handed_out_table",
    "index_written",
    "keep_offer",
    "needs_network",
    "parse_toml",
    "remove_profile",
]

FOLDER = "profiles"
#: The largest profile (bytes), and how long its server may take (seconds).
_LARGEST, _PATIENCE = 1 << 20, 20.0
_DIGEST = re.compile(r"sha256=([0-9a-f]{64})")
#: HTCondor's submit commands that a profile may have (condor_submit's manual page). All others are refused,
#: those of later versions too: they may decide which program a job is, where it runs, and which files it
#: takes or leaves. That is the user's.
_SUBMIT = frozenset(
    """accounting_group accounting_group_user allowed_execute_duration allowed_job_duration concurrency_limits
    concurrency_limits_expr cuda_version description gpus_maximum_capability gpus_maximum_memory
    gpus_minimum_capability gpus_minimum_memory gpus_minimum_runtime job_ad_information_attrs job_lease_duration
    job_machine_attrs job_machine_attrs_history_length job_max_vacate_time keep_claim_idle kill_sig_timeout
    max_idle max_job_retirement_time max_materialize max_retries next_job_start_delay nice_user periodic_hold
    periodic_hold_reason periodic_hold_subcode periodic_release periodic_remove priority rank request_cpus
    request_disk request_gpus request_memory require_gpus requirements retry_request_disk retry_request_memory
    retry_until success_exit_code""".split()
)
#: Commands of a site's own begin so; condor_submit knows what they are from the site's configuration
#: (EXTENDED_SUBMIT_COMMANDS).
_OF_SITES = re.compile(r"want_[a-z0-9_]+")
#: Options of sbatch that a profile may have, as its manual page writes them; all others are refused, and so
#: is the beginning of a name, which sbatch would take for the name.
_SBATCH = frozenset(
    """account acctg-freq begin cluster-constraint comment constraint contiguous core-spec cores-per-socket cpu-freq
    cpus-per-gpu deadline delay-boot distribution exclude exclusive extra-node-info gpu-bind gpu-freq gpus
    gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint kill-on-invalid-dep licenses mem mem-bind
    mem-per-cpu mem-per-gpu mincpus network nice no-kill no-requeue nodelist nodes ntasks-per-core ntasks-per-gpu
    ntasks-per-node ntasks-per-socket oversubscribe partition power prefer priority qos reboot requeue
    reservation segment signal sockets-per-node spread-job switches thread-spec threads-per-core time time-min
    tmp tres-bind tres-per-task use-min-nodes wckey""".split()
)
#: Attributes that a profile may not have. Those that it may have cannot be listed: profiles are for
#: attributes of a site's own, which can have any name. So this lists what HTCondor itself reads of a job to
#: decide which program it is, where it runs, and which files it takes or leaves; names of submit commands are
#: among them, as condor_submit takes many of them with a + too.
_RESERVED = frozenset(
    """arguments args checkpoint_destination container_image docker_image dont_encrypt_input_files environment
    env error executable getenv grid_resource hook_keyword include initialdir initial_dir input iwd jobprefix
    log notify_user output output_destination post_cmd postcmd pre_cmd precmd precmdargs postcmdargs
    preserve_relative_paths queue remote_initialdir shell skip_filechecks stream_input should_transfer_files
    tool_daemon_cmd transfer_executable common_input_files oauth_services_needed transfer_input_files
    transfer_output_files transfer_output_remaps transfer_plugins universe use_oauth_services userlog
    when_to_transfer_output x509userproxy public_input_files common_input_catalogs cmd in out err jobuniverse
    transferinput transferoutput transferoutputremaps starterlog executable_args want_io_proxy
    limit_directory_access want_docker want_container want_sif transfer_container use_x509userproxy
    scitokens_file use_scitokens manifest manifest_dir container""".split()
)
#: What begins or ends so is of the same kinds: ``docker_override_entrypoint``, ``+SingularityImage``,
#: ``jar_files``, ``--container-mounts`` of Slurm's plugins, ``box_oauth_permissions``.
_RESERVED_BEGINNINGS = ("container", "docker", "jar", "remote", "singularity", "vm", "x509")
_RESERVED_ENDS = ("oauthpermissions", "oauthresource")
#: A value with this in it takes a variable, perhaps a token, from the environment of the user who submits.
_FROM_ENVIRONMENT = re.compile(r"\$\s*env\b", re.IGNORECASE)
#: Tables within tables: no profile has more.
_DEEPEST = 10


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML file. Each process that makes a map reads some: Python's own parser, where it has
    one, is imported and done in a third of the time.

    Raises:
        ValueError: It is no TOML, or its lists and tables lie too deep in each other.
    """
    try:
        if sys.version_info >= (3, 11):
            from tomllib import loads

            return loads(text)
        import tomlkit

        return tomlkit.parse(text).unwrap()
    except RecursionError:
        raise ValueError("its lists and tables lie too deep in each other") from None


def handed_out_table(address: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """The name and the table of the profile at ``https://…#sha256=…``.

    Args:
        address: The address, with the digest behind it.
        settings: Say where it is kept.

    Raises:
        SettingsError: The address has no digest or is no ``https``; nothing can be fetched there; or what is
            there is another file than the digest is of, or no profile.
    """
    url, _, fragment = address.partition("#")
    digest = _DIGEST.fullmatch(fragment)
    if digest is None:
        shown = without_secrets(url)
        raise SettingsError(
            f"the profile {shown} has no digest: what is there may change from one day to the next",
            hint=f"wingspan profile add {shown} shows it and says its digest; then name {shown}#sha256=…",
        )
    file = settings.data_dir / FOLDER / f"{digest[1]}.toml"
    data = _kept(file, digest[1])
    if data is None:
        data = _checked(_fetch(url), digest[1], url)
        found = _only_table(data, url)
        _keep(data, digest[1], settings)
        return found
    return _only_table(data, url)


def needs_network(name: str, settings: Settings) -> bool:
    """A profile of this name would have to be fetched before it can be used."""
    if "://" not in name:
        return False
    digest = _DIGEST.search(name)
    return digest is None or not (settings.data_dir / FOLDER / f"{digest[1]}.toml").exists()


def fetch_offer(url: str, digest: str | None = None) -> tuple[str, dict[str, Any], bytes]:
    """The name and the table of the profile at an address, and the file. Nothing is kept.

    Args:
        url: The address; ``#sha256=…`` behind it is the same as `digest`.
        digest: What its SHA-256 has to be (hexadecimal); None: whatever is there is taken.

    Raises:
        SettingsError: It cannot be fetched, is another one, or is no profile.
    """
    url, _, fragment = url.partition("#")
    wanted = _DIGEST.fullmatch(f"sha256={digest.lower().removeprefix('sha256=')}" if digest else fragment)
    if wanted is None and (digest or fragment):
        raise SettingsError(
            f"{digest or fragment!r} is no digest", hint="it is sha256= and 64 hexadecimal digits"
        )
    data = _fetch(url)
    if wanted is not None:
        _checked(data, wanted[1], url)
    return (*_only_table(data, url), data)


def keep_offer(name: str, url: str, data: bytes, settings: Settings) -> None:
    """Keep the file of a profile, and have it among the profiles as `name`."""
    digest = _sha256(data)
    _keep(data, digest, settings)
    _write_index(settings, {name: {"url": url.partition("#")[0], "sha256": digest}})


def remove_profile(name: str, settings: Settings) -> bool:
    """Remove the added profile `name` from the profiles. Returns whether it was there.

    Its file stays: maps and runs may have been made with it.
    """
    if name not in _index(settings):
        return False
    _write_index(settings, {name: None})
    return True


def added_tables(settings: Settings) -> dict[str, tuple[dict[str, Any], str]]:
    """The tables of profiles that were added, by name, each with its address.

    Raises:
        SettingsError: A kept file has changed or is gone.
    """
    found = {}
    for name, entry in _index(settings).items():
        url, digest = str(entry.get("url")), str(entry.get("sha256"))
        data = _kept(settings.data_dir / FOLDER / f"{digest}.toml", digest)
        if data is None:
            raise SettingsError(
                f"the profile {name}, which was added from {url}, is not kept any more",
                hint=f"wingspan profile add {url} --digest {digest}",
            )
        found[name] = _only_table(data, url)[1], f"{url}#sha256={digest}"
    return found


def index_written(settings: Settings) -> tuple[int, int] | None:
    """When the list of added profiles was written, and its inode; None: there is none."""
    try:
        status = (settings.data_dir / FOLDER / "added.json").stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _sha256(data: bytes) -> str:
    import hashlib  # here, as are others: few users have such profiles, and every map reads the shipped ones

    return hashlib.sha256(data).hexdigest()


def _index(settings: Settings) -> dict[str, Mapping[str, Any]]:
    path = settings.data_dir / FOLDER / "added.json"
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    import json

    try:
        entries = json.loads(data)
        return {str(name): dict(entry) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError):
        raise SettingsError(f"{path} cannot be read", hint="remove it, and add the profiles again") from None


def _write_index(settings: Settings, change: Mapping[str, Mapping[str, Any] | None]) -> None:
    import json

    from wingspan._files import lock
    from wingspan.worker import trust

    folder = private_folder(settings.data_dir, FOLDER)
    with lock(folder / "lock", patience=20.0):
        entries = {**_index(settings), **change}
        kept = {name: entry for name, entry in entries.items() if entry is not None}
        trust.write_whole(str(folder / "added.json"), json.dumps(kept, indent=1).encode())


def _kept(file: Path, digest: str) -> bytes | None:
    """The profile that is kept; None: it is not there, or was changed."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    return data if _sha256(data) == digest else None


def _keep(data: bytes, digest: str, settings: Settings) -> Path:
    from wingspan.worker import trust

    file = private_folder(settings.data_dir, FOLDER) / f"{digest}.toml"
    trust.write_whole(str(file), data)
    return file


def _checked(data: bytes, digest: str, url: str) -> bytes:
    found = _sha256(data)
    if found != digest:
        raise SettingsError(
            f"the profile at {without_secrets(url)} is another one than the digest is of: its sha256 is {found}, and "
            f"{digest} is asked for; nothing of it is used",
            hint="ask the site which one is right; wingspan profile add shows what the file there would change",
        )
    return data


def _fetch(url: str) -> bytes:
    """The file at an address.

    Raises:
        SettingsError: It is no ``https``, has a password in it, is not to be had, or is no profile by its
            size.
    """
    import urllib.error
    import urllib.request

    class OnlyHttps(urllib.request.HTTPRedirectHandler):
        """Goes where the server sends us, as long as that is encrypted."""

        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            try:
                _check_address(newurl)
            except SettingsError:
                fp.close()
                raise
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    _check_address(url)
    try:
        with urllib.request.build_opener(OnlyHttps).open(url, timeout=_PATIENCE) as answer:
            data: bytes = answer.read(_LARGEST + 1)
    except (OSError, ValueError, urllib.error.URLError) as error:
        if isinstance(error, SettingsError):
            raise
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise SettingsError(
            f"the profile at {without_secrets(url)} cannot be fetched: {reason}",
            hint="try again later; a profile that was fetched before is kept, and needs no network",
        ) from None
    if len(data) > _LARGEST:
        raise SettingsError(
            f"what lies at {without_secrets(url)} is larger than {_LARGEST >> 20} MiB, and no profile",
            hint="ask the site for the address of its profile",
        )
    return data


def _check_address(url: str) -> None:
    from urllib.parse import urlsplit

    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise SettingsError(
            f"{without_secrets(url)} is no address of a profile: https:// is wanted, so that nobody on the way can change it",
            hint="give an address that begins with https://, or put the file's table into config.toml",
        )
    if secrets_of(url) != (None, None):
        raise SettingsError(
            f"the address {without_secrets(url)} has a user or a password in it, which would be kept with every map",
            hint="fetch the file yourself, and put its table into config.toml",
        )


def _only_table(data: bytes, url: str) -> tuple[str, dict[str, Any]]:
    """The one profile of a file, and its name.

    Raises:
        SettingsError: There is none, or several, or it sets what a site may not set.
    """
    shown = without_secrets(url)
    try:
        tables = parse_toml(data.decode())
    except ValueError as error:
        raise SettingsError(f"{shown} is no TOML: {error}", hint="ask the site for its profile") from None
    found = tables.get("profile")
    if set(tables) != {"profile"} or not isinstance(found, Mapping) or len(found) != 1:
        raise SettingsError(
            f"{shown} has not just one profile in it",
            hint="such a file has one table [profile.NAME] with its sub-tables, and nothing else",
        )
    name, table = next(iter(found.items()))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or not isinstance(table, Mapping):
        raise SettingsError(
            f"{shown}: {name!r} is no name of a profile", hint="letters, digits, dot, dash and underscore"
        )
    if _is_deeper(table, _DEEPEST):
        raise SettingsError(f"{shown}: its tables lie too deep in each other", hint="tell the site")
    _check_commands(table, shown)
    return name, dict(table)


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether there are tables or lists in each other, more than `depth` of them."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    return inner is not None and (depth == 0 or any(_is_deeper(each, depth - 1) for each in inner))


def _check_commands(table: Mapping[str, Any], shown: str) -> None:
    """See that a profile sets nothing that a site may not set.

    Raises:
        SettingsError: It does.
    """
    for where, command, value in _commands(table):
        if not re.fullmatch(r"\+?[A-Za-z_][A-Za-z0-9_.-]*", command):
            raise SettingsError(
                f"{shown}: {command!r} ({where}) is no name of a command or an attribute",
                hint="tell the site",
            )
        if not _is_for_sites(where.rpartition(".")[2], command.lower()):
            raise SettingsError(
                f"{shown} sets {command} ({where}): which program a job is and which files it takes is not a site's to say",
                hint="tell the site; what you want of it you can write into config.toml yourself",
            )
        if where.endswith("submit") and _FROM_ENVIRONMENT.search(str(value)):
            raise SettingsError(
                f"{shown} sets {command} ({where}) to a variable of your environment: what is in it would be in your jobs",
                hint="tell the site; what you want of it you can write into config.toml yourself",
            )


def _is_for_sites(kind: str, name: str) -> bool:
    """Whether a profile that was handed out may set it.

    Args:
        kind: What it is: ``"submit"``, ``"sbatch"`` or ``"attributes"``.
        name: Its name, in lower case.

    >>> _is_for_sites("submit", "want_ospool"), _is_for_sites("submit", "want_io_proxy")
    (True, False)
    >>> _is_for_sites("sbatch", "mem_per_cpu"), _is_for_sites("sbatch", "expor")
    (True, False)
    >>> _is_for_sites("submit", "+ProjectName"), _is_for_sites("attributes", "MY.Cmd".lower())
    (True, False)
    """
    if kind == "sbatch":
        return name.replace("_", "-") in _SBATCH
    if kind == "submit" and name in _SUBMIT:
        return True
    attribute = re.sub(r"^((my|target)\.|\+)+", "", name)
    if kind == "submit" and attribute == name and not _OF_SITES.fullmatch(name):
        return False
    plain = _plain(attribute)  # MY.TransferPlugins and transfer_plugins are the same thing
    is_reserved = (
        plain in {_plain(one) for one in _RESERVED}
        or plain.startswith(_RESERVED_BEGINNINGS)
        or plain.endswith(_RESERVED_ENDS)
    )
    return not is_reserved


def _plain(name: str) -> str:
    """A command and the attribute that it sets differ by such signs only."""
    return name.replace("_", "").replace("-", "")


def _commands(table: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Names of submit commands and job attributes in a profile, each with the table that it stands in, and
    its value.
    """
    for key, value in table.items():
        if isinstance(value, Mapping):
            if key in ("attributes", "submit", "sbatch"):
                yield from ((key, str(name), said) for name, said in value.items())
            elif key in ("walltime", "accounting"):
                kinds = (("attribute", "attributes"), ("command", "submit"))
                yield from (
                    (f"{key}.{kind}", str(value[name]), None) for name, kind in kinds if name in value
                )
            else:
                yield from ((f"{key}.{where}", name, said) for where, name, said in _commands(value))
