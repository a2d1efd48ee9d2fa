# mypy: ignore-errors
# The packages of a pack are put into the environment by the worker's unpacker: conda packages and wheels
# (Python 3.6 and later).

import base64
import configparser
import csv
import hashlib
import json
import os
import re
import shutil
import zipfile

from in_place import LONGEST_LINE, replace_in_binary, replace_in_text  # @include in_place.py
from trust import check_name, check_path  # @include ../../../worker/trust.py
from unpack_archives import (  # @include unpack_archives.py
    EXIT_NO_WAY,
    Refused,
    file_name_of,
    make_way,
    new_file,
    safe_path,
)

# ---- conda packages


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
