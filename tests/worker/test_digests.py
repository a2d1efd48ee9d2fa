"""Digests without OpenSSL: the same as those of the standard library."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wingspan.worker import digests

_SIZES = st.sampled_from((0, 1, 63, 64, 65, digests.LARGE - 1, digests.LARGE, digests.LARGE + 1))


@given(key=st.binary(max_size=200), head=st.binary(max_size=100), size=_SIZES)
def test_a_code_is_hmac_sha_256(key: bytes, head: bytes, size: int) -> None:
    """Keys of any length, shorter and longer than a block, and data on both sides of the limit."""
    data = b"x" * size
    assert digests.hmac_sha256(key, head, memoryview(data)) == hmac.new(key, head + data, "sha256").digest()


@pytest.mark.parametrize("size", [0, digests.LARGE - 1, digests.LARGE])
def test_a_digest_is_sha_256(size: int) -> None:
    """Whichever implementation is taken for the size."""
    found = digests.sha256(size)
    found.update(b"y" * size)
    assert found.hexdigest() == hashlib.sha256(b"y" * size).hexdigest()
