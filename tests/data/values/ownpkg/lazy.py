"""Makes its parts when they are asked for, as some large packages do."""

import sys
import types


class Lazy(types.ModuleType):
    @property
    def part(self):
        return 42


sys.modules[__name__].__class__ = Lazy
