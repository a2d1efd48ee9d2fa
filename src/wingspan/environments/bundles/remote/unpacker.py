#!/usr/bin/env python3
# mypy: ignore-errors
"""Unpack a pixi-pack archive into an environment, on a worker that has a Python and nothing else.

Takes the place of the ``pixi-unpack`` program inside self-extracting packs, with the same options, and
checks every package against the digest in the pack before it unpacks it. Standard library only, Python 3.6
and later; zstd through whatever this
machine has: Python's own module, the library libzstd (package managers and curl bring it), or the program
zstd.
"""

import argparse
import base64
import configparser
import csv
import ctypes
import ctypes.util
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib

from activation import ACTIVATION, activation_script, place_fault  # @include activation.py
from in_place import LONGEST_LINE, replace_in_binary, replace_in_text  # @include in_place.py
from trust import BadName, check_name, check_path  # @include ../../../worker/trust.py

EXIT_DAMAGED = 121
EXIT_NO_WAY = 122
EXIT_NO_ROOM = 123


class Refused(Exception):
    def __init__(self, code, text):
        Exception.__init__(self, text)
        self.code = code


# ---- zstd
# ---------------------------------------------------------------------------------------------------------


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t)]


class _Libzstd(io.RawIOBase):
    """Reads through libzstd (ZSTD_decompressStream)."""

    library = None

    def __init__(self, source):
        super().__init__()
        self.source = source
        self.stream = self.library.ZSTD_createDStream()
        self.input = ctypes.create_string_buffer(1 << 17)
        self.given = _Buffer(ctypes.addressof(self.input), 0, 0)

    def readable(self):
        return True

    def readinto(self, target):
        room = (ctypes.c_char * len(target)).from_buffer(target)
        out = _Buffer(ctypes.addressof(room), len(target), 0)
        while out.position == 0:
            if self.given.position == self.given.size:
                piece = self.source.read(1 << 17)
                if not piece:
                    break
                ctypes.memmove(self.input, piece, len(piece))
                self.given.size, self.given.position = len(piece), 0
            code = self.library.ZSTD_decompressStream(
                self.stream, ctypes.byref(out), ctypes.byref(self.given)
            )
            if self.library.ZSTD_isError(code):
                raise Refused(EXIT_DAMAGED, "compressed data is damaged")
        return out.position

    def close(self):
        if self.stream:
            self.library.ZSTD_freeDStream(self.stream)
            self.stream = None
        super().close()


def zstd_reader(source):
    """A file object with the decompressed content of `source`."""
    try:
        from compression import zstd  # Python 3.14

        return zstd.ZstdFile(source)
    except ImportError:
        pass
    if _Libzstd.library is None:
        for name in ("libzstd.so.1", ctypes.util.find_library("zstd")):
            try:
                library = ctypes.CDLL(name) if name else None
            except OSError:
                library = None
            if library is not None:
                library.ZSTD_createDStream.restype = ctypes.c_void_p
                library.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
                library.ZSTD_decompressStream.restype = ctypes.c_size_t
                library.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
                library.ZSTD_isError.argtypes = [ctypes.c_size_t]
                _Libzstd.library = library
                break
    if _Libzstd.library is not None:
        return io.BufferedReader(_Libzstd(source), 1 << 17)
    program = shutil.which("zstd")
    if program is None:
        raise Refused(
            EXIT_NO_WAY,
            "nothing here reads zstd: neither Python 3.14, nor libzstd.so.1, nor the program zstd",
        )
    with tempfile.TemporaryFile() as packed:
        shutil.copyfileobj(source, packed)
        packed.seek(0)
        unpacked = tempfile.TemporaryFile()
        subprocess.check_call([program, "-dc"], stdin=packed, stdout=unpacked)
        unpacked.seek(0)
        return unpacked


# ---- archives
# -----------------------------------------------------------------------------------------------------


