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
import configparser
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib

from activation import ACTIVATION, activation_script, place_fault  # @include activation.py
from trust import BadName, check_name  # @include ../../../worker/trust.py
from unpack_archives import (  # @include unpack_archives.py
    EXIT_DAMAGED,
    EXIT_NO_ROOM,
    EXIT_NO_WAY,
    Refused,
    digest,
    extract_conda,
    new_file,
    outside,
    safe_path,
)
from unpack_packages import install_conda, install_wheel, site_packages  # @include unpack_packages.py


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
    """Install wheels on the access point, where the environment's own Python is not executed."""
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
