"""Up to which size a site wants which way for a bundle. Profiles say it, so every map imports this."""

from __future__ import annotations

import attrs

__all__ = ["SizeLimits"]


@attrs.frozen(kw_only=True)
class SizeLimits:
    """Up to which size, in bytes, a site wants which way.

    Attributes:
        transfer: Below it, plain transfer. CHTC: 1 GB.
        url: Up to it, by URL; above, the file system. CHTC: 30 GB.

    The figures are CHTC's, which also reflect what Pelican's caches take
    (https://chtc.cs.wisc.edu/uw-research-computing/htc-job-file-transfer).
    """

    transfer: int = 10**9
    url: int = 30 * 10**9
