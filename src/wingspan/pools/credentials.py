"""What jobs and their access point authenticate with: whether it is here, and until when it is valid.

An expired proxy or token would be found out hours later, when a job needs it. So they are looked at before
anything is submitted, and `wingspan doctor` shows them. Nothing secret is kept or shown: of a credential, its
place and the time of its end.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import SubmitError

if TYPE_CHECKING:
    from htcondor2 import Submit

__all__ = ["Credential", "check_credentials", "credentials_here", "expired_tokens", "issue_credentials"]

#: Seconds that a program gets to say until when something is valid.
_PATIENCE = 30
#: Clocks of two machines may differ by so much: that is no reason to refuse anything.
_CLOCKS_DIFFER = timedelta(minutes=2)
#: What has expired within this time may be fresh, and a clock wrong.
_LATELY = timedelta(days=1)
#: The largest file that can be a token (bytes).
_LARGEST = 1 << 20


@attrs.frozen(kw_only=True)
class Credential:
    """Something to authenticate with.

    Attributes:
        kind: ``"X.509 proxy"``, ``"Kerberos ticket"``, ``"token"`` or ``"HTCondor token"``.
        place: Where it is: a file, or an environment variable.
        expires: When it ends; None: it does not say, or nobody here can tell.
        problem: Why it cannot be used; None: nothing is known against it.
        renew: What the user does about it.
    """

    kind: str
    place: str
    expires: datetime | None = None
    problem: str | None = None
    renew: str

    @property
    def text(self) -> str:
        """In a line, for people."""
        if self.problem is not None:
            return f"{self.problem}: {self.renew}"
        return "is here" if self.expires is None else f"valid until {_moment(self.expires)}"


def _moment(when: datetime) -> str:
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def _untimely(begins: datetime | None, expires: datetime | None) -> str | None:
    """What is wrong with a credential that is valid from `begins` to `expires`; None: it is valid now.

    A fresh one that has expired, or is not valid yet, tells of a clock that is wrong, here or where it was
    made: so the clock here is told, too.
    """
    now = datetime.now(timezone.utc)
    clock = f"the clock here says {_moment(now)}"
    if begins is not None and begins - now > _CLOCKS_DIFFER:
        return f"is valid from {_moment(begins)} on only ({clock}: the clock of one of the two machines is wrong)"
    if expires is None or expires > now:
        return None
    return f"has expired on {_moment(expires)}" + (f" ({clock})" if now - expires < _LATELY else "")


# -- X.509 proxies -------------------------------------------------------------------------------------------

_RENEWING_PROXY = "make a new one (voms-proxy-init, or grid-proxy-init)"


def _proxy_file() -> str:
    """Where HTCondor, too, looks for the user's proxy."""
    return os.environ.get("X509_USER_PROXY") or f"/tmp/x509up_u{os.getuid()}"  # noqa: S108 - Globus's place for it


def _proxy(place: str) -> Credential:
    found = Credential(kind="X.509 proxy", place=place, renew=_RENEWING_PROXY)
    if not os.access(place, os.R_OK):
        return attrs.evolve(found, problem="is not there, or cannot be read")
    program = shutil.which("openssl")
    if program is None:
        return found
    said = _say([program, "x509", "-in", place, "-noout", "-startdate", "-enddate"])
    try:
        # notBefore=Nov 30 06:26:40 2026 GMT, and a line with notAfter=
        begins, expires = (
            datetime.strptime(line.partition("=")[2], "%b %d %H:%M:%S %Y GMT").replace(tzinfo=timezone.utc)
            for line in (said or "").splitlines()
        )
    except ValueError:
        return attrs.evolve(found, problem="is no certificate")
    return attrs.evolve(found, expires=expires, problem=_untimely(begins, expires))