def file_name_of(text):
    """`text` as the name of a file: UTF-8, in every locale (Python 3.6 has ASCII where the locale is C)."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def safe_path(folder, name, what):
    """Where the foreign `name` lies below `folder`, on a way without links."""
    try:
        check_path(name)
    except BadName as error:
        raise outside(what, name, error)
    path = os.path.join(folder, file_name_of(name))
    above = os.path.dirname(path)
    while len(above) > len(folder):
        if above in _no_links:
            break
        if os.path.islink(above):
            raise outside(what, name, "it lies below a symbolic link")
        if os.path.isdir(above):
            _no_links.add(above)
        above = os.path.dirname(above)
    return path


#: Folders that were looked at. A folder does not become a link: nothing here removes one.
_no_links = set()


def outside(what, name, why):
    text = "%s has a member %r, which would be written outside its folder: %s" % (what, name, why)
    return Refused(EXIT_DAMAGED, text)


def stays_inside(folder, path, link):
    """Whether the link at `path` leads to a place below `folder`, whatever other links are on the way."""
    return (os.path.realpath(os.path.join(os.path.dirname(path), link)) + os.sep).startswith(
        os.path.realpath(folder) + os.sep
    )


def make_way(path):
    """Remove the file or link at `path`, so that nothing is written through a link, whoever put it there."""
    if os.path.isdir(path) and not os.path.islink(path):
        raise Refused(EXIT_DAMAGED, "%s is a folder of one package and a file of another" % path)
    if os.path.lexists(path):
        os.unlink(path)


def new_file(path, *mode, **more):
    """Open a new file in the place of what is there."""
    make_way(path)
    return open(path, *mode, **more)


def extract_tar(tar, folder, what):
    """Extract; refuse what would land outside, or a link that points out of `folder`."""
    for member in tar:
        name = member.name[2:] if member.name.startswith("./") else member.name
        if member.isdir() and name in ("", "."):
            continue
        path = safe_path(folder, name.rstrip("/"), what)
        if os.path.islink(path):
            os.unlink(path)  # nothing is written through it
        if member.isdir():
            os.makedirs(path, exist_ok=True)
        elif member.issym():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            link = file_name_of(member.linkname)
            if not stays_inside(folder, path, link):
                raise outside(what, name, "it is a link to %r" % link)
            os.symlink(link, path)
        elif member.islnk():
            os.link(safe_path(folder, member.linkname, what), path, follow_symlinks=False)
        elif member.isfile():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                shutil.copyfileobj(tar.extractfile(member), file, 1 << 20)
            os.chmod(path, 0o755 if member.mode & stat.S_IXUSR else 0o644)
        else:
            raise Refused(EXIT_DAMAGED, "%s has a member %r that is a device" % (what, member.name))


def extract_conda(path, folder):
    name = os.path.basename(path)
    if name.endswith(".tar.bz2"):
        with tarfile.open(path, "r:bz2", encoding="utf-8") as tar:
            extract_tar(tar, folder, name)
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".tar.zst"):
                with archive.open(member) as source:
                    with tarfile.open(fileobj=zstd_reader(source), mode="r|", encoding="utf-8") as tar:
                        extract_tar(tar, folder, name)


def digest(path, algorithm):
    result = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            result.update(piece)
    return result.hexdigest()


# ---- conda packages
# -----------------------------------------------------------------------------------------------


def replace_prefix(path, placeholder, prefix, binary):
    old, new = placeholder.encode(), os.fsencode(prefix)
    if binary:
        if len(new) > len(old):
            raise Refused(EXIT_NO_WAY, "%s is too long a path for the programs of the environment" % prefix)
        replace_in_binary(path, old, new)
        return
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(replace_in_text(content, old, new))


def first_lines(prefix):
    """The first lines of a Python script in the environment's bin."""
    line = "#!" + prefix + "/bin/python"
    if len(os.fsencode(line)) <= LONGEST_LINE and len(line.split()) == 1:
        return line
    # kernels cut it; the Python is the one that lies beside the script, whatever the path has in it
    return '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"\n\' \'\'\''


