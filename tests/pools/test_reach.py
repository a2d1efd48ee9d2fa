"""What a job with a chirp channel reaches on the access point: its map's folder, and nothing else of its
owner's.
"""

from __future__ import annotations

import pytest

import wingspan
from wingspan.jobs import JobDescription
from wingspan.pools import get_pool
from wingspan.pools.submit_description import submit_description


@pytest.mark.htcondor
def test_a_worker_reaches_its_map_alone(personal_pool, tmp_path, monkeypatch):
    """On a pool that is limited as a site's is, a map works, and its function cannot read or write
    another file of the owner's.
    """
    data = tmp_path / "data"
    data.mkdir()
    (data / "personal-pool").symlink_to(personal_pool.directory)
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(data))
    secret = tmp_path / "secret"
    secret.write_text("private")
    pool = get_pool("personal")
    monkeypatch.setattr(type(pool), "limits_access", True)
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", "0")

    def look(paths):
        from htcondor2.htchirp import HTChirp

        said = []
        for path in paths:
            try:
                with HTChirp() as chirp:
                    said.append(chirp.read(path, 7).decode())
            except Exception as error:
                said.append(type(error).__name__)
            try:
                with HTChirp() as chirp:
                    chirp.write(b"evil", path + ".new", "cw")
            except Exception:
                pass
        return said

    m = wingspan.map(look, [[str(secret)], [str(tmp_path / "data/../secret")]], tag="look", pool="personal")
    try:
        said = list(m)
    finally:
        m.remove(force=True)
    assert all("private" not in one for one in said)
    assert not secret.with_name("secret.new").exists()


def test_what_is_reached_is_named_once(tmp_path):
    """Files in the job's own folder need no entry; those elsewhere have one each, addresses none."""
    job = JobDescription(
        name="x", executable="/bin/true", working_dir=tmp_path, io_proxy=True,
        input_files=(str(tmp_path / "a"), "https://h/b", "/elsewhere/c"),
    )  # fmt: skip
    text = submit_description(job, limits_access=True)
    reached = ",".join(sorted(("/elsewhere/c*", f"{tmp_path}*")))
    assert f'MY.LimitDirectoryAccess = "{reached}"' in text
    assert "LimitDirectoryAccess" not in submit_description(job)