def _say(command: list[str]) -> str | None:
    """What a program prints; None if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


# -- tokens --------------------------------------------------------------------------------------------------


def _token(kind: str, place: str, text: str, renew: str) -> Credential:
    """What a JSON Web Token says of itself (RFC 7519: ``exp``, ``nbf``, ``iat``); its signature is for the
    server to check.
    """
    found = Credential(kind=kind, place=place, renew=renew)
    parts = text.strip().split(".")
    if len(parts) != 3:
        return found  # another kind of token: only the server knows
    with contextlib.suppress(ValueError, OverflowError, OSError):
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        if isinstance(claims, dict):
            expires, *begins = (_time_of(claims, name) for name in ("exp", "nbf", "iat"))
            first = max((one for one in begins if one is not None), default=None)
            return attrs.evolve(found, expires=expires, problem=_untimely(first, expires))
    return found


def _time_of(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    return datetime.fromtimestamp(value, timezone.utc) if isinstance(value, int | float) else None


def _read(path: str | Path) -> str | None:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(_LARGEST).strip()
    except (OSError, UnicodeDecodeError):
        return None


_RENEWING = "get a new one (htgettoken, or what your site has)"


def _session_token(file: str | None = None) -> Credential | None:
    """The bearer token of this session, or the one in `file`; None: there is none."""
    from wingspan.stores.webdav import bearer_token_place

    if file is not None:
        text = _read(file)
        if text is None:
            missing = Credential(kind="token", place=file, renew=_RENEWING)
            return attrs.evolve(missing, problem="is not there, or cannot be read")
        return _token("token", file, text, _RENEWING)
    found = bearer_token_place()
    return None if found is None else _token("token", *found, _RENEWING)


def _condor_tokens() -> list[Credential]:
    """The tokens by which the user's programs authenticate with HTCondor's daemons (IDTOKENS)."""
    folder = Path(os.environ.get("_CONDOR_SEC_TOKEN_DIRECTORY") or Path.home() / ".condor" / "tokens.d")
    found = []
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            for line in (_read(path) or "").splitlines():
                if line and not line.startswith("#"):
                    renew = "get a new one (condor_token_request, or condor_token_create by an administrator)"
                    found.append(_token("HTCondor token", str(path), line, renew))
    return found


def expired_tokens() -> str | None:
    """What to say of HTCondor's tokens where a daemon refuses us: None unless all of them have expired."""
    found = _condor_tokens()
    if not found or not all(one.problem for one in found):
        return None
    return f"your token {found[-1].place} {found[-1].text}"


# -- Kerberos ------------------------------------------------------------------------------------------------


def _ticket() -> Credential | None:
    """The user's Kerberos ticket; None: this machine has no Kerberos."""
    program = shutil.which("klist")
    if program is None:
        return None
    place = os.environ.get("KRB5CCNAME") or "the default cache"
    found = Credential(kind="Kerberos ticket", place=place, renew="log in again: kinit")
    if _say([program, "-s"]) is None:
        return attrs.evolve(found, problem="there is none that is valid")
    return found


# -- together ------------------------------------------------------------------------------------------------


def credentials_here() -> list[Credential]:
    """All credentials of this user that are found here, also those that have expired."""
    found = [_proxy(_proxy_file())] if Path(_proxy_file()).exists() else []
    token, ticket = _session_token(), _ticket()
    found += [token] if token is not None else []
    found += [ticket] if ticket is not None and (ticket.problem is None or "KRB5CCNAME" in os.environ) else []
    return [*found, *_condor_tokens()]


def check_credentials(commands: Mapping[str, Any]) -> None:
    """See that what jobs are to authenticate with is valid now.

    Args:
        commands: Their submit description.

    Raises:
        SubmitError: Something is missing, or has expired; nothing was submitted.
    """
    said = {
        name.lower().removeprefix("+").removeprefix("my."): str(value).strip()
        for name, value in commands.items()
    }
    # Another place for each job ($(Process)) is not looked at.
    said = {name: value for name, value in said.items() if name not in _PLACES or "$(" not in value}
    wanted: list[Credential | None] = []
    if said.get("x509userproxy") or _is_true(said.get("use_x509userproxy")):
        wanted.append(_proxy(_unquoted(said.get("x509userproxy")) or _proxy_file()))
    if said.get("scitokens_file") or _is_true(said.get("use_scitokens")):
        token = _session_token(_unquoted(said.get("scitokens_file")))
        missing = Credential(kind="token", place="BEARER_TOKEN", problem="is not set", renew=_RENEWING)
        wanted.append(token or missing)
    if _is_true(said.get("sendcredential")):
        wanted.append(_ticket())
    for one in wanted:
        if one is not None and one.problem is not None:
            raise SubmitError(
                f"the jobs need your {one.kind} ({one.place}), which {one.problem}"
                if not one.problem.startswith("there")
                else f"the jobs need a {one.kind}, and {one.problem} in {one.place}",
                hint=f"{one.renew}, and submit again; nothing was submitted",
            )


#: Commands whose value is a path.
_PLACES = frozenset({"x509userproxy", "scitokens_file"})


def _is_true(value: str | None) -> bool:
    return (value or "").lower() in ("true", "yes", "1", "t")


def _unquoted(value: str | None) -> str | None:
    return value.strip('"') if value else None


def issue_credentials(description: Submit) -> None:
    """Give the access point the jobs' credentials, as condor_submit does (Kerberos, OAuth2).

    Raises:
        SubmitError: They are missing, have expired or cannot be had, or the user has to log in at a service
            first.
    """
    import htcondor2

    check_credentials(description)

    try:
        address = description.issue_credentials()
    except (ValueError, RuntimeError, htcondor2.HTCondorException) as error:
        raise SubmitError(
            f"the credentials of the jobs cannot be issued: {error}",
            hint="log in again (kinit, htgettoken, or what the site has), then submit again; if that does not "
            "help, the CredLog and CredMonOAuthLog of the access point say why: ask its facilitators",
        ) from error
    if address:
        raise SubmitError(
            "the jobs need credentials of a service where you have not logged in yet",
            hint=f"open {address} in a browser, log in, and submit again",
        )
