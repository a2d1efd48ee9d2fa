"""From names, folders and URLs to stores; and how a bundle of some size gets to the job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from wingspan.errors import SettingsError
from wingspan.settings import Settings, load_settings
from wingspan.stores import Route, SizeLimits, StoreError, choose_route, open_store, place, staging_folder
from wingspan.stores.locations import SHARED_FOLDERS, SharedFolder
from wingspan.stores.webdav import bearer_token

GB = 10**9


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    return load_settings()


@pytest.mark.parametrize(
    ("location", "job_url"),
    [
        ("/staging/b/bbadger", "osdf:///chtc/staging/b/bbadger"),
        ("/staging/b/bbadger/", "osdf:///chtc/staging/b/bbadger"),
        ("file:///staging/b/bbadger/envs", "osdf:///chtc/staging/b/bbadger/envs"),
        ("/staging/groups/lab/envs", "file:///staging/groups/lab/envs"),
        ("/staging", "osdf:///chtc/staging"),
        ("/stagingareas/x", "/stagingareas/x"),
        ("/ospool/ap20/data/bbadger", "osdf:///ospool/ap20/data/bbadger"),
        ("s3://bucket/envs/", "s3://bucket/envs"),
        ("https://dav.example.org/envs", "https://dav.example.org/envs"),
        ("osdf:///chtc/staging/b/bbadger", "osdf:///chtc/staging/b/bbadger"),
    ],
)
def test_what_jobs_see(location: str, job_url: str) -> None:
    """Each place has the address that a job on another machine must use for it."""
    assert open_store(location).job_url == job_url


def test_staging_folder_has_the_first_letter() -> None:
    """CHTC's folders are sorted by the first letter of the user's name."""
    assert staging_folder("bbadger") == "/staging/b/bbadger"


def test_a_link_into_a_shared_folder_counts_as_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbolic link in the home folder that leads into the site's shared folder gets the site's address."""
    import wingspan.stores.locations as locations

    staging = tmp_path / "staging"
    (staging / "b" / "bbadger").mkdir(parents=True)
    (tmp_path / "mine").symlink_to(staging / "b" / "bbadger")
    site = SharedFolder(root=staging, job_url="osdf:///site/staging", requirement="HasIt")
    monkeypatch.setattr(locations, "SHARED_FOLDERS", (*SHARED_FOLDERS, site))
    assert open_store(tmp_path / "mine").job_url == "osdf:///site/staging/b/bbadger"


