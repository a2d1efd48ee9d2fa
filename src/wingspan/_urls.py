"""Addresses that may have a secret in them."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

__all__ = ["secrets_of", "without_secrets"]

#: How conda's servers take a token: as a part of the path.
_TOKEN = re.compile(r"/t/[A-Za-z0-9_-]{8,}(?=/)")
_USER = re.compile(r"(?<=://)[^/@\s'\"]*@")


def without_secrets(text: str) -> str:
    """An address, or a text with some, as it may be shown, logged and given to jobs: without user, password
    and conda's tokens.

    >>> without_secrets("https://me:s3cret@host:8443/a"), without_secrets("osdf:///ns/a")
    ('https://host:8443/a', 'osdf:///ns/a')
    >>> without_secrets("404 at https://conda.example.org/t/ab-0123456789/main/x.conda")
    '404 at https://conda.example.org/main/x.conda'
    """
    return _TOKEN.sub("", _USER.sub("", text)) if "://" in text else text


def secrets_of(url: str) -> tuple[str | None, str | None]:
    """User and password in an address.

    >>> secrets_of("https://me:s%40cret@host/a"), secrets_of("https://host/a@b")
    (('me', 's@cret'), (None, None))
    """
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    if not at:
        return None, None
    name, _, password = user.partition(":")
    return unquote(name), unquote(password) or None
