"""Outputs that go to an address instead of coming back: ``--output model.pt=osdf:///…``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from wingspan._kept_files import check_url, is_url, raised_as
from wingspan.errors import PoolError
from wingspan.runs._errors import InvalidRun, NoSuchMachine
from wingspan.runs._words import filled

if TYPE_CHECKING:
    from wingspan.pools import Pool
    from wingspan.pools.following import Earlier
    from wingspan.runs._spec import RunSpec

__all__ = [
    "GATHERED",
    "check_destinations",
    "destinations_of_job",
    "gathered_as",
    "is_pattern",
    "plugin_requirement",
    "refuse_without_outputs",
    "rendered_remaps",
    "split_outputs",
    "transfer_remaps",
]

#: Folders of what matches patterns, among the outputs of a job, begin so.
GATHERED = ".wingspan-sent-"
#: In an address, it stands for the number of the job.
NUMBER = "{number}"
_GIVEN = re.compile(r"(?P<path>.+?)=(?P<url>[A-Za-z][A-Za-z0-9+.-]*://.*)", re.DOTALL)
#: What means something in a submit description, or in the list of HTCondor's `transfer_output_remaps`.
_SPECIAL = re.compile(r"[;=\"\\,()$\s]")
#: What `wingspan.stores` can write to.
_SENT_BY_STORES = ("file", "https", "http", "s3")
#: A table of so many jobs stands in the submit description, which HTCondor reads anew for each job.
_MOST_VARIED = 1000


def split_outputs(given: Iterable[str], destination: str | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Paths of outputs, and where those of them go that do not come back.

    Args:
        given: Paths, patterns, ``PATH=URL``, or ``PATTERN=URL/``: what matches goes into that folder, with
            its path.
        destination: Folder that all others go to; None: they come back.

    Raises:
        InvalidRun: An address cannot be one, or that of a pattern is no folder.

    >>> split_outputs(["log.txt", "model.pt=osdf:///ospool/me/model.pt"], None)
    (('log.txt', 'model.pt'), {'model.pt': 'osdf:///ospool/me/model.pt'})
    >>> split_outputs(["log.txt"], "osdf:///ospool/me/")[1]
    {'log.txt': 'osdf:///ospool/me/log.txt'}
    >>> split_outputs(["*.pt=osdf:///ospool/me/models/"], None)[1]
    {'*.pt': 'osdf:///ospool/me/models'}
    """
    if destination is not None and not is_url(destination):
        raise InvalidRun(
            f"output_destination = {destination!r} is no address",
            hint="for example osdf:///ospool/me/results, or file:///staging/me/results",
        )
    paths: list[str] = []
    found: dict[str, str] = {}
    for one in given:
        match = _GIVEN.fullmatch(one)
        path, url = (match["path"], match["url"]) if match else (one, None)
        if url is None and destination is not None:
            url = f"{destination.rstrip('/')}/{'' if is_pattern(path) else path}"
        paths.append(path)
        if url is None:
            continue
        if is_pattern(path):
            if not url.endswith("/"):
                raise InvalidRun(
                    f"the output {path!r} is a pattern: what matches goes into a folder, and {url} names none",
                    hint=f"write the address with a slash at its end: {path}={url}/",
                )
            url = url.rstrip("/")
        with raised_as(refused=InvalidRun):
            check_url(url, "output")
        if found.setdefault(path, url) != url:
            raise InvalidRun(f"the output {path!r} is to go to {found[path]} and to {url}", hint="name one")
    return tuple(dict.fromkeys(paths)), found


def is_pattern(path: str) -> bool:
    """Whether an output stands for whatever matches it."""
    return any(character in path for character in "*?[")


def gathered_as(spec: RunSpec, path: str) -> str:
    """The place, among the outputs, of what is sent to the address of `path`. For a pattern it is the folder
    into which the job's script puts everything that matches.
    """
    return f"{GATHERED}{[*spec.destinations].index(path)}" if is_pattern(path) else path


def destinations_of_job(spec: RunSpec, number: int) -> dict[str, str]:
    """Where outputs of job `number` go: path in the job's folder -> address, with the sweep's values."""
    row = spec.rows[number]
    safe = [quote(value, safe="") for value in row]
    return {
        filled(path, spec.parameters, row): filled(
            url if "number" in spec.parameters else url.replace(NUMBER, str(number)), spec.parameters, safe
        )
        for path, url in spec.destinations.items()
    }


