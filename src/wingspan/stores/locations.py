"""From what people write (a configured name, a folder, a URL) to a `Store`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from wingspan._urls import without_secrets
from wingspan.errors import SettingsError
from wingspan.jobs import all_of
from wingspan.settings import Settings
from wingspan.stores.base import Backend, Store
from wingspan.stores.folder import FolderBackend

__all__ = [
    "SHARED_FOLDERS",
    "SharedFolder",
    "StoreSettings",
    "configured_stores",
    "mount_requirement",
    "open_place",
    "open_store",
    "staging_folder",
]


@attrs.frozen(kw_only=True)
class SharedFolder:
    """A folder of a site that jobs see by other means than the access point does.

    Attributes:
        root: Where it is mounted.
        job_url: What jobs write for `root`.
        requirement: ClassAd expression that holds on machines where `root` is mounted too; None: on none.
        by_path_only: Folders under `root` that `job_url` does not serve.
    """

    root: Path
    job_url: str
    requirement: str | None
    by_path_only: tuple[str, ...] = ()


#: Known before anything is configured.
#: OSPool: https://portal.osg-htc.org/documentation/htc_workloads/managing_data/osdf/
#: CHTC:
#: https://chtc.cs.wisc.edu/uw-research-computing/file-avail-largedata
SHARED_FOLDERS: tuple[SharedFolder, ...] = (
    SharedFolder(
        root=Path("/staging"),
        job_url="osdf:///chtc/staging",
        requirement="(TARGET.HasCHTCStaging == true)",
        by_path_only=("groups",),
    ),
    SharedFolder(root=Path("/ospool"), job_url="osdf:///ospool", requirement=None),
)


def _optional_text(instance: object, attribute: Any, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{attribute.name} = {value!r} is not a text")


@attrs.frozen(kw_only=True)
class StoreSettings:
    """One ``[store.NAME]`` of config.toml. Secrets are not kept there: it says in which variable or file they
    are.

    Attributes:
        url: The place.
        job_url: The same place for jobs; by default what is known of the place, or `url`.
        requirement: ClassAd expression that holds on machines that have the place mounted (a folder).
        username: For WebDAV.
        password_env: Environment variable with the password.
        token_env: Environment variable with a bearer token.
        token_file: File with a bearer token.
        endpoint_url: Of an S3 server that is not Amazon's.
        options: Further arguments of the fsspec file system.
    """

    url: str = attrs.field(validator=attrs.validators.instance_of(str))
    job_url: str | None = attrs.field(default=None, validator=_optional_text)
    requirement: str | None = attrs.field(default=None, validator=_optional_text)
    username: str | None = attrs.field(default=None, validator=_optional_text)
    password_env: str | None = attrs.field(default=None, validator=_optional_text)
    token_env: str | None = attrs.field(default=None, validator=_optional_text)
    token_file: str | None = attrs.field(default=None, validator=_optional_text)
    endpoint_url: str | None = attrs.field(default=None, validator=_optional_text)
    options: dict[str, Any] = attrs.field(factory=dict, validator=attrs.validators.instance_of(dict))


def configured_stores(settings: Settings) -> dict[str, StoreSettings]:
    """The ``[store.NAME]`` tables of config.toml, by name.

    Raises:
        SettingsError: A key nobody knows, no `url`, or a value of another type.
    """
    found = {}
    known = [field.name for field in attrs.fields(StoreSettings)]
    for name, table in settings.store.items():
        where = f"{settings.config_file}: [store.{name}]"
        if not isinstance(table, Mapping):
            raise SettingsError(
                f"{where} is not a table", hint=f'write [store.{name}] and below it url = "…"'
            )
        unknown = sorted(set(table) - set(known))
        if unknown:
            raise SettingsError(f"{where} has no key {unknown[0]!r}", hint=f"known keys: {', '.join(known)}")
        try:
            found[name] = StoreSettings(**table)
        except TypeError as error:
            raise SettingsError(f"{where}: {error.args[0]}", hint='every store needs url = "…"') from None
    return found


def _secret(variable: str | None, file: str | None, store: str) -> str | None:
    if variable:
        value = os.environ.get(variable)
        if not value:
            raise SettingsError(
                f"store {store}: the environment variable {variable} is not set", hint=f"export {variable}=…"
            )
        return value.strip()
    if file:
        try:
            return Path(file).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(
                f"store {store}: the token file cannot be read: {error}",
                hint=f"[store.{store}] in config.toml names it",
            ) from None
    return None


def _folder(text: str) -> tuple[Path, SharedFolder | None]:
    path = Path(unquote(urlsplit(text).path) if text.startswith("file:") else text).expanduser().absolute()
    if ".." in path.parts:
        path = path.resolve()  # where it leads out of a link, too
    for candidate in (path, path.resolve()):
        for shared in SHARED_FOLDERS:
            if candidate.is_relative_to(shared.root):
                return candidate, shared
    return path, None


def _folder_store(text: str, entry: StoreSettings) -> Store:
    path, shared = _folder(text)
    requirement = entry.requirement
    job_url = entry.job_url
    if shared is not None:
        requirement = requirement or shared.requirement
        below = path.relative_to(shared.root)
        if job_url is None:
            by_path = bool(below.parts) and below.parts[0] in shared.by_path_only
            job_url = path.as_uri() if by_path else f"{shared.job_url}/{below.as_posix()}".removesuffix("/.")
    return Store(
        backend=FolderBackend(path), job_url=job_url or str(path), folder=path, requirement=requirement
    )


def open_store(location: str | os.PathLike[str], settings: Settings | None = None) -> Store:
    """The store at `location`; nothing is connected to yet.

    Args:
        location: A name from config.toml, a folder, ``file://``, ``s3://``, ``https://`` (WebDAV),
            ``osdf://`` or ``pelican://``.
        settings: What is configured; without, only locations are understood.

    Raises:
        SettingsError: Neither a configured name nor a location, or a configuration that cannot be used.

    >>> open_store("/staging/b/bbadger/envs").job_url
    'osdf:///chtc/staging/b/bbadger/envs'
    >>> open_store("s3://lab-bundles/envs").job_url
    's3://lab-bundles/envs'
    """
    text = os.fspath(location)
    stores = configured_stores(settings) if settings is not None else {}
    entry = stores.get(text) or StoreSettings(url=text)
    url = entry.url
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in {"", "file"}:
        # A word without a slash is a name that is missing from the configuration, not a folder of that name.
        if scheme or "/" in url or url.startswith(("~", ".")):
            return _folder_store(url, entry)
        known = f"configured: {', '.join(sorted(stores))}" if stores else "none is configured"
        raise SettingsError(
            f"no store {text!r} ({known})",
            hint=f"write a folder with a slash (./{text}) or a URL, or add [store.{text}] to config.toml",
        )
    backend = _backend(url, scheme, text, entry, stores)
    return Store(backend=backend, job_url=without_secrets((entry.job_url or backend.url).rstrip("/")))


def open_place(url: str, settings: Settings) -> Store:
    """The store at the address `url`, with the user, token and options of the configured store that it is
    in, if any.

    Raises:
        SettingsError: As `open_store`.
    """
    for entry in configured_stores(settings).values():
        if url == entry.url or url.startswith(f"{entry.url.rstrip('/')}/"):
            at = attrs.evolve(entry, url=url, job_url=None)
            inner = attrs.evolve(settings, store={**settings.store, url: attrs.asdict(at)})
            return open_store(url, inner)
    return open_store(url, settings)


def _backend(
    url: str, scheme: str, label: str, entry: StoreSettings, stores: Mapping[str, StoreSettings]
) -> Backend:
    """What speaks with the server of a store.

    Args:
        url: Its address.
        scheme: The part of it before ``://``.
        label: What the user called it.
        entry: What is configured for it.
        stores: All that are configured.

    Raises:
        SettingsError: Nothing speaks this way, or a secret that is configured cannot be read.
    """
    if scheme == "s3":
        from wingspan.stores.s3 import S3Backend

        return S3Backend(without_secrets(url), endpoint_url=entry.endpoint_url, options=entry.options)
    if scheme in {"https", "http"}:
        from wingspan.stores.webdav import WebdavBackend, bearer_token

        token = _secret(entry.token_env, entry.token_file, label)
        password = _secret(entry.password_env, None, label)
        # The session's token goes only to a store that was configured, and encrypted: not to any address that
        # somebody names.
        if token is None and entry.username is None and scheme == "https" and _is_configured(url, stores):
            token = bearer_token()
        return WebdavBackend(
            url, username=entry.username, password=password, token=token, options=entry.options
        )
    if scheme in {"osdf", "pelican"}:
        from wingspan.stores.osdf import PelicanBackend
        from wingspan.stores.webdav import bearer_token

        token = _secret(entry.token_env, entry.token_file, label) or (
            bearer_token() if scheme == "osdf" or _is_configured(url, stores) else None
        )
        return PelicanBackend(url, token=token, options=entry.options)
    raise SettingsError(
        f"stores of the kind {scheme}:// are not known ({without_secrets(url)})",
        hint="a folder, s3://, https:// (WebDAV), osdf:// or pelican://",
    )


def _is_configured(url: str, stores: Mapping[str, StoreSettings]) -> bool:
    """The server of `url` is one that the configuration names."""

    def server(text: str) -> tuple[str, str | None, int | None]:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname, parts.port

    return any(server(entry.url) == server(url) for entry in stores.values())


def mount_requirement(urls: Iterable[str]) -> str | None:
    """The ClassAd expression for machines that have mounted what these addresses read; None: any machine.

    >>> mount_requirement(["file:///staging/groups/lab/a.tar", "osdf:///chtc/staging/b/bbadger/b.tar"])
    '(TARGET.HasCHTCStaging == true)'
    """
    paths = [Path(unquote(urlsplit(url).path)) for url in urls if url.startswith("file://")]
    return all_of(
        *(
            shared.requirement
            for shared in SHARED_FOLDERS
            if any(path.is_relative_to(shared.root) for path in paths)
        )
    )


def staging_folder(user: str, root: str = "/staging") -> str:
    """A person's folder as CHTC lays them out, ``/staging/<first letter>/<user>``.

    >>> staging_folder("bbadger")
    '/staging/b/bbadger'
    """
    return f"{root}/{user[:1]}/{user}"
