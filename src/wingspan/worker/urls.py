"""Files behind URLs, got and sent by a worker: by HTCondor's transfer plugins where the machine has them,
else by what Python itself has.
"""

import os
import re
import subprocess

from . import trust

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

#: Seconds without a byte after which a server is given up.
PATIENCE = 300
_ONE_READ = 1 << 20
#: In the ClassAd that a plugin answers: a string, where a backslash stands before quotes and backslashes.
_TRANSFER_ERROR = re.compile(r'\bTransferError\s*=\s*"((?:[^"\\]|\\.)*)"', re.IGNORECASE)
#: Plugins by the schemes that they know, once they have been asked.
_plugins: "List[Dict[str, str]]" = []


def scheme_of(url: "str") -> "str":
    """What stands before ``://``, in lower case."""
    return url.partition("://")[0].lower()


def path_of(url: "str") -> "str":
    """The path in a ``file://`` URL.

    >>> path_of("file:///data/two%20words")
    '/data/two words'
    """
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path)


def fetch(url: "str", place: "str") -> "None":
    """Copy what is behind `url` to a new file (of ``file://`` also a folder).

    Raises:
        OSError: It cannot be got; the message says why.
    """
    scheme = scheme_of(url)
    if scheme == "file":
        copy_tree(path_of(url), place)
    elif scheme in plugins():
        _by_plugin(plugins()[scheme], url, place, upload=False)
    elif scheme in ("http", "https"):
        _by_python(url, place)
    else:
        raise OSError(_nobody_knows(url, "got"))


def send(place: "str", url: "str") -> "None":
    """Copy a file to `url`.

    Raises:
        OSError: It cannot be sent; the message says why.
    """
    scheme = scheme_of(url)
    if scheme == "file":
        os.makedirs(os.path.dirname(path_of(url)), exist_ok=True)
        trust.put_whole(place, path_of(url))
    elif scheme in plugins():
        _by_plugin(plugins()[scheme], url, place, upload=True)
    else:
        raise OSError(_nobody_knows(url, "sent"))


def _nobody_knows(url: "str", what: "str") -> "str":
    return "%s cannot be %s from this machine: none of HTCondor's transfer plugins here knows %s://" % (
        url,
        what,
        scheme_of(url),
    )


def copy_tree(source: "str", place: "str") -> "None":
    """Copy a file or a folder to a new place; links are followed."""
    if not os.path.isdir(source):
        trust.copy_file(source, place)
        return
    os.mkdir(place, 0o700)
    for name in sorted(os.listdir(source)):
        copy_tree(os.path.join(source, name), os.path.join(place, name))


def _by_python(url: "str", place: "str") -> "None":
    import http.client
    import shutil
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer, open(place, "xb") as file:  # noqa: S310 - the scheme was looked at
            shutil.copyfileobj(answer, file, _ONE_READ)
            told = answer.headers.get("Content-Length")
            if told is not None and told.isdigit() and file.tell() != int(told):
                raise OSError("%s ended after %d of %s bytes" % (url, file.tell(), told))
    except (ValueError, urllib.error.URLError, http.client.HTTPException) as error:
        raise OSError("%s cannot be got: %s" % (url, error))


# -- HTCondor's plugins --------------------------------------------------------------------------------------


def plugins() -> "Dict[str, str]":
    """HTCondor's transfer plugins on this machine, by the schemes that they know; none if it has no
    HTCondor.
    """
    if not _plugins:
        found: "Dict[str, str]" = {}
        for program in _programs():
            for scheme in _schemes(program):
                found.setdefault(scheme, program)
        _plugins.append(found)
    return _plugins[0]


def _programs() -> "List[str]":
    """The plugins that this machine's HTCondor is configured with; else those that came with it.

    The starter tells each job where HTCondor's programs are.
    """
    folder = os.environ.get("_CONDOR_BIN", "")
    said = _output([os.path.join(folder, "condor_config_val"), "FILETRANSFER_PLUGINS"])
    if said or not folder:
        return (said or "").replace(",", " ").split()
    beside = os.path.join(os.path.dirname(folder), "libexec", "condor")
    try:
        names = sorted(os.listdir(beside))
    except OSError:
        return []
    return [os.path.join(beside, name) for name in names if name.endswith("_plugin")]


def _schemes(program: "str") -> "List[str]":
    for line in (_output([program, "-classad"]) or "").splitlines():
        name, _, value = line.partition("=")
        if name.strip().lower() == "supportedmethods":
            return [one.strip().lower() for one in value.strip().strip('"').split(",") if one.strip()]
    return []


def _output(command: "List[str]") -> "Optional[str]":
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _by_plugin(program: "str", url: "str", place: "str", upload: "bool") -> "None":
    """Have a plugin transfer one file, as HTCondor's starter does (its manual, "File Transfer Plugins")."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        told, answer = os.path.join(folder, "in"), os.path.join(folder, "out")
        with open(told, "w") as file:
            file.write("[ LocalFileName = %s; Url = %s ]\n" % (_quoted(os.path.abspath(place)), _quoted(url)))
        command = [program, "-infile", told, "-outfile", answer] + (["-upload"] if upload else [])
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise OSError("HTCondor's plugin %s cannot be started: %s" % (program, error))
        said = done.stdout.decode("utf-8", "replace").strip()
        try:
            with open(answer, errors="replace") as file:
                text = file.read()
        except OSError:
            text = ""
    if done.returncode != 0 or (not upload and not os.path.exists(place)):
        raise OSError(
            "%s cannot be %s: %s"
            % (url, "sent" if upload else "got", _reason(text) or said or "exit code %d" % done.returncode)
        )


def _reason(text: "str") -> "str":
    """What a plugin says went wrong."""
    found = _TRANSFER_ERROR.search(text)
    return re.sub(r"\\(.)", r"\1", found.group(1)).strip() if found else ""


def _quoted(text: "str") -> "str":
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
