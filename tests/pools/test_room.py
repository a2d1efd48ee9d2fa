"""The room that quotas leave: asked for in the way that a profile names, and foreseen before anything is
written. The programs are fakes that print what the sites' pages show; statvfs is real.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import wingspan
from wingspan.errors import OnAccessPoint
from wingspan.pools.profiles import QuotaExceeded, chosen_profile, load_profile, rooms
from wingspan.pools.profiles import _room as room_module
from wingspan.settings import load_settings

#: What each program prints, with @ for the folder.
_FAKES = {
    "quota": """Disk quotas for user badger (uid 20384):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
/  1 1 1 0 1 0 0 0
@  16852058*  41943040  52428800  0  8039  0  9000  0
""",
    "lfs": """     @
                16852058*  41943040  52428800       -    8039       0  9000       -
""",
    "get_quotas": """Path              Disk_Used(GB)  Disk_Limit(GB)  Files_Used  File_Limit
/home/other  1 2 3 N/A
@        16.0714        50              8039        9000
""",
    "fs": """Volume Name                    Quota       Used %Used   Partition
user.badger                 52428800   16852058   32%         12%
""",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that tell quotas of this home."""
    folder, programs = tmp_path / "home", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    for name, text in _FAKES.items():
        program = programs / name
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{text.replace('@', str(folder))}END\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setattr(room_module, "_known", {})
    return folder


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config/config.toml").write_text(text)
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))


def lab(way: str, *more: str) -> str:
    rest = "\n".join(more)
    return f'[profile.lab]\nhosts = ["*"]\n{rest}\n[profile.lab.quota.home]\nfolder = "{{home}}"\nask = "{way}"\n'


@pytest.mark.parametrize("way", ["quota", "lfs", "get_quotas", "fs"])
def test_a_quota_is_asked_for(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """What is used and allowed is read of each program's own form."""
    configured(tmp_path, monkeypatch, lab(way))
    (room,) = rooms(chosen_profile(None))
    assert (room.asked, room.limit) == (way, 50 << 30)
    assert room.used is not None
    assert room.used >> 20 == 16457
    assert (room.items_used, room.items_limit) == ((0, None) if way == "fs" else (8039, 9000))
    assert "GB left of 53.7 GB" in room.text()


def test_without_its_program_the_profile_and_the_disk_tell(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the program is missing, the site's usual quota and the room on the disk are told."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    configured(tmp_path, monkeypatch, lab("quota") + 'size = "40 GB"\n')
    (room,) = rooms(chosen_profile(None))
    assert (room.limit, room.used, room.asked) == (40 * 10**9, None, "the profile")
    assert room.free
    (room,) = rooms(load_profile("generic"))
    assert (room.limit, room.asked) == (None, "statvfs")


def test_a_quota_that_would_be_exceeded_is_foreseen(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs of a run and of a map that are larger than what is left are refused before anything is written,
    and the error says by how much.
    """
    configured(tmp_path, monkeypatch, lab("get_quotas"))
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(home / "data"))
    (home.parent / "programs/get_quotas").write_text(f"#!/bin/sh\necho {home} 1 1.05 10 N/A\n")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100 << 20)  # a hole: it takes no room
    with pytest.raises(QuotaExceeded, match=r"inputs of the run .* 51 MB too little"):
        wingspan.run(["true"], inputs=[str(large)], pool="local")
    with pytest.raises(QuotaExceeded, match=r"51 MB too little"):
        wingspan.map(abs, [-1], pool="local", options=wingspan.Options(input_files=[str(large)]))
    assert not list((home / "data").glob("*/[!.]*"))
    with pytest.raises(QuotaExceeded, match=r"the disk of .* too little"):
        room_module.check_disk(load_profile("generic"), home, 1 << 60, "the bundle")


def test_items_count_too(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder may hold so many files: more are refused, whatever their size."""
    configured(tmp_path, monkeypatch, lab("get_quotas"))
    site = chosen_profile(None)
    room_module.check_disk(site, home, 70 << 20, "the files", items=961)
    with pytest.raises(QuotaExceeded, match=r"1,000 more in .* 39 too many"):
        room_module.check_disk(site, home, 70 << 20, "the files", items=1000)


@pytest.mark.parametrize("numbers", ["nan 1 1 1", "1 inf 1 1", "1 1e999 1 1", "x 1 1 1"])
def test_a_program_that_tells_no_numbers(
    numbers: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no number of bytes is no answer: what the disk says holds."""
    configured(tmp_path, monkeypatch, lab("get_quotas"))
    (home.parent / "programs/get_quotas").write_text(f"#!/bin/sh\necho {home} {numbers}\n")
    monkeypatch.setattr(room_module, "_known", {})
    assert [room.used for room in room_module.rooms(chosen_profile(None))] == [None]


def test_a_store_that_another_machine_writes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that wants files to get into its store through one machine: an access point publishes nothing
    there and says how, and what was brought there is found.
    """
    from wingspan.delivery.publishing import publish_bundle
    from wingspan.stores import open_store

    staging = tmp_path / "staging"
    rules = f'is_access_point = true\nstaging = "{staging}/{{user}}"\ntransfer_host = "transfer.example.org"'
    configured(tmp_path, monkeypatch, lab("quota", *rules.splitlines()))
    for name in ("_CONDOR_JOB_AD", "_CONDOR_SCRATCH_DIR", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    (staging / "b").mkdir(parents=True)
    bundle = tmp_path / "mine.sif"
    bundle.write_bytes(b"an image")
    store = open_store(str(staging / "b"), load_settings())
    with pytest.raises(OnAccessPoint, match=r"through transfer\.example\.org") as caught:
        publish_bundle(store, bundle)
    hint: Any = caught.value.hint
    target = hint.split("transfer.example.org:")[1].split(";")[0]
    Path(target).write_bytes(b"an image")
    assert publish_bundle(store, bundle).url == target
