"""Tokens and tickets that HTCondor's own daemons keep for jobs: a credd and two credmons on a personal pool.

Facts: HTCondor's manual, "Self-Issued SciTokens" (``LOCAL_CREDMON_*``) and "Enabling the Fetching and Use of
Kerberos Tickets" (``SEC_CREDENTIAL_PRODUCER``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from _engines import disk
from _own_folders import data_dir
from _waiting import PATIENCE
from wingspan.pools.personal import Installation, PersonalPool, install

__all__ = ["data_dir"]

pytestmark = pytest.mark.htcondor


@attrs.frozen
class KeepingPool:
    """A pool whose access point keeps credentials.

    Attributes:
        pool: The pool.
        tokens: Where its credd has tokens (OAuth2), a folder for each user.
        tickets: Where it has tickets (Kerberos).
    """

    pool: PersonalPool
    tokens: Path
    tickets: Path


@pytest.fixture(scope="module")
def keeping_pool() -> Iterator[KeepingPool]:
    """A personal pool with condor_credd, the credmon that signs tokens, and the one that keeps tickets."""
    pytest.importorskip("scitokens", reason="scitokens needs Python 3.11")
    condor = install()
    for program in ("condor_credd", "condor_credmon_oauth", "condor_credmon_krb"):
        if not (condor.sbin / program).exists():
            pytest.skip(f"this HTCondor has no {program}")
    folder = Path(tempfile.mkdtemp(prefix="wingspan-credd-", dir=disk()))
    pool = PersonalPool(folder / "pool", cpus=1, settings=_settings(folder, condor))
    try:
        pool.start()
        yield KeepingPool(pool, folder / "tokens", folder / "tickets")
    finally:
        pool.stop(timeout=1)  # condor_credmon_krb is a script that does not heed the master
        shutil.rmtree(folder, ignore_errors=True)


def _settings(folder: Path, condor: Installation) -> dict[str, str]:
    folder.chmod(0o755)  # daemons that are not root's read the key
    for name in ("tokens", "tickets"):
        (folder / name).mkdir()
        (folder / name).chmod(0o2770)
    key = folder / "key.pem"
    _make_key(key)
    # HTCondor's own script, with a Python that has what it imports.
    credmon = folder / "credmon"
    credmon.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{condor.sbin}/condor_credmon_oauth" "$@"\n')
    credmon.chmod(0o755)
    return {
        "DAEMON_LIST": "MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD CREDD CREDMON_OAUTH CREDMON_KRB",
        "CREDD": "$(SBIN)/condor_credd",
        "CREDD_HOST": "$(CONDOR_HOST)",
        "CREDD_ADDRESS_FILE": "$(LOG)/.credd_address",
        "ALLOW_ADVERTISE_CREDD": "$(OWNER_OF_THIS_POOL)",
        "SEC_DEFAULT_ENCRYPTION": "REQUIRED",
        "CREDMON_OAUTH": str(credmon),
        "CREDMON_OAUTH_LOG": "$(LOG)/CredMonOAuthLog",
        "SEC_CREDENTIAL_DIRECTORY_OAUTH": str(folder / "tokens"),
        "TRUST_CREDENTIAL_DIRECTORY": "True",
        "LOCAL_CREDMON_PRIVATE_KEY": str(key),
        "LOCAL_CREDMON_PROVIDER_NAME": "scitokens",
        "LOCAL_CREDMON_ISSUER": "https://site.example.org",
        "LOCAL_CREDMON_TOKEN_AUDIENCE": "https://storage.example.org",
        "CREDMON_KRB": "$(SBIN)/condor_credmon_krb",
        "SEC_CREDENTIAL_DIRECTORY_KRB": str(folder / "tickets"),
    }


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    text = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path.write_bytes(text)
    path.chmod(0o644)


def _submit(keeping_pool: KeepingPool, program: str, **environment: str) -> str:
    """What a program prints that maps on the pool."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **keeping_pool.pool.environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_component_has_the_token_that_the_site_signs(keeping_pool: KeepingPool) -> None:
    """The token is made before the map is submitted, and is with each component in ``_CONDOR_CREDS``; no file
    of the map has it.
    """
    program = f"""
import wingspan

def claims_of_token(x):
    import base64, json, os
    with open(os.path.join(os.environ["_CONDOR_CREDS"], "scitokens.use")) as file:
        claims = json.load(file)["access_token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=="))

m = wingspan.map(claims_of_token, [1], pool="htcondor", tag="tokens",
                 options=wingspan.Options(submit={{"use_oauth_services": "scitokens"}}))
m.wait({PATIENCE})
print(m[0]["iss"], m[0]["aud"])
# A token is written in base64: its text begins with that of '{{"'.
print([str(path) for path in m.path.rglob("*") if path.is_file() and b"eyJ" in path.read_bytes()])
"""
    assert _submit(keeping_pool, program).splitlines() == [
        "https://site.example.org ['https://storage.example.org']",
        "[]",
    ]
    kept = [path.name for path in keeping_pool.tokens.glob("*/scitokens.*")]
    assert sorted(kept) == ["scitokens.top", "scitokens.use"]


def test_the_ticket_of_the_sites_producer_is_kept_before_a_map_is_submitted(
    keeping_pool: KeepingPool, tmp_path: Path
) -> None:
    """Kerberos: the credd has what the producer printed, the jobs ask for it, and the map's folder has it
    not. No job starts here: a starter that is not root's cannot take a ticket (HTCondor 25.14 crashes).
    """
    producer = tmp_path / "producer"
    producer.write_text("#!/bin/sh\nprintf a-secret-ticket\n")
    producer.chmod(0o755)
    program = """
import wingspan
m = wingspan.map(abs, [1], pool="htcondor", tag="tickets", options=wingspan.Options(submit={"hold": True}))
import htcondor2
print([ad.eval("SendCredential") for ad in htcondor2.Schedd().query("JobStatus == 5", ["SendCredential"])])
print([str(path) for path in m.path.rglob("*") if path.is_file() and b"a-secret-ticket" in path.read_bytes()])
m.remove()
"""
    said = _submit(keeping_pool, program, _CONDOR_SEC_CREDENTIAL_PRODUCER=str(producer))
    assert said.splitlines() == ["[True]", "[]"]
    (ticket,) = keeping_pool.tickets.glob("*.cred")
    assert ticket.read_text() == "a-secret-ticket"
    assert ticket.with_suffix(".cc").exists(), "the credmon has looked at it"
