"""Digests and codes of small data without OpenSSL, which `hashlib` and `hmac` load when they are imported.

To load it takes a worker longer than all its own modules. Python has SHA-256 and BLAKE2b of its own, which
hashlib falls back on; OpenSSL's SHA-256 is quicker for large data, so that is loaded when such data comes.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash, blake2b
    from hashlib import sha256 as _plain
    from hmac import compare_digest
    from typing import Union

    _Bytes = Union[bytes, bytearray, memoryview]
else:
    try:
        from _operator import _compare_digest as compare_digest
    except ImportError:
        from hmac import compare_digest
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256 as _plain
        else:
            from _sha256 import sha256 as _plain
    except ImportError:  # a Python that was built without its own
        from hashlib import sha256 as _plain

__all__ = ["LARGE", "blake2b", "compare_digest", "hmac_sha256", "sha256"]

#: From so many bytes on, OpenSSL's SHA-256 is worth its start.
LARGE = 1 << 15
_BLOCK = 64
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def sha256(size: "int" = 0) -> "_Hash":
    """A new SHA-256 for about `size` bytes."""
    if size < LARGE:
        return _plain()
    import hashlib

    return hashlib.sha256()


def hmac_sha256(key: "bytes", head: "bytes", data: "_Bytes") -> "bytes":
    """HMAC-SHA-256 (RFC 2104) of `head` and then `data`."""
    if len(key) > _BLOCK:
        key = _plain(key).digest()
    padded = key.ljust(_BLOCK, b"\0")
    inner = sha256(len(data))
    inner.update(padded.translate(_INNER))
    inner.update(head)
    inner.update(data)
    outer = _plain(padded.translate(_OUTER))
    outer.update(inner.digest())
    return outer.digest()
