"""Values that lie in a store instead of the map's folder: each is one file there, which holds its pickle.

In the map's folder stands a reference in its place: a small pickle that names the file, its length and its
SHA-256. Whoever unpickles the reference fetches the file, checks it, and only then unpickles it. A worker
fetches and sends files as `urls` does. Over HTTP it does so by itself where the store wants a user or a
token; these stand in variables of the environment, of which only the names travel.
"""

import os
import pickle

from . import rebuild, urls
from .pickling import PROTOCOL
from .scratch import scratch_folder
from .streams import Gathering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Dict, Iterator, Mapping, Optional


#: Suffix of a value's file.
SUFFIX = ".value"
_ONE_READ = 1 << 20


def name_of(map_id: "str", digest: "str") -> "str":
    """Name of a value's file: what `wingspan.stores` can read as a name that says its content.

    >>> name_of("20261130-1-ab", "b8dd14a4" + 56 * "0")
    '20261130-1-ab.00000000000000000000000000000000-b8dd14a4.value'
    """
    return "%s.%s-%s%s" % (map_id, digest[8:40], digest[:8], SUFFIX)


class Reference(object):
    """Is pickled as a call that fetches the value from its store.

    Args:
        label: The store, as the map's owner named it.
        url: Address of the file.
        digest: SHA-256 of the file, 64 hexadecimal digits.
        length: Bytes of it.
        holds_code: There is code in it: only the Python that wrote it may read it.
    """

    def __init__(self, label: "str", url: "str", digest: "str", length: "int", holds_code: "bool") -> "None":
        self._arguments = (label, url, digest, length, rebuild.CODE_MARKS[0].decode() if holds_code else "")

    def __reduce__(self) -> "Any":
        return rebuild.stored_value, self._arguments

    def dumps(self) -> "bytes":
        """The small pickle."""
        return pickle.dumps(self, PROTOCOL)


class Spool(Gathering):
    """A target for the pickler: what is larger than `above` bytes goes to a file without a name.

    Args:
        above: Bytes up to which a pickle stays in memory.
        folder: Where the file is.
    """

    def __init__(self, above: "int", folder: "str") -> "None":
        self._folder = folder
        self._file: "Optional[BinaryIO]" = None
        Gathering.__init__(self, self._put, above)

    def begin(self) -> "None":
        """Begin another pickle."""
        Gathering.begin(self)
        self.close()
        import hashlib

        self._hash = hashlib.sha256()

    def _put(self, data: "memoryview") -> "None":
        if self._file is None:
            self._file = new_file(self._folder)
        self._hash.update(data)
        self._file.write(data)

    @property
    def digest(self) -> "str":
        """SHA-256 of what is in the file."""
        return self._hash.hexdigest()

    def pieces(self) -> "Iterator[bytes]":
        """The pickle, piece by piece."""
        if self._file is None:
            yield self.kept()
            return
        self._file.flush()
        self._file.seek(0)
        while True:
            piece = self._file.read(_ONE_READ)
            if not piece:
                return
            yield piece

    def close(self) -> "None":
        """Give the file up."""
        if self._file is not None:
            self._file.close()
            self._file = None


def new_file(folder: "str") -> "BinaryIO":
    """A new file without a name, for reading and writing."""
    import tempfile

    return tempfile.TemporaryFile(dir=folder)


def checked(file: "BinaryIO", name: "str", digest: "str", length: "int") -> "BinaryIO":
    """`file`, at its beginning, if its content is what the reference says.

    Raises:
        OSError: It is not.
    """
    file.seek(0)
    import hashlib

    found = hashlib.sha256()
    got = 0
    while True:
        piece = file.read(_ONE_READ)
        if not piece:
            break
        found.update(piece)
        got += len(piece)
    if got != length or found.hexdigest() != digest:
        file.close()
        raise OSError(
            "%s in the store is cut or altered: it has %d bytes of %d, or another SHA-256 than %s"
            % (name, got, length, digest)
        )
    file.seek(0)
    return file


