"""Imported as ``__main__`` by children of `multiprocessing` that were not forked: it becomes the user's (see
`own`).

In the archive it lies at the top.
"""

from wingspan_worker import together

together.install()

from wingspan_worker import (  # noqa: E402
    inside,  # noqa: F401 - what components may use of Wingspan
    own,
)

own.main_in_child(globals())