def script(path, prefix, module, function):
    with new_file(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(
            "%s\nimport sys\nfrom %s import %s\nif __name__ == '__main__':\n    sys.exit(%s())\n"
            % (first_lines(prefix), module, function.split(".")[0], function)
        )
    os.chmod(path, 0o755)


def entry_point(text, prefix):
    name, target = text.split("=", 1)
    module, function = target.split("[")[0].strip().split(":")
    path = safe_path(prefix, "bin/" + check_name(name.strip()), "an entry point")
    os.makedirs(prefix + "/bin", exist_ok=True)
    script(path, prefix, module.strip(), function.strip())


def site_packages(record):
    """Where this Python has its packages: a free-threaded one says so (lib/python3.13t/site-packages)."""
    minor = ".".join(record["version"].split(".")[:2])
    return check_path(record.get("python_site_packages_path") or "lib/python%s/site-packages" % minor)


def install_conda(record, file_name, source, prefix, site):
    with open(source + "/info/paths.json", encoding="utf-8") as file:
        paths = json.load(file)
    noarch = record.get("noarch") == "python"
    files = []
    for entry in paths["paths"]:
        name = entry["_path"]
        place = name
        if noarch and name.startswith("site-packages/"):
            place = site + name[len("site-packages") :]
        elif noarch and name.startswith("python-scripts/"):
            place = "bin/" + name[len("python-scripts/") :]
        target = safe_path(prefix, place, file_name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        make_way(target)
        os.rename(safe_path(source, name, file_name), target)
        files.append(place)
        if entry.get("prefix_placeholder") and not os.path.islink(target):
            replace_prefix(target, entry["prefix_placeholder"], prefix, entry.get("file_mode") == "binary")
    if noarch and os.path.exists(source + "/info/link.json"):
        with open(source + "/info/link.json", encoding="utf-8") as file:
            for point in json.load(file).get("noarch", {}).get("entry_points", []):
                entry_point(point, prefix)
                files.append("bin/" + point.split("=", 1)[0].strip())
    with new_file(
        os.path.join(prefix, "conda-meta", re.sub(r"\.(conda|tar\.bz2)$", "", file_name) + ".json"), "w"
    ) as file:
        json.dump(dict(record, fn=file_name, files=files, paths_data=paths), file, indent=1, sort_keys=True)


# ---- wheels
# -------------------------------------------------------------------------------------------------------


def install_wheel(path, prefix, site):
    python = os.path.basename(os.path.dirname(site))
    site = os.path.join(prefix, site)
    name = os.path.basename(path).split("-")[0]
    places = {"purelib": site, "platlib": site, "data": prefix, "scripts": prefix + "/bin"}
    places["headers"] = "%s/include/%s/%s" % (prefix, python, name)
    with zipfile.ZipFile(path) as archive:
        # named in it, because the file may be spelled otherwise (ruamel_yaml-1.whl, ruamel.yaml-1.dist-info)
        tops = [
            m.split("/")[0]
            for m in archive.namelist()
            if m.count("/") == 1 and m.endswith(".dist-info/WHEEL")
        ]
        if not tops:
            raise ValueError("%s has no .dist-info" % os.path.basename(path))
        data = tops[0][: -len(".dist-info")] + ".data/"
        installed = []
        for info in archive.infolist():
            if info.filename.endswith("/"):
                continue
            folder, member = site, info.filename
            if member.startswith(data):
                scheme, member = member[len(data) :].split("/", 1)
                folder = places[scheme]
            target = safe_path(folder, member, os.path.basename(path))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            executable = (info.external_attr >> 16) & 0o111 or folder == places["scripts"]
            with archive.open(info) as source, new_file(target, "wb") as file:
                if folder == places["scripts"]:
                    line = source.readline()
                    if line.startswith(b"#!python"):
                        line = os.fsencode(first_lines(prefix)) + b"\n"
                    file.write(line)
                shutil.copyfileobj(source, file, 1 << 20)
            os.chmod(target, 0o755 if executable else 0o644)
            installed.append(target)
    points = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    points.optionxform = str
    points.read("%s/%s/entry_points.txt" % (site, tops[0]), encoding="utf-8")
    for section in ("console_scripts", "gui_scripts"):
        if points.has_section(section):
            for item in points.items(section):
                entry_point("%s=%s" % item, prefix)
                installed.append(os.path.join(prefix, "bin", file_name_of(item[0].strip())))
    record(site, tops[0], installed)


def record(site, dist_info, installed):
    """Write INSTALLER and RECORD: what was installed and where, as pip does.

    (packaging.python.org, "Recording installed projects")
    """
    folder = os.path.join(site, dist_info)
    with new_file(folder + "/INSTALLER", "w") as file:
        file.write("wingspan\n")
    own = folder + "/RECORD"
    signatures = (own, own + ".jws", own + ".p7s")  # of the list that the wheel had
    rows = []
    for path in sorted(set(installed + [folder + "/INSTALLER"])):
        if path not in signatures:
            with open(path, "rb") as file:
                content = file.read()
            hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode("ascii")
            rows.append([os.path.relpath(path, site), "sha256=" + hashed, str(len(content))])
    rows.append([os.path.relpath(own, site), "", ""])
    for path in signatures[1:]:
        make_way(path)
    with new_file(own, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


# ---- the whole
# ----------------------------------------------------------------------------------------------------


def read_pack(path, folder):
    if os.path.isdir(path):
        return os.path.abspath(path)
    with tarfile.open(path, "r:", encoding="utf-8") as tar:
        for member in tar:
            if not (member.isfile() or member.isdir()):
                raise Refused(
                    EXIT_DAMAGED, "the pack has a member %r that is a link or a device" % member.name
                )
            if member.isfile():
                target = safe_path(folder, member.name, "the pack")
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with open(target, "wb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file, 1 << 20)
    return folder


def check(pack):
    """Every package against its digest. Returns [(record, file name, path)]."""
    with open(pack + "/pixi-pack.json", encoding="utf-8") as file:
        description = json.load(file)
    if description.get("version") != "1":
        raise Refused(EXIT_NO_WAY, "this is a pack of version %r, not '1'" % description.get("version"))
    platform = description.get("platform")
    machine = {"x86_64": "linux-64", "i686": "linux-32"}.get(
        os.uname().machine, "linux-" + os.uname().machine
    )
    if platform != machine:
        raise Refused(EXIT_NO_WAY, "the pack is for %s, and this machine is %s" % (platform, machine))
    if os.path.exists(pack + "/sha256sums"):
        with open(pack + "/sha256sums", encoding="utf-8") as file:
            for line in file:
                wanted, name = line.rstrip("\n").split("  ", 1)
                path = safe_path(pack, name, "sha256sums")
                if not os.path.isfile(path) or digest(path, "sha256") != wanted:
                    raise Refused(EXIT_DAMAGED, "%s is missing or damaged; nothing was unpacked" % name)
    found = []
    for subdir in sorted(os.listdir(pack + "/channel")):
        folder = "%s/channel/%s" % (pack, subdir)
        with open(folder + "/repodata.json", encoding="utf-8") as file:
            repodata = json.load(file)
        records = dict(repodata.get("packages", {}), **repodata.get("packages.conda", {}))
        for file_name, record in sorted(records.items()):
            for name in (file_name, "{name}-{version}-{build}".format(**dict({"build": ""}, **record))):
                try:
                    check_name(name)
                except BadName as error:
                    raise outside("repodata.json", name, error)
            path = safe_path(folder, file_name, "repodata.json")
            for algorithm in ("sha256", "md5"):
                if record.get(algorithm):
                    if not os.path.isfile(path) or digest(path, algorithm) != record[algorithm]:
                        raise Refused(
                            EXIT_DAMAGED, "%s is missing or damaged; nothing was unpacked" % file_name
                        )
                    break
            found.append((record, file_name, path))
    return found


def place_for(output, name):
    """The folder that the environment goes into."""
    if "/" in name or name in ("", ".", ".."):
        raise Refused(2, "-e %r is no name for the environment's folder" % name)
    fault = place_fault(os.path.join(output, name))
    if fault:
        raise Refused(2, "%r is no place for an environment: %s" % (os.path.join(output, name), fault))
    return os.path.join(output, name)


def check_executable(folder):
    """Programs of the environment must be able to run there."""
    handle, path = tempfile.mkstemp(dir=folder)
    try:
        os.write(handle, b"#!/bin/sh\n")
        os.close(handle)
        os.chmod(path, 0o700)
        subprocess.check_call([path])
    except PermissionError:
        raise Refused(
            EXIT_NO_WAY, "no program can run in %s (mounted noexec?); choose another place with -o" % folder
        )
    finally:
        os.unlink(path)


def carry_activation(pack, prefix):
    """What the workspace adds to the activation."""
    source = os.path.join(pack, "activation")
    if os.path.isdir(source):
        target = os.path.join(prefix, ACTIVATION)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copytree(source, target)


def install_wheels(prefix, site, *wheels):
    """What unpacks on the access point asks for: the environment's own Python is not executed there."""
    for wheel in wheels:
        install_wheel(wheel, prefix, site)


def main():
    if sys.argv[1:2] == ["--install-wheels"]:
        return install_wheels(*sys.argv[2:])
    parser = argparse.ArgumentParser(description="Unpack a pixi-pack archive.")
    parser.add_argument("pack")
    parser.add_argument("-o", "--output-directory", default=".")
    parser.add_argument("-e", "--env-name", default="env")
    parser.add_argument("-s", "--shell", help="taken for compatibility; the script is for POSIX shells")
    parser.add_argument("-v", "--verbose", action="count")
    parser.add_argument("-q", "--quiet", action="count")
    arguments = parser.parse_args()
    os.umask(os.umask(0o022) | 0o022)  # what is executed here, nobody else may write
    output = os.path.abspath(arguments.output_directory)
    prefix = place_for(output, arguments.env_name)
    if os.path.lexists(prefix):
        raise Refused(2, "%s exists; choose another place with -o or -e" % prefix)
    os.makedirs(output, exist_ok=True)
    check_executable(output)
    work = tempfile.mkdtemp(prefix=".unpack-", dir=output)
    try:
        pack = read_pack(arguments.pack, os.path.join(work, "pack"))
        if os.environ.get("WINGSPAN_UNPACK_TEMPORARY") == arguments.pack:
            os.unlink(arguments.pack)  # the script that has it can write it again
        packages = check(pack)
        pythons = [site_packages(record) for record, _, _ in packages if record["name"] == "python"]
        site = (pythons + ["lib/python/site-packages"])[0]
        os.makedirs(prefix + "/conda-meta")
        for number, (record, file_name, path) in enumerate(packages):
            place = os.path.join(work, "package-%d" % number)
            extract_conda(path, place)
            install_conda(record, file_name, place, prefix, site)
            shutil.rmtree(place, ignore_errors=True)
            if not os.path.isdir(arguments.pack):
                os.unlink(path)
        if os.path.isdir(pack + "/pypi"):
            for name in sorted(os.listdir(pack + "/pypi")):
                install_wheel(os.path.join(pack, "pypi", name), prefix, site)
        new_file(prefix + "/conda-meta/history", "w").close()
        carry_activation(pack, prefix)
        text, faults = activation_script(prefix, prefix, arguments.env_name)
        with open(output + "/activate.sh", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        for fault in faults:
            sys.stderr.write("unpack: left out of the activation: %s\n" % fault)
    except BaseException:
        shutil.rmtree(prefix, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except Refused as error:
        sys.stderr.write("unpack: %s\n" % error)
        sys.exit(error.code)
    except OSError as error:
        if error.errno not in (28, 122):
            raise
        sys.stderr.write("unpack: no room: %s\n" % error)
        sys.exit(EXIT_NO_ROOM)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        configparser.Error,
        RecursionError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        sys.stderr.write("unpack: the pack is damaged: %s\n" % error)
        sys.exit(EXIT_DAMAGED)
