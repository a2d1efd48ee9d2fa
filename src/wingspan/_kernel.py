"""Whether this process is a Jupyter kernel."""

from __future__ import annotations

import sys

__all__ = ["is_kernel"]


def is_kernel() -> bool:
    """This process is a kernel.

    Programs that only start kernels, as nbclient does, import ipykernel too.
    """
    kernelapp = sys.modules.get("ipykernel.kernelapp")
    return kernelapp is not None and bool(kernelapp.IPKernelApp.initialized())
