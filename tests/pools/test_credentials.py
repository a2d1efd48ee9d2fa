"""What jobs authenticate with is given to the access point before they are submitted, as condor_submit
does it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wingspan.errors import SubmitError
from wingspan.pools.credentials import check_credentials, credentials_here, expired_tokens
from wingspan.pools.personal import PersonalPool

_SUBMIT = """\
import sys, wingspan
try:
    m = wingspan.map(abs, [-1], pool="htcondor", tag="c")
except wingspan.SubmitError as error:
    print("refused:", error.message)
else:
    print("output:", m[0])
"""


@pytest.mark.htcondor
@pytest.mark.parametrize("works", [True, False])
def test_the_sites_producer_is_asked_before_jobs_are_submitted(
    tmp_path: Path, personal_pool: PersonalPool, works: bool
) -> None:
    """The program that a site configures for its tickets (SEC_CREDENTIAL_PRODUCER) is executed; where it
    fails, nothing is submitted.
    """
    producer = tmp_path / "producer"
    producer.write_text(f"#!/bin/sh\necho asked >>{tmp_path}/asked\necho ticket\nexit {0 if works else 7}\n")
    producer.chmod(0o755)
    environment = {**os.environ, **personal_pool.environment()}
    environment["_CONDOR_SEC_CREDENTIAL_PRODUCER"] = str(producer)
    done = subprocess.run(
        [sys.executable, "-c", _SUBMIT], env=environment, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "asked").read_text() == "asked\n"
    # The personal pool has no credd that would keep it.
    assert "refused: the credentials of the jobs cannot be issued" in done.stdout, done.stdout + done.stderr
    assert not list((Path(os.environ["WINGSPAN_DATA_DIR"]) / "maps").glob("[!.]*"))


@pytest.mark.htcondor
def test_without_a_producer_nobody_is_asked(personal_pool: PersonalPool) -> None:
    """Most sites need no credentials: jobs are submitted as ever."""
    environment = {**os.environ, **personal_pool.environment()}
    done = subprocess.run(
        [sys.executable, "-c", _SUBMIT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "output: 1\n", done.stderr


#: A certificate that was valid on the first of January 2020, and no longer.
_EXPIRED = """\
-----BEGIN CERTIFICATE-----
MIIBADCBpgIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAF4MB4XDTIwMDEwMTAw
MDAwMFoXDTIwMDEwMjAwMDAwMFowDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEG
CCqGSM49AwEHA0IABDFBgmbClgzTels0/0OaffkEEj/lm5CnwNT8anzoOuxeEnN7
MxHgOSO7MO8OJvLAEb+mHae3nsGbQeZJ0yO1VQUwCgYIKoZIzj0EAwIDSQAwRgIh
AMtShwKYZ0hhwTCWvBmPTzUok/udbhAwLJCMD8EkKoIZAiEAjqkPQNINwUImNXza
o6zNYL5mnp9Ko4IyB0tX9jD4/R8=
-----END CERTIFICATE-----
"""
#: One that will be valid on the first of January 2099, and not before.
_NOT_YET = """\
-----BEGIN CERTIFICATE-----
MIIBBDCBqgIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAF4MCIYDzIwOTkwMTAx
MDAwMDAwWhgPMjA5OTAxMDIwMDAwMDBaMAwxCjAIBgNVBAMMAXgwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAASu9gD1uWG3ljlQScEH9FxxQu7bB8oxbE9S6GSsgEgn
GHv8Ahu8aZYL8/14C/YLRj1DgdZHpgclB7y65QpHTyXnMAoGCCqGSM49BAMCA0kA
MEYCIQDdB1tECczjZYUyTU6eKftSY8YUW3VAjCoP066R5V87CAIhALqR2UpsNN11
diGy6cmJFZ1ecxlkHMipQ5PwoE9Y9zoV
-----END CERTIFICATE-----
"""


def _token(expires: float, **claims: float) -> str:
    """A token that says when it ends, as a site's server signs it."""
    parts = [{"alg": "none"}, {"exp": expires, "sub": "me", **claims}]
    texts = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts]
    return ".".join([*texts, "c2VjcmV0LXNpZ25hdHVyZQ"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without credentials."""
    for name in (
        "BEARER_TOKEN",
        "BEARER_TOKEN_FILE",
        "X509_USER_PROXY",
        "_CONDOR_SEC_TOKEN_DIRECTORY",
        "KRB5CCNAME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("commands", "said", "hint"),
    [
        (
            {"use_x509userproxy": "true", "x509userproxy": "{home}/proxy"},
            "has expired on 2020-01-0",
            "voms-proxy-init",
        ),
        ({"x509userproxy": "{home}/early"}, "is valid from .* only .the clock here says", "voms-proxy-init"),
        ({"x509userproxy": "{home}/none"}, "is not there", "voms-proxy-init"),
        ({"use_scitokens": "true"}, "is not set", "htgettoken"),
        ({"scitokens_file": "{home}/token"}, "has expired on ", "htgettoken"),
        ({"MY.SendCredential": "True"}, "there is none that is valid", "kinit"),
    ],
)
def test_what_has_expired_is_found_out_before_jobs_are_submitted(
    home: Path, monkeypatch: pytest.MonkeyPatch, commands: dict[str, str], said: str, hint: str
) -> None:
    """The error says which credential, since when, and how to get a new one; nothing secret stands in it."""
    (home / "proxy").write_text(_EXPIRED)
    (home / "early").write_text(_NOT_YET)
    (home / "token").write_text(_token(time.time() - 60))
    klist = home / "klist"
    klist.write_text("#!/bin/sh\nexit 1\n")
    klist.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    with pytest.raises(SubmitError, match=said) as caught:
        check_credentials({name: value.format(home=home) for name, value in commands.items()})
    assert hint in str(caught.value.hint)
    assert "secret" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (3600, 7200, "is valid from 20.* on only .the clock here says 20.*: the clock of one of the two"),
        (-3600, -5, "has expired on 20.* .the clock here says 20"),
        (60, 3600, None),
    ],
)
@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_clock_that_is_wrong_by_an_hour_is_told_of(
    home: Path, claim: str, begins: float, ends: float, said: str | None
) -> None:
    """A fresh token that is not valid yet, or not any more, says what time it is here; a minute hinders
    nobody.
    """
    now = time.time()
    (home / "token").write_text(_token(now + ends, **{claim: now + begins}))
    if said is None:
        check_credentials({"scitokens_file": f"{home}/token"})
    else:
        with pytest.raises(SubmitError, match=said):
            check_credentials({"scitokens_file": f"{home}/token"})


def test_what_is_valid_is_shown_and_hinders_nobody(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that ends tomorrow, and one that no program but the server can read, are no reason to refuse;
    doctor's list has the time of the end, and nothing secret.
    """
    tokens = home / ".condor" / "tokens.d"
    tokens.mkdir(parents=True)
    (tokens / "pool").write_text(_token(time.time() - 60))
    assert "has expired on" in str(expired_tokens())
    (tokens / "site").write_text(_token(time.time() + 86400))
    assert expired_tokens() is None
    monkeypatch.setenv("BEARER_TOKEN", "opaque-secret")
    check_credentials({"use_scitokens": "true", "executable": "/bin/true"})
    found = credentials_here()
    assert [one.kind for one in found] == ["token", "HTCondor token", "HTCondor token"]
    assert [one.problem is None for one in found] == [True, False, True]
    assert all("secret" not in repr(one) and "c2VjcmV0" not in repr(one) for one in found)


@pytest.mark.htcondor
def test_jobs_that_need_an_expired_proxy_are_not_submitted(home: Path, personal_pool: PersonalPool) -> None:
    """The map of a site's pool is refused, and nothing of it is left."""
    (home / "proxy").write_text(_EXPIRED)
    environment = {**os.environ, **personal_pool.environment(), "X509_USER_PROXY": str(home / "proxy")}
    script = _SUBMIT.replace(
        'tag="c"', 'tag="c", options=wingspan.Options(submit={"use_x509userproxy": True})'
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "refused: the jobs need your X.509 proxy" in done.stdout, done.stdout + done.stderr
    assert not list((Path(os.environ["WINGSPAN_DATA_DIR"]) / "maps").glob("[!.]*"))