def test_a_configured_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[store.NAME] gives a place a name, and jobs their own address of it."""
    settings = configured(
        tmp_path, monkeypatch, '[store.lab]\nurl = "/data/envs"\njob_url = "https://data.example.org/envs/"\n'
    )
    store = open_store("lab", settings)
    assert (store.url, store.job_url) == ("/data/envs", "https://data.example.org/envs/")


def test_an_unknown_name_lists_the_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that is no configured store is not taken for a folder."""
    settings = configured(tmp_path, monkeypatch, '[store.lab]\nurl = "/data/envs"\n')
    with pytest.raises(SettingsError, match=r"no store 'labb' \(configured: lab\)"):
        open_store("labb", settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[store.lab]\nurl = "/d"\npassword = "x"\n', "no key 'password'"),
        ("[store.lab]\n", r"\[store.lab\]"),
        ("[store.lab]\nurl = 3\n", r"\[store.lab\]"),
        ("[store]\nlab = 3\n", "is not a table"),
        ('[store.lab]\nurl = "gopher://x/"\n', "gopher"),
        (
            '[store.lab]\nurl = "https://x/"\npassword_env = "NOT_SET_ANYWHERE"\n',
            "NOT_SET_ANYWHERE is not set",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    """Mistakes in [store.NAME] are named, secrets in the file among them."""
    settings = configured(tmp_path, monkeypatch, text)
    with pytest.raises(SettingsError, match=message):
        open_store("lab", settings)


def test_the_token_is_looked_for_as_wlcg_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BEARER_TOKEN comes before BEARER_TOKEN_FILE."""
    (tmp_path / "token").write_text("from-the-file\n")
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "token"))
    assert bearer_token() == "from-the-file"
    monkeypatch.setenv("BEARER_TOKEN", "from-the-variable")
    assert bearer_token() == "from-the-variable"


@pytest.mark.parametrize(
    ("size", "route"),
    [(0, "transfer"), (GB - 1, "transfer"), (GB, "url"), (30 * GB, "url"), (30 * GB + 1, "filesystem")],
)
def test_the_route_by_size(size: int, route: str) -> None:
    """Below 1 GB plain transfer, up to 30 GB by URL, above the file system."""
    assert choose_route(size).value == route


def published(folder: str, size: int, name: str = "env-b8dd14a4.sif"):  # type: ignore[no-untyped-def]
    from wingspan.stores import ContentName

    store = open_store(folder)
    return store, store._object(ContentName.parse(name), size, "b8dd14a4" + 56 * "0")


def test_small_goes_by_plain_transfer() -> None:
    """400 MB are sent from the access point's disk."""
    placed = place(400 * 10**6, local=Path("/home/b/env-b8dd14a4.sif"))
    assert (placed.route, placed.source) == (Route.TRANSFER, "/home/b/env-b8dd14a4.sif")
    assert placed.requirements is None
    assert placed.warning is None


def test_middle_goes_through_osdf() -> None:
    """4 GB published to /staging come to the job by osdf://."""
    store, found = published("/staging/b/bbadger", 4 * GB)
    placed = place(4 * GB, local=Path("/home/b/env-b8dd14a4.sif"), store=store, published=found)
    assert placed.source == "osdf:///chtc/staging/b/bbadger/env-b8dd14a4.sif"
    assert placed.requirements is None


def test_large_comes_from_the_file_system_with_its_requirement() -> None:
    """40 GB are read from /staging itself, on machines that have it."""
    store, found = published("/staging/b/bbadger", 40 * GB)
    placed = place(40 * GB, store=store, published=found)
    assert placed.source == "file:///staging/b/bbadger/env-b8dd14a4.sif"
    assert placed.requirements == "(TARGET.HasCHTCStaging == true)"


def test_large_where_no_machine_has_the_file_system() -> None:
    """40 GB in a place that jobs only reach by URL come by URL, with a warning."""
    store, found = published("/ospool/ap20/data/bbadger", 40 * GB)
    placed = place(40 * GB, store=store, published=found)
    assert placed.source == "osdf:///ospool/ap20/data/bbadger/env-b8dd14a4.sif"
    assert placed.warning is not None


def test_the_user_may_choose() -> None:
    """An explicit route wins over the size."""
    store, found = published("/staging/b/bbadger", 100)
    assert place(100, store=store, published=found, route=Route.FILESYSTEM).route is Route.FILESYSTEM
    assert place(100, store=store, published=found, route=Route.URL).source.startswith("osdf://")


def test_a_choice_that_cannot_be_had() -> None:
    """Asking for a URL of what is not published is an error, not a silent plain transfer."""
    with pytest.raises(StoreError, match="not published"):
        place(100, local=Path("/x/env.sif"), route=Route.URL)


def test_large_without_a_store_is_sent_with_a_warning() -> None:
    """4 GB that are published nowhere go by plain transfer, and the user is told what that means."""
    placed = place(4 * GB, local=Path("/home/b/env.sif"))
    assert placed.route is Route.TRANSFER
    assert placed.warning is not None
    assert "publish" in placed.warning


def test_a_site_with_other_limits() -> None:
    """A site's own limits decide."""
    assert choose_route(200, SizeLimits(transfer=100, url=150)) is Route.FILESYSTEM


def _asked(location: str, config: dict[str, Any], tmp_path: Path) -> str | None:
    """The token that the store at `location` would send."""
    settings = Settings(data_dir=tmp_path, cache_dir=tmp_path, config_dir=tmp_path, store=config)
    token: str | None = open_store(location, settings).backend._token  # type: ignore[attr-defined]
    return token


def test_the_session_s_token_goes_to_configured_servers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent encrypted, and to servers that the configuration names; not to any address that somebody
    gives.
    """
    monkeypatch.setenv("BEARER_TOKEN", "hush")
    config = {"lab": {"url": "https://dav.example.org/envs"}, "old": {"url": "http://dav.example.org/envs"}}
    assert _asked("lab", config, tmp_path) == "hush"
    assert _asked("https://dav.example.org/others", config, tmp_path) == "hush"
    for location in (
        "https://evil.example.org/",
        "https://dav.example.org:8443/",
        "http://127.0.0.1:9999/",
        "old",
    ):
        assert _asked(location, config, tmp_path) is None
    assert _asked("https://dav.example.org/others", {}, tmp_path) is None


def test_secrets_are_not_sent_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token or a password for an http:// address of another machine is an error."""
    monkeypatch.setenv("T", "hush")
    for table in ({"token_env": "T"}, {"username": "me", "password_env": "T"}):
        settings = Settings(
            data_dir=tmp_path,
            cache_dir=tmp_path,
            config_dir=tmp_path,
            store={"a": {"url": "http://h/", **table}},
        )
        with pytest.raises(SettingsError, match="in the clear"):
            open_store("a", settings)
    with pytest.raises(SettingsError, match="in the clear") as caught:
        open_store("http://me:hush@h/envs")
    assert "hush" not in str(caught.value)


def test_a_password_in_an_address_is_used_and_not_shown() -> None:
    """User and password go to the server, and nowhere else: not into errors, nor into the address that
    jobs get.
    """
    store = open_store("https://me:s%40cret@dav.example.org/envs")
    assert store.backend._auth == ("me", "s@cret")  # type: ignore[attr-defined]
    assert store.job_url == "https://dav.example.org/envs"
    assert store.backend.url == "https://dav.example.org/envs"


def test_a_link_in_tmp_is_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that anybody may write to, a link to a file of ours is not read."""
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "secret").write_text("private")
    (tmp_path / f"bt_u{os.getuid()}").symlink_to("secret")
    assert bearer_token() != "private"
