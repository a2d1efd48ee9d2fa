"""Rules about the images of containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from wingspan.lint._rule import Hit
from wingspan.lint._rules_files import HASHED
from wingspan.lint._rules_submit import SUBMIT, is_cern
from wingspan.lint._submit_file import SubmitFile

__all__: list[str] = []

_CONTAINER = "https://htcondor.readthedocs.io/en/latest/users-manual/container-universe-jobs.html"


@SUBMIT.rule(
    "unpinned-image",
    hint="name the image by its digest (…@sha256:…), or put a hash into the name of the file",
    why="A tag can point to another image tomorrow, and the jobs of one batch may get two different images. Caches go on "
    "serving the old content of a file that keeps its name.",
    source=_CONTAINER
    + "; https://docs.docker.com/reference/cli/docker/image/pull/#pull-an-image-by-digest-immutable-identifier",
)
def unpinned_image(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.of("container_image", "docker_image"):
        image = command.value.strip('"')
        if not image or command.has_macros or "@sha256:" in image or image.endswith("/") or "{" in image:
            continue
        # one that is sent from here comes through no cache, and names in CVMFS are not ours to choose
        if command.key == "container_image" and ("://" not in image or image.startswith("file:")):
            continue
        # the host of a registry is no part that could carry a hash
        name = urlsplit(image).path if "://" in image else image
        if not HASHED.search(PurePosixPath(name).name):
            tag = "" if ":" in PurePosixPath(name).name or name.endswith(".sif") else " (latest is meant)"
            yield Hit(command.line, f"the image {image}{tag} has neither a digest nor a hash in its name")


@SUBMIT.rule(
    "old-image-attribute",
    hint="write container_image = … (and no universe, or universe = container)",
    why="The attribute is of the time before the container universe: the OSPool asks for container_image. CERN, LIGO and CMS still "
    "ask for the attribute.",
    source=_CONTAINER + "; https://portal.osg-htc.org/documentation/htc_workloads/using_software/containers/",
)
def old_image_attribute(submit: SubmitFile) -> Iterator[Hit]:
    marks = ("accounting_group", "accounting_group_user", "x509userproxy", "use_x509userproxy")
    if is_cern(submit) or submit.of(*marks) or submit.custom("AccountingGroup"):
        return
    for command in submit.custom("SingularityImage"):
        if "opensciencegrid.org" in command.value:
            yield Hit(command.line, f"{command.written} is no longer the OSPool's way to name an image")


@SUBMIT.rule(
    "container-command",
    hint="universe = container with container_image, or universe = docker with docker_image",
    why="docker_image is handed to docker as it is, which knows no docker://.",
    source=_CONTAINER,
)
def container_command(submit: SubmitFile) -> Iterator[Hit]:
    universe = submit.last("universe")
    said = universe.value.lower() if universe else ""
    for command in submit.of("docker_image"):
        if command.value.startswith("docker://") and said != "container":
            yield Hit(
                command.line,
                "docker_image takes the name without docker://",
                f"write container_image = {command.value} with universe = container",
            )