class Values(object):
    """Fetches values from a store, and sends outputs there. An executor puts it in place of `rebuild.stores`.

    Args:
        setting: ``store`` of ``map.json``: `label` and `url` of the store, the `map`'s id, `above` how many
            bytes a value goes there, and `auth`: names of variables and files that hold a user's secret.
    """

    def __init__(self, setting: "Mapping[str, Any]") -> "None":
        self._setting = setting
        self._scratch = scratch_folder()
        self.spool = Spool(setting["above"], self._scratch)
        self._complained = False

    def fetch(self, label: "str", url: "str", digest: "str", length: "int") -> "BinaryIO":
        """A file with a value's pickle, which was checked.

        Raises:
            OSError: It cannot be got, or is not what it should be.
        """
        return fetched(url, digest, length, self._scratch, self._headers(url))

    def keep(self) -> "Optional[bytes]":
        """Send what is in the spool to the store. Returns the reference; None if it cannot be sent: then the
        value goes to the map's folder, as if there were no store.
        """
        spool, setting = self.spool, self._setting
        name = name_of(setting["map"], spool.digest)
        url = "%s/%s" % (setting["url"], name)
        path = os.path.join(self._scratch, ".wingspan-%d-%s" % (os.getpid(), name))
        try:
            try:
                with open(path, "wb") as file:
                    for piece in spool.pieces():
                        file.write(piece)
                send(path, url, self._headers(url))
            finally:
                try:
                    os.unlink(path)
                except OSError:
                    pass
        except OSError as error:
            if not self._complained:
                self._complained = True
                os.write(2, ("wingspan: outputs go to the map's folder: %s\n" % error).encode())
            return None
        return Reference(setting["label"], url, spool.digest, spool.length, spool.holds_code).dumps()

    def _headers(self, url: "str") -> "Dict[str, str]":
        """What authenticates this worker with the store's own server, and with no other."""
        if not url.startswith(self._setting["url"] + "/"):
            return {}
        return headers(self._setting.get("auth") or {})


def headers(auth: "Mapping[str, Any]") -> "Dict[str, str]":
    """The header of HTTP that authenticates, made of what variables and files hold now."""
    import base64

    token = os.environ.get(auth.get("token_env") or "", "")
    if auth.get("token_file"):
        try:
            with open(os.path.expanduser(auth["token_file"])) as file:
                token = file.read()
        except OSError:
            pass
    if token.strip():
        return {"Authorization": "Bearer " + token.strip()}
    if auth.get("username"):
        pair = "%s:%s" % (auth["username"], os.environ.get(auth.get("password_env") or "", ""))
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}


def fetched(
    url: "str", digest: "str", length: "int", folder: "str", authentication: "Dict[str, str]"
) -> "BinaryIO":
    """A file without a name in `folder` with what is behind `url`, which was checked.

    Raises:
        OSError: It cannot be got, or is not what it should be.
    """
    import shutil

    path = os.path.join(folder, ".wingspan-value-%d-%s" % (os.getpid(), os.urandom(4).hex()))
    scheme = urls.scheme_of(url)
    if scheme == "file" or (scheme in ("http", "https") and authentication):
        file = new_file(folder)  # of this worker's own: nobody changes it after it was checked
        with _source(url, authentication) as answer:
            shutil.copyfileobj(answer, file, _ONE_READ)
        return checked(file, url, digest, length)
    try:
        urls.fetch(url, path)
        return checked(open(path, "rb"), url, digest, length)
    finally:
        try:
            os.unlink(path)
        except OSError:
            pass


def _source(url: "str", authentication: "Dict[str, str]") -> "Any":
    """What is behind `url`, to be read.

    Raises:
        OSError: It cannot be had.
    """
    if urls.scheme_of(url) == "file":
        return open(urls.path_of(url), "rb")  # noqa: SIM115 - the caller closes it
    return _answer(url, "GET", authentication)


def send(path: "str", url: "str", authentication: "Dict[str, str]") -> "None":
    """Send a file to `url`.

    Raises:
        OSError: It cannot be sent.
    """
    scheme = urls.scheme_of(url)
    if scheme == "file":
        if not os.path.isdir(os.path.dirname(urls.path_of(url))):
            raise OSError("%s is no folder on this machine" % os.path.dirname(urls.path_of(url)))
    elif scheme in ("http", "https") and (authentication or scheme not in urls.plugins()):
        with open(path, "rb") as file:
            more = {"Content-Length": str(os.path.getsize(path)), "Content-Type": "application/octet-stream"}
            more.update(authentication)
            _answer(url, "PUT", more, file).close()
        return
    urls.send(path, url)


def _answer(url: "str", method: "str", more: "Dict[str, str]", data: "Any" = None) -> "Any":
    """What the server answers.

    Raises:
        OSError: It refuses, or does not answer.
    """
    import http.client
    import urllib.error
    import urllib.request

    class NoSecrets(urllib.request.HTTPRedirectHandler):
        """Goes where the server sends us; another server gets no password and no token."""

        def redirect_request(self, req, *about):  # type: ignore[no-untyped-def]
            following = urllib.request.HTTPRedirectHandler.redirect_request(self, req, *about)
            if following is not None and (following.type, following.host) != (req.type, req.host):
                following.remove_header("Authorization")
            return following

    request = urllib.request.Request(url, data=data, headers=more, method=method)  # noqa: S310 - the scheme was looked at
    try:
        return urllib.request.build_opener(NoSecrets).open(request, timeout=urls.PATIENCE)
    except (ValueError, urllib.error.URLError, http.client.HTTPException) as error:
        raise OSError("%s: %s" % (url, error))
