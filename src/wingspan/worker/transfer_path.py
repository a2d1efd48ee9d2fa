"""`TransferPath`: a path in the arguments of a component whose file or folder travels with it.

In a session it behaves like a `pathlib.Path`. On a worker there is a plain `pathlib.Path` in its place, which
leads to a copy there (see `arriving`).
"""

import functools
import os
import pathlib
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Optional, Union

    Given = Union[str, "os.PathLike[str]"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)(.*)", re.DOTALL)
#: What can be asked of a path without looking at a disk.
_PURE = frozenset(dir(pathlib.PurePath))


@functools.total_ordering
class TransferPath(object):
    """A file or a folder that travels to the worker wherever it stands in the arguments of a component.

    There the function gets a `pathlib.Path` to a copy. In this session it can be used like a `pathlib.Path`:
    ``/``, ``.name``, ``.open()``, comparing, hashing, pickling.

    Args:
        path: A path on this machine, or a URL: ``"https://…"``, ``"osdf:///…"``, ``"s3://…"``; ``file:///…``
            is a path that the workers see.
        protocol: Of a URL, if `path` is only its path: ``"s3"``.
        location: Of a URL: its host.

    Raises:
        ValueError: There is a location without a protocol.

    >>> TransferPath("data") / "a.csv"
    TransferPath('data/a.csv')
    >>> TransferPath("in/a.csv", protocol="s3", location="s3.example.org").as_url()
    's3://s3.example.org/in/a.csv'
    >>> TransferPath("https://example.org/a.csv").name
    'a.csv'
    """

    __slots__ = ("location", "path", "protocol", "text")

    def __init__(
        self, path: "Given", protocol: "Optional[str]" = None, location: "Optional[str]" = None
    ) -> "None":
        self.protocol: "Optional[str]"
        #: The path as text; that of a URL keeps all its slashes, of which `pathlib` drops some.
        self.text: "str"
        #: Host of a URL; None if it is no URL, or has none.
        self.location: "Optional[str]"
        text = os.fspath(path)
        if isinstance(path, TransferPath):
            text = path.text
            protocol = path.protocol if protocol is None else protocol
            location = path.location if location is None else location
        url = _URL.match(text) if protocol is None and not isinstance(path, os.PathLike) else None
        if url is not None:
            protocol, location, text = url.group(1), url.group(2), url.group(3)
        if protocol is None and location is not None:
            raise ValueError("the location %r is given without a protocol" % location)
        self.path: "pathlib.Path" = pathlib.Path(text)
        if protocol is None:
            text = self.path.as_posix()
        elif text == ".":
            text = ""
        self.text = text
        self.protocol = protocol
        self.location = location or None

    def as_url(self) -> "str":
        """Its URL; of a path without a protocol ``file://``, its whole path."""
        text = self.text if self.protocol else pathlib.Path(os.path.abspath(self.text)).as_posix()
        slash = "/" if text and not text.startswith("/") else ""
        return "%s://%s%s%s" % (self.protocol or "file", self.location or "", slash, text)

    @classmethod
    def cwd(cls) -> "TransferPath":
        """The current folder."""
        return cls(pathlib.Path.cwd())

    @classmethod
    def home(cls) -> "TransferPath":
        """The user's home folder."""
        return cls(pathlib.Path.home())

    def __fspath__(self) -> "str":
        return os.fspath(self.path)

    def __truediv__(self, other: "Given") -> "TransferPath":
        return self._like(self.path / other)

    def __rtruediv__(self, other: "Given") -> "TransferPath":
        return self._like(other / self.path)

    def _like(self, path: "Any") -> "TransferPath":
        return TransferPath(path, self.protocol, self.location)

    def _wrapped(self, value: "Any") -> "Any":
        """What a method of `pathlib.Path` has answered, with paths like this one in place of plain ones."""
        if isinstance(value, pathlib.PurePath):
            return self._like(value)
        if hasattr(value, "__next__") and not hasattr(value, "read"):  # of iterdir, glob, rglob
            return self._each(value)
        return value

    def _each(self, values: "Iterator[Any]") -> "Iterator[Any]":
        for value in values:
            yield self._wrapped(value)

    def __getattr__(self, name: "str") -> "Any":
        if name.startswith("__"):
            raise AttributeError(name)
        if self.protocol and name not in _PURE and hasattr(pathlib.Path, name):
            raise AttributeError("%s is a URL: its %s cannot be had in this session" % (self.as_url(), name))
        value = getattr(self.path, name)
        if not callable(value) or isinstance(value, pathlib.PurePath):
            return self._wrapped(value)

        @functools.wraps(value)
        def method(*args: "Any", **kwargs: "Any") -> "Any":
            return self._wrapped(value(*args, **kwargs))

        return method

    def __dir__(self) -> "Any":
        return sorted(set(object.__dir__(self)) | set(dir(self.path)))

    def _key(self) -> "Any":
        return self.protocol or "", self.location or "", self.path, self.text

    def __eq__(self, other: "object") -> "bool":
        if isinstance(other, TransferPath):
            return bool(self._key() == other._key())
        if isinstance(other, pathlib.PurePath):
            return not self.protocol and self.path == other
        return NotImplemented

    def __lt__(self, other: "Any") -> "bool":
        if isinstance(other, pathlib.PurePath):
            other = TransferPath(other)
        return bool(self._key() < other._key()) if isinstance(other, TransferPath) else NotImplemented

    def __hash__(self) -> "int":
        return hash(self._key()) if self.protocol else hash(self.path)

    def __str__(self) -> "str":
        return self.as_url() if self.protocol else str(self.path)

    def __repr__(self) -> "str":
        return "TransferPath(%r)" % str(self)

    def reduce_with_files(self, on_file: "Callable[[TransferPath], Any]") -> "Any":
        """How it is pickled where it goes to a worker."""
        return on_file(self)

    def __reduce__(self) -> "Any":
        return TransferPath, (self.text, self.protocol, self.location)