def check_destinations(spec: RunSpec, pool: Pool) -> None:
    """See that outputs can go where they are to go, before anything is submitted.

    Raises:
        InvalidRun: Two jobs would write to one address, or nothing here sends files to such an address.
        NoSuchMachine: No machine of the pool has a transfer plugin for it.
        StoreError: The place does not answer, or is not there.
    """
    if not spec.destinations:
        return
    _check_values(spec)
    seen: dict[str, int] = {}
    for number in range(len(spec.rows)):
        folders = set[str]()  # what matches several patterns of a job may go into one folder
        for path, url in destinations_of_job(spec, number).items():
            if url in seen and not (is_pattern(path) and url in folders):
                several = seen[url] != number
                who = f"jobs {seen[url]} and {number}" if several else "two outputs of a job"
                raise InvalidRun(
                    f"{who} would be written to {url}",
                    hint=f"put a parameter of the sweep or {NUMBER} into the address"
                    if several
                    else "give each its own",
                )
            seen[url] = number
            if is_pattern(path):
                folders.add(url)
    if pool.moves_files:
        transfer_remaps(spec)
        _check_plugins(spec, pool)
    else:
        _check_stores(seen)


def _check_values(spec: RunSpec) -> None:
    """See that no value leads out of the folder that an address names.

    Raises:
        InvalidRun: One does.
    """
    for place, name in enumerate(spec.parameters):
        if not any(f"{{{name}}}" in url for url in spec.destinations.values()):
            continue
        wrong = next(
            (row[place] for row in spec.rows if "/" in row[place] or row[place] in ("", ".", "..")), None
        )
        if wrong is not None:
            raise InvalidRun(
                f"the value {wrong!r} of the parameter {name!r} cannot be a part of an address",
                hint=f"put {NUMBER}, the number of the job, into the address instead",
            )


def _check_stores(urls: Iterable[str]) -> None:
    """The job's script sends the files, by the ways that `wingspan.stores` has.

    Raises:
        InvalidRun: There is none.
        StoreError: The place does not answer, refuses us, or is not there.
    """
    from wingspan.settings import load_settings
    from wingspan.stores.sending import check_target

    settings = load_settings()
    for url in {url.rpartition("/")[0]: url for url in urls}.values():
        if url.partition("://")[0].lower() not in _SENT_BY_STORES:
            raise InvalidRun(
                f"outputs of this pool cannot go to {url}: only jobs of HTCondor send there, by its plugins",
                hint="name an HTCondor pool, or another address: file://, https:// (WebDAV), s3://",
            )
        check_target(url, settings)


def _schemes(urls: Iterable[str]) -> list[str]:
    return sorted({url.partition("://")[0].lower() for url in urls})


def plugin_requirement(urls: Iterable[str]) -> str | None:
    """The ClassAd expression of machines that have HTCondor's plugins for these addresses; None: there are
    none.

    >>> plugin_requirement(["osdf:///a/b"])
    'stringListIMember("osdf", TARGET.HasFileTransferPluginMethods)'
    """
    wanted = [
        f'stringListIMember("{scheme}", TARGET.HasFileTransferPluginMethods)' for scheme in _schemes(urls)
    ]
    return " && ".join(wanted) or None


def _check_plugins(spec: RunSpec, pool: Pool) -> None:
    """See that a machine of the pool has the plugins.

    Raises:
        NoSuchMachine: None has.
    """
    if spec.switches:  # the jobs may go to other pools
        return
    try:
        lists = [str(ad.get("HasFileTransferPluginMethods") or "") for ad in _machines(pool)]
    except PoolError:  # the submission will say so
        return
    offered = [set(methods.lower().replace(" ", "").split(",")) for methods in lists]
    missing = [
        scheme for scheme in _schemes(spec.destinations.values()) if not any(scheme in one for one in offered)
    ]
    if offered and missing:
        raise NoSuchMachine(
            f"no machine of the {pool.kind} pool has HTCondor's transfer plugin for {missing[0]}://, which an output is to go to",
            hint=f"they have {', '.join(sorted(set.union(*offered) - {''})) or 'none'}; let it come back: --output PATH",
        )


