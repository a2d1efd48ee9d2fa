"""Commands that look at maps: ``maps``, ``status``, ``errors``, ``stdout``, ``stderr``."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from wingspan._words import counted, lasting, ranges_text, sized
from wingspan.cli._output import (
    TAG,
    as_json_or_csv,
    facts,
    one_format,
    print_json,
    progress_text,
    short_name,
    state_of,
    status_record,
    when,
)
from wingspan.cli._streams import last_lines
from wingspan.cli._terminal import echo, echo_raw
from wingspan.cli._watch import watch_until_done, watching
from wingspan.jobs import Size, size_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wingspan.maps import ComponentError, Map
    from wingspan.maps._streams import Streams

__all__ = ["errors", "maps", "status", "stderr", "stdout"]

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _damaged(tag: str, reason: str) -> dict[str, Any]:
    return {
        "tag": tag,
        "state": "damaged",
        "function": None,
        "pools": [],
        "by_pool": {},
        "components": None,
        "counts": {},
        "workers": {},
        "message": None,
        "transient": None,
        "created": None,
        "path": None,
        "elapsed": None,
        "wall": None,
        "cpu": None,
        "peak_memory": None,
        "damaged": reason,
    }


def _record(tag: str) -> dict[str, Any] | None:
    """What is known of a map; one that cannot be read is part of the list too, one just removed is not."""
    import wingspan

    try:
        one = wingspan.load(tag)
        return status_record(one, one.status())
    except (wingspan.TagNotFound, wingspan.MapRemoved):
        return None
    except wingspan.WingspanError as error:
        return _damaged(tag, error.message)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one map, the list shows the others
        return _damaged(tag, f"{type(error).__name__}: {error}")


#: Columns of ``maps --csv``.
_CSV = (
    "tag",
    "state",
    "components",
    "completed",
    "errored",
    "function",
    "pools",
    "elapsed",
    "wall",
    "cpu",
    "peak_memory",
    "created",
    "path",
)


@click.command()
@click.argument("pattern", required=False, type=TAG)
@as_json_or_csv
def maps(pattern: str | None, as_json: bool, as_csv: bool) -> None:
    """List your maps, the newest first; with PATTERN, such as 'sweep-*', those whose tag matches.

    TOOK is the time from when a map was made until its last component ended, or until now; MEMORY the most
    that one component has taken. A tag with a * before it was made up: wingspan clean removes that map.
    """
    import wingspan
    from wingspan.cli._table import print_csv, print_table

    one_format(as_json, as_csv)
    records = [record for tag in wingspan.tags(pattern) if (record := _record(tag)) is not None]
    records.sort(key=lambda record: -(record["created"] or 0.0))
    if as_json:
        print_json(records)
        return
    if as_csv:
        print_csv(_CSV, [{**one, **one["counts"], "pools": "+".join(one["pools"])} for one in records])
        return
    if not records:
        echo("no maps" if pattern is None else f"no map has a tag like {pattern!r}", err=True)
        return
    print_table(
        ["TAG", "STATE", "COMPLETED", "FAILED", "FUNCTION", "POOL", "TOOK", "MEMORY", "CREATED"],
        [_row(record) for record in records],
        right=["COMPLETED", "FAILED", "TOOK", "MEMORY"],
        whole=["TAG", "STATE", "COMPLETED", "FAILED", "TOOK", "MEMORY"],
        drop=["POOL", "CREATED", "MEMORY", "TOOK"],
    )
    for record in records:
        if record["damaged"]:
            echo(f"{record['damaged']}\n  wingspan rm {record['tag']} takes it away", err=True)


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    mark = "*" if record["transient"] else ""
    if record["damaged"]:
        return (record["tag"], "damaged", *[""] * 7)
    return (
        mark + record["tag"],
        record["state"],
        f"{record['counts']['completed']:,}/{record['components']:,}",
        f"{record['counts']['errored']:,}" if record["counts"]["errored"] else "",
        short_name(record["function"]),
        "+".join(record["pools"]),
        lasting(record["elapsed"]),
        sized(record["peak_memory"]) if record["peak_memory"] else "",
        when(record["created"]),
    )


@click.command()
@click.argument("tag", type=TAG)
@click.option("--components", "each", is_flag=True, help="The status of each component, too.")
@watching
@as_json_or_csv
def status(*, tag: str, each: bool, watch: bool, as_json: bool, as_csv: bool) -> None:
    """How far a map is, and what keeps it. As CSV: a line for each component."""
    import wingspan

    one_format(as_json, as_csv)
    one = wingspan.load(tag)
    if as_csv:
        from wingspan.cli.components import print_components

        print_components(one, as_csv=True)
        return
    if watch and not as_json:
        watch_until_done(lambda: (_status_text(one, each), one.is_done))
        return
    seen = one.status()
    if as_json:
        record = status_record(one, seen)
        record["environment"] = facts(one).get("environment")
        record["holds"] = {
            component: {"code": hold.code, "reason": hold.reason, "worker": hold.worker}
            for component, hold in one.holds.items()
        }
        record["progress"] = {
            component: {"fraction": told.fraction, "message": told.message, "time": told.time}
            for component, told in one.progress.items()
        }
        if len(requests := one.requests) > 1:
            record["requests"] = [
                {"components": ranges_text(request.components), **request.beyond(one.options)}
                for request in requests
            ]
        if each:
            record["statuses"] = [one_status.value.lower() for one_status in one.statuses]
        print_json(record)
        return
    echo(_status_text(one, each))


def _status_text(one: Map, each: bool) -> str:
    """How far a map is, in several lines; with `each`, the components by status."""
    from wingspan.maps import ComponentStatus
    from wingspan.maps._several import told_by_pool

    seen, known = one.status(), facts(one)
    workers = ", ".join(f"{count:,} {state}" for state, count in seen.workers.items()) or "none"
    lines = [
        f"{seen.tag}: {short_name(known.get('function'))} on {counted(seen.components, 'input')}, {state_of(seen)}"
    ]
    lines += [f"  {name.value.lower():<10} {count:>11,}" for name, count in seen.counts.items() if count]
    lines.append(f"  workers    {workers} ({', '.join(seen.pools)})")
    if seen.by_pool:
        lines.append(f"  done by    {told_by_pool(seen.by_pool)}")
    lines.append(f"  runs in    {_environment(known)}")
    lines.append(f"  created    {when(known.get('created'))}")
    lines.append(f"  took       {lasting(seen.elapsed)}{'' if seen.is_done else ' so far'}")
    if seen.wall:
        lines.append(
            f"  components {lasting(seen.wall)} all together, {lasting(seen.cpu)} of it processor time, "
            f"at most {sized(seen.peak_memory)} of memory each"
        )
    lines += _request_lines(one)
    lines += _progress_lines(one)
    lines.append(f"  folder     {one.path}")
    if one.output_files.root.is_dir():
        lines.append(f"  files      {one.output_files.root} (wingspan fetch {seen.tag} copies them)")
    lines += [f"  warning    {warning}" for warning in (known.get("environment") or {}).get("warnings", ())]
    if each:
        lines += [
            f"  {name.value.lower()}: {ranges_text(components)}"
            for name, components in one.components_by_status().items()
        ]
    lines += seen.notes
    if seen.message:
        lines.append(seen.message)
    if seen.counts[ComponentStatus.ERRORED]:
        lines.append(f"wingspan errors {seen.tag} shows what failed")
    return "\n".join(lines)


#: How many groups of components are shown, and so many components of each.
_MOST_GROUPS, _MOST_MEMBERS = 8, 12


def _request_lines(one: Map) -> list[str]:
    """What components ask for, where they ask for different things."""
    requests, lines = one.requests, []
    if len(requests) == 1:
        return []
    for request in requests[:_MOST_GROUPS]:
        asked = [
            f"{name.removeprefix('request_')} {_said(name, value)}"
            for name, value in request.beyond(one.options).items()
        ]
        numbers = ranges_text(request.components[:_MOST_MEMBERS])
        more = ", …" if len(request.components) > _MOST_MEMBERS else ""
        lines.append(f"  asks for   {', '.join(asked) or 'the usual'}: component {numbers}{more}")
    if len(requests) > _MOST_GROUPS:
        lines.append(f"  and {len(requests) - _MOST_GROUPS} other groups")
    return lines


def _said(name: str, value: Any) -> str:
    """A size or a time for people, or what else it is."""
    is_size = name in ("request_memory", "request_disk") and isinstance(value, int)
    if name == "time" and value is not None:
        return lasting(float(value))
    return size_text(Size(value)) if is_size else str(value)


#: How many running components are shown: those that have done least.
_MOST_PROGRESS = 8


def _progress_lines(one: Map) -> list[str]:
    """How far running components say that they are."""
    known = sorted(one.progress.items(), key=lambda item: (item[1].fraction, item[0]))
    lines = [f"  component  {component}: {progress}" for component, progress in known[:_MOST_PROGRESS]]
    if len(known) > _MOST_PROGRESS:
        lines.append(f"  and {counted(len(known) - _MOST_PROGRESS, 'component')} that are further")
    return lines


def _environment(known: dict[str, Any]) -> str:
    """Where the function is called: in a locked environment, or in the Python that made the map."""
    from wingspan.cli._table import size

    environment = known.get("environment")
    if environment:
        place, delta = environment.get("source") or environment["bundle"], environment.get("delta")
        if delta:
            place = f"{environment['bundle']}, of which {size(delta['size'])} are sent, and the rest is from {place}"
        code = ", ".join(layer["what"] for layer in environment.get("layers") or ())
        return (
            f"environment {environment['name']!r} of {environment['workspace']} ({environment['platform']}, "
            f"Python {environment['python']}), as {environment['kind']}: {place}"
            + (f"; and the code of {code}" if code else "")
        )
    written = known.get("interpreter", {})
    return (
        f"the Python that made the map ({written.get('implementation', 'Python')} {written.get('python', '')}): "
        "no environment was asked for"
    )


@click.command()
@click.argument("tag", type=TAG)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help="At most this many reports.  [default: 3, with --json all]",
)
@_json
def errors(tag: str, limit: int | None, as_json: bool) -> None:
    """What failed in a map so far: first by kind, then report by report, one of each kind first."""
    import wingspan

    one = wingspan.load(tag)
    found = one.errors
    if as_json:
        print_json([_error_record(error) for error in list(found.values())[:limit]])
        return
    if not found:
        echo(f"no component of {one.tag} has failed: {progress_text(one.status())}", err=True)
        return
    groups = _by_kind(found)
    echo(f"{len(found):,} of {counted(len(one), 'component')} of {one.tag} failed:")
    for kind, members in groups.items():
        example = members[0].text.split("\n")[0]
        numbers = ranges_text(tuple(error.component for error in members))
        where = numbers if len(numbers) <= 60 else numbers[:59].rpartition(",")[0] + " …"
        echo(
            f"  {len(members):>7,} × {kind}{': ' + example if example else ''} ({'component' if len(members) == 1 else 'components'} {where})"
        )
    shown = _one_of_each_first(groups)[: 3 if limit is None else limit]
    for error in shown:
        echo(f"\n{error.report()}")
    if len(shown) < len(found):
        echo(f"\n{len(found) - len(shown):,} more: wingspan errors {one.tag} --limit {len(found)}", err=True)


def _by_kind(found: Mapping[int, ComponentError]) -> dict[str, list[ComponentError]]:
    groups: dict[str, list[ComponentError]] = {}
    for error in found.values():
        groups.setdefault(error.type_name, []).append(error)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _one_of_each_first(groups: dict[str, list[ComponentError]]) -> list[ComponentError]:
    first = [members[0] for members in groups.values()]
    rest = [error for members in groups.values() for error in members[1:]]
    return first + rest


def _error_record(error: ComponentError) -> dict[str, Any]:
    return {
        "component": error.component,
        "kind": error.type_name,
        "message": error.text,
        "input": error.given,
        "traceback": error.traceback,
        "host": error.host,
        "worker": error.worker,
        "attempt": error.attempt,
        "signal": error.signal,
        "exit_code": error.exited_with,
        "peak_memory": error.peak_memory,
        "stderr": error.stderr,
        "hint": error.hint,
    }


_component = click.argument("component", type=int)
_tail = click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
_follow = click.option("-f", "--follow", is_flag=True, help="Go on printing until the component is done.")


@click.command()
@click.argument("tag", type=TAG)
@_component
@_tail
@_follow
def stdout(tag: str, component: int, tail: int | None, follow: bool) -> None:
    """What a component has printed so far; COMPONENT is its number, from 0."""
    _print_stream(tag, component, "stdout", follow, tail)


@click.command()
@click.argument("tag", type=TAG)
@_component
@_tail
@_follow
def stderr(tag: str, component: int, tail: int | None, follow: bool) -> None:
    """What a component has written to standard error so far; COMPONENT is its number, from 0."""
    _print_stream(tag, component, "stderr", follow, tail)


def _print_stream(tag: str, component: int, name: str, follow: bool, tail: int | None) -> None:
    import wingspan

    one = wingspan.load(tag)
    if not 0 <= component < len(one):
        raise click.UsageError(f"{tag} has the components 0 to {len(one) - 1}")
    stream: Streams = getattr(one, name)
    shown = stream(component)
    echo_raw(shown if tail is None else last_lines(shown, tail), nl=False)
    final = not follow
    while not final:
        # Waiting, rather than sleeping, keeps the map going where it needs somebody for it.
        with contextlib.suppress(wingspan.MapTimeout):
            one.wait(timeout=0.3, progress=False, errors_ok=True)
        # Asked before what it has printed: the end of that comes with its own.
        final = _is_final(one, component)
        now = stream(component)
        if not now.startswith(shown):
            echo("\n-- the component was begun again --", err=True)
            shown = ""
        echo_raw(now[len(shown) :], nl=False)
        shown = now


def _is_final(one: Map, component: int) -> bool:
    from wingspan.maps import ComponentStatus

    return one.statuses[component] in (ComponentStatus.COMPLETED, ComponentStatus.ERRORED)
