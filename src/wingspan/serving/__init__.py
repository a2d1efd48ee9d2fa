"""What ``wingspan serve`` does on an access point: it answers a laptop's Wingspan through SSH.

It lives as long as the connection, and nobody else reaches it: requests come on standard input.
"""

from wingspan.serving._serve import serve

__all__ = ["serve"]