def _machines(pool: Pool) -> Sequence[Mapping[str, object]]:
    return pool.machine_ads("true", ["HasFileTransferPluginMethods"])


def refuse_without_outputs(earlier: Earlier) -> None:
    """See that a run whose outputs another one is to get has any that come back.

    Raises:
        InvalidRun: All of them go to addresses.
    """
    from wingspan.runs._errors import RunError
    from wingspan.runs._folder import RunFolder

    if earlier.kind != "run":
        return
    try:
        spec = RunFolder(earlier.path).spec
    except RunError:  # what follows the run says so
        return
    if spec.outputs and set(spec.outputs) <= set(spec.destinations):
        url = next(iter(spec.destinations.values()))
        raise InvalidRun(
            f"the outputs of {earlier} go to addresses, and none of them comes back to be an input",
            hint=f"name the address as input: --input {url}, with --after {earlier.name}",
        )


def transfer_remaps(spec: RunSpec, number: int | None = None) -> str | None:
    """The submit command `transfer_output_remaps`, with which HTCondor sends outputs elsewhere.

    Each file lies in the folder that the job's script gathers outputs in. What is not there is not sent, and
    does not keep the job.

    Args:
        spec: The run.
        number: The job; None: all of them, by their process number.

    Raises:
        InvalidRun: A path or address cannot be written there.
    """
    if not spec.destinations:
        return None
    numbers = range(len(spec.rows)) if number is None else [number]
    rows = [_entries(spec, each) for each in numbers]
    process = "$(Process)" if number is None else str(number)
    if len(rows) == 1:
        return f'"{rows[0]}"'.replace("\0", process)
    numbered = {url.replace(NUMBER, "") for url in spec.destinations.values()}
    texts = [*spec.destinations, *numbered]
    if not any(f"{{{name}}}" in text for text in texts for name in spec.parameters):
        row = _entries(spec, 0, numbered=False)
        return f'"{row}"'.replace("\0", process)
    if len(rows) > _MOST_VARIED:
        raise InvalidRun(
            f"the addresses of outputs differ by parameters, in {len(rows):,} jobs; HTCondor takes {_MOST_VARIED:,} such jobs",
            hint=f"name them by the number of the job: {NUMBER}",
        )
    # HTCondor looks for no other macro inside of this one.
    rows = [row.replace("\0", str(each)) for each, row in enumerate(rows)]
    return f'"$CHOICE(Process,{",".join(rows)})"'


def rendered_remaps(spec: RunSpec, job: str, macro: Callable[[str], str]) -> str | None:
    """The same command for a submit description that a person owns.

    Args:
        spec: The run.
        job: The number of a job, as a macro.
        macro: The value of a parameter, as a macro.

    Raises:
        InvalidRun: A path or address cannot be written there.
    """
    if not spec.destinations:
        return None
    _entries(spec, 0)
    values = [macro(name) for name in spec.parameters]
    entries = []
    for path, url in spec.destinations.items():
        target = url if "number" in spec.parameters else url.replace(NUMBER, job)
        place, address = (filled(text, spec.parameters, values) for text in (gathered_as(spec, path), target))
        entries.append(f"outputs-$(Cluster)-{job}/{place}={address}")
    return f'"{";".join(entries)}"'


def _entries(spec: RunSpec, number: int, *, numbered: bool = True) -> str:
    """The list for one job; a NUL stands for the number of the process."""
    found = destinations_of_job(spec, number) if numbered else dict(spec.destinations)
    entries = []
    places = [gathered_as(spec, path) for path in spec.destinations]
    for (path, url), gathered in zip(found.items(), places, strict=True):
        place = gathered if is_pattern(path) else path
        for text in (place, url):
            if odd := _SPECIAL.search(text):
                raise InvalidRun(
                    f"the output {path!r} cannot go to {url}: HTCondor has no way to write the character {odd[0]!r} there",
                    hint="rename the file; in an address, write the character with % and its number",
                )
        target = url if numbered else url.replace(NUMBER, "\0")
        entries.append(f"outputs-\0/{place}={target}")
    return ";".join(entries)
