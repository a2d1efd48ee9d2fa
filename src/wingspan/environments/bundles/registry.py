"""Send an `oci` archive to a container registry, by skopeo or podman, whichever this machine has.

Both read the credentials that their users have: ``auth.json``, Docker's ``config.json`` and the helpers that
these name. skopeo asks the registry for each layer first: one that is there already, or in another
repository of the same registry, is not sent.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from wingspan.environments.bundles.errors import RegistryRefused
from wingspan.environments.bundles.storage import cache_folder, temporary_folder
from wingspan.errors import SettingsError

__all__ = ["last_words", "push_archive"]


def _index(path: Path) -> tuple[str, str]:
    """The name that an archive has for engines, and the digest of its image.

    Raises:
        RegistryRefused: It is no archive of an image.
    """
    try:
        with tarfile.open(path) as archive:
            file = archive.extractfile("index.json")
            assert file is not None
            (entry,) = json.load(file)["manifests"]
        annotations = entry.get("annotations") or {}
        return str(annotations.get("org.opencontainers.image.ref.name", "")), str(entry["digest"])
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise RegistryRefused(
            f"{path} is no archive of an image: {error}",
            hint="only oci bundles go to registries: wingspan env bundle --kind oci",
        ) from None


def split_reference(reference: str) -> tuple[str, str]:
    """The repository and the tag that a reference names; the tag may be empty.

    Raises:
        SettingsError: It names no repository.

    >>> split_reference("registry.example.org:5000/me/env"), split_reference("ghcr.io/me/env:1.0")
    (('registry.example.org:5000/me/env', ''), ('ghcr.io/me/env', '1.0'))
    """
    place, _, tag = reference.rpartition(":")
    if not tag or "/" in tag or not place:
        place, tag = reference.removesuffix(":"), ""
    if "/" not in place or "://" in reference or "@" in reference:
        raise SettingsError(
            f"{reference!r} names no repository of a registry", hint="for example registry.example.org/me/env"
        )
    return place, tag


def push_archive(path: Path, reference: str) -> str:
    """Send an archive to a registry.

    Args:
        path: The archive.
        reference: ``registry.example.org/me/env:2026.11``; without a tag it gets one of the image's digest.

    Returns:
        The name by which the image is pulled for good: ``registry.example.org/me/env@sha256:…``. skopeo keeps
        the image's own digest; podman packs the layers anew.

    Raises:
        SettingsError: The reference names no repository, or the tag is ``latest``, which is another image
            tomorrow.
        RegistryRefused: The registry refuses or does not answer; or there is neither skopeo nor podman.
    """
    name, digest = _index(path)
    tag_of_content = digest.partition(":")[2][:8]
    place, tag = split_reference(reference)
    tag = tag or tag_of_content
    if tag == "latest":
        raise SettingsError(
            f"the tag of {reference!r} may name another image tomorrow",
            hint=f"{place}:{tag_of_content}, or leave it out",
        )
    target = f"{place}:{tag}"
    with temporary_folder(cache_folder("images")) as work:
        told = work / "digest"
        if program := shutil.which("skopeo"):
            _call(
                [program, "copy", "--digestfile", str(told), f"oci-archive:{path}", f"docker://{target}"],
                target,
            )
        elif program := shutil.which("podman"):
            _call([program, "load", "--input", str(path)], target)
            _call(
                [program, "push", "--digestfile", str(told), f"localhost/{name}", f"docker://{target}"],
                target,
            )
        else:
            raise RegistryRefused(
                "neither skopeo nor podman is here, and they send images to registries",
                hint=f"install one, or elsewhere: skopeo copy oci-archive:{path.name} docker://{target}",
            )
        return f"{place}@{told.read_text(encoding='utf-8').strip()}"


#: What skopeo and podman say, and what to do about it.
_HINTS = (
    (
        ("HTTP response to HTTPS client",),
        "it speaks without TLS; if you trust the way to it, name it in ~/.config/containers/registries.conf: "
        '[[registry]] location = "{host}" and insecure = true',
    ),
    (
        ("authentication required", "unauthorized", "denied", "no basic auth"),
        "{program} login {host}, with a name that may write there",
    ),
    (
        ("no space left", "quota", "insufficient storage"),
        "the registry has no room: ask whose it is, or remove images there",
    ),
    (("connection refused", "no such host", "timeout"), "is {host} the registry, and does it run?"),
)


def _call(command: list[str], reference: str) -> None:
    """Have a program do its work; its complaints get hints.

    Raises:
        RegistryRefused: It fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return
    said, program = last_words(done.stderr), Path(command[0]).name
    host = reference.partition("/")[0]
    hints = [hint for words, hint in _HINTS if any(word.lower() in said.lower() for word in words)]
    hint = hints[0].format(program=program, host=host) if hints else None
    raise RegistryRefused(
        f"{program} {command[1]} could not send the image to {reference}: {said}", hint=hint
    )


def last_words(log: str) -> str:
    """The last line of a log, and of a line like ``level=fatal msg="…"`` the message alone.

    >>> last_words('time="2026-11-30" level=fatal msg="pinging \\\\"registry\\\\": denied"')
    'pinging "registry": denied'
    >>> last_words("")
    'it says nothing'
    """
    line = (log.strip().splitlines() or ["it says nothing"])[-1]
    found = re.search(r'\bmsg=("(?:[^"\\]|\\.)*")', line)
    with contextlib.suppress(ValueError):  # not quoted as JSON quotes
        return str(json.loads(found[1])) if found else line
    return line
