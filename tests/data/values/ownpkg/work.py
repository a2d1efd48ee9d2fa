"""What a user keeps beside a script: with a lock, a cache, state, generators of random numbers, and Wingspan imported at the top."""

import enum
import functools
import importlib
import importlib.resources
import random
import threading

import wingspan

from . import config

LOCK = threading.Lock()
OPTIONS = wingspan.Options(request_memory="1 GB")
MISSING = object()
random.seed(7)
_generator = random.Random(3)


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1


class Trouble(Exception):
    def __init__(self, what, *, code):
        self.what, self.code = what, code


class Model:
    limit = 1

    def judge(self):
        return self.limit, Colour.RED

    @property
    def label(self):
        return f"model {self.limit}"


@functools.lru_cache
def cached(x):
    return x + 1


def locked(x):
    with LOCK:
        return cached(x)


def draw(x):
    return _generator.random(), random.random()


def fail(x):
    raise Trouble(x, code=x + 1)


def is_missing(x):
    return x is MISSING


def helper(x):
    return x


def calls_helper(x):
    return helper(x)


def imports_inside(x):
    from mathsbeside import triple

    from .deep.leaf import LEAVES
    from .lazily import ANSWER

    again = importlib.import_module("ownpkg.lazily")
    text = importlib.resources.files("ownpkg").joinpath("words.txt").read_text()
    return LEAVES, ANSWER, again.ANSWER, text.split(), config.words(), triple(x)


def square(x: "int") -> "Colour":
    return x * x
