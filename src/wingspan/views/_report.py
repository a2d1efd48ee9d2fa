"""A report: one HTML file that needs nothing else, no network and no scripts.

Pictures are SVG, with their figures as text beside them.
"""

from __future__ import annotations

import html
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from wingspan._shown import shown
from wingspan._words import counted, lasting, moment, sized
from wingspan.views._model import Report, View, WorkerSpan
from wingspan.views._source import Source
from wingspan.views._static import static_text
from wingspan.worker import trust

__all__ = ["report_html", "write_report"]

#: More jobs than these are drawn together, not each in a line of its own; more hosts than these are left out.
_LINES, _HOSTS = 120, 40
_WIDTH = 860
_BINS = 40
#: A GPU that is used less than this is not worth waiting for.
_GPU_IDLE = 0.2


def write_report(source: Source, path: str | os.PathLike[str] | None) -> Path:
    """Write the report of `source`, whole or not at all.

    Args:
        source: A map or run.
        path: The file; None: ``wingspan-NAME.html`` in the current folder.

    Raises:
        OSError: It cannot be written.
    """
    report = source.report()
    name = re.sub(r"[^\w.-]", "-", report.view.name)
    target = Path(f"wingspan-{name}.html" if path is None else path).absolute()
    try:
        # In a folder that others may write to, nobody can put a link in its place.
        with trust.replacing(str(target), sync=False) as file:
            file.write(report_html(report).encode("utf-8", "replace"))
    except OSError as error:  # the name of the file that stands in for it would tell nobody anything
        raise OSError(error.errno, error.strerror, str(target)) from None
    return target


def report_html(report: Report) -> str:
    """The whole file.

    >>> view = View(kind="map", name="<b>", title="f", components=0, created=0, now=0, states={}, workers={}, pools=(), is_done=True)
    >>> text = report_html(Report(view=view, spans=(), started=(), runtimes=(), cpu=(), memory=()))
    >>> "<b>" in text, "&lt;b&gt;" in text
    (False, True)
    """  # noqa: W505
    view = report.view
    sections = [
        _head(report),
        _advice(report),
        _timeline(report),
        _runtimes(report),
        _memory(report),
        _queue(report),
        _hosts(report),
        _errors(view),
        _holds(view),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{_text(view.name)}: Wingspan report</title><style>{static_text('report.css')}</style></head>"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _text(text: object) -> str:
    return html.escape(shown(str(text)))


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in pairs)
    return f"<dl>{rows}</dl>" if rows else ""


def _times(report: Report) -> tuple[float, float] | None:
    """From the first submission to the last end, as far as it is known."""
    begins = [span.submitted or span.started for span in report.spans]
    ends = [span.ended or (report.view.now if span.started else None) for span in report.spans]
    ends += [start + wall for start, wall in zip(report.started, report.runtimes, strict=True)]
    known = [one for one in begins if one]
    last = [one for one in ends if one]
    if not known or not last:
        return None
    return min(known), max(*last, min(known))


def _ran(report: Report) -> float:
    """Seconds that jobs were running, all together."""
    return sum(
        max(0.0, (span.ended or report.view.now) - span.started)
        for span in report.spans
        if span.started is not None
    )


def _head(report: Report) -> str:
    view = report.view
    what = "components" if view.kind == "map" else "jobs"
    state = "done" if view.is_done else "going on"
    pairs = [
        *report.facts,
        ("pool", ", ".join(view.pools)),
        (
            what,
            f"{view.components:,}: " + ", ".join(f"{count:,} {name}" for name, count in view.states.items()),
        ),
    ]
    times = _times(report)
    if times is not None:
        pairs.append(("from submission to the end", lasting(times[1] - times[0])))
    if report.runtimes:
        total = sum(report.runtimes)
        pairs.append((f"time of all {what}", lasting(total)))
        if sum(report.cpu):
            pairs.append(
                ("processor time", f"{lasting(sum(report.cpu))} ({_share(sum(report.cpu), total)} of it)")
            )
        if report.gpu_use:
            pairs.append(("GPU use", f"{statistics.fmean(report.gpu_use):.0%} on average"))
            pairs.append(("GPU memory", f"{sized(max(report.gpu_memory))} at most"))
        ran = _ran(report)
        if ran:
            pairs.append(("goodput", f"{_share(total, ran)} of the {lasting(ran)} for which jobs ran"))
    pairs += [(f"asked for: {name}", value) for name, value in report.requested]
    message = f'<p class="message">{_text(view.message)}</p>' if view.message else ""
    return (
        f"<h1>{_text(view.name)}</h1><p><code>{_text(view.title)}</code>, {state} on {_text(moment(view.now))}</p>"
        f"{_bar(view)}{_pairs(pairs)}{message}"
    )


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "?"


def _bar(view: View) -> str:
    at, parts = 0.0, []
    for name in ("completed", "errored", "running", "held", "suspended", "removed", "idle"):
        count = view.states.get(name, 0)
        if count:
            width = 100 * count / max(1, view.components)
            parts.append(f'<rect class="{name}" x="{at:.3f}" y="0" width="{width:.3f}" height="4"/>')
            at += width
    told = ", ".join(f"{count:,} {name}" for name, count in view.states.items()) or "nothing"
    return f'<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" role="img" aria-label="{_text(told)}">{"".join(parts)}</svg>'


def _advice(report: Report) -> str:
    """What would be asked for next time, where it is far from what was used."""
    advice = []
    if report.memory and report.requested_memory:
        peak = max(report.memory)
        wanted = max(128 * 1024**2, math.ceil(peak * 1.3 / 1024**2 / 64) * 64 * 1024**2)
        if wanted < 0.7 * report.requested_memory:
            advice.append(
                f"At most {sized(peak)} of memory were used; {sized(report.requested_memory)} were asked for. "
                f'request_memory="{wanted // 1024**2}MB" would let more jobs run at once.'
            )
        elif peak > 0.9 * report.requested_memory:
            advice.append(
                f"Up to {sized(peak)} of the {sized(report.requested_memory)} of memory that were asked for were used. "
                f'request_memory="{wanted // 1024**2}MB" leaves room.'
            )
    total = sum(report.runtimes)
    if total > 10 and report.requested_cpus > 1:
        used = sum(report.cpu) / total
        if used < 0.5 * report.requested_cpus:
            advice.append(f"{report.requested_cpus} cores were asked for; on average {used:.1f} were busy.")
    if report.gpu_use and statistics.fmean(report.gpu_use) < _GPU_IDLE:
        advice.append(
            f"GPUs were used to {statistics.fmean(report.gpu_use):.0%} on average: "
            "does the function find them, and does their work go there in large enough pieces?"
        )
    ran = _ran(report)
    if report.runtimes and ran > 60 and total < 0.5 * ran:
        advice.append(
            f"Jobs ran for {lasting(ran)}, and components for {lasting(total)} of it: "
            "fewer workers, or more components for each, waste less."
        )
    if not advice:
        return ""
    return "<h2>What to change</h2><ul>" + "".join(f"<li>{_text(one)}</li>" for one in advice) + "</ul>"


def _axis(begin: float, end: float, height: float, word: str = "") -> str:
    """Five marks along the bottom, as times since the beginning."""
    marks = []
    for at in range(5):
        x = _WIDTH * at / 4
        anchor = "start" if at == 0 else "end" if at == 4 else "middle"
        marks.append(
            f'<text x="{x:.0f}" y="{height + 14:.0f}" text-anchor="{anchor}">{lasting((end - begin) * at / 4)}{word}</text>'
        )
    return "".join(marks)


def _timeline(report: Report) -> str:
    times = _times(report)
    if times is None or times[1] <= times[0]:
        return ""
    begin, end = times
    scale = _WIDTH / (end - begin)
    drawn = [span for span in report.spans if span.submitted or span.started]
    if len(drawn) <= _LINES:
        height = 9 * len(drawn)
        picture = "".join(
            _line(span, at, begin, end, scale, report.view.now) for at, span in enumerate(drawn)
        )
        told = "each line is a job: waiting (pale), running (dark)"
    else:
        height = 120
        picture = _area(drawn, begin, end, height, report.view.now)
        told = "jobs running, over time"
    label = f"{counted(len(drawn), 'job')} over {lasting(end - begin)}"
    done = _done_line(report, begin, end, height)
    return (
        f"<h2>Over time</h2><p>{told}; the line: {'components' if report.view.kind == 'map' else 'jobs'} finished.</p>"
        f'<svg viewBox="0 0 {_WIDTH} {height + 18}" role="img" aria-label="{_text(label)}">{picture}{done}{_axis(begin, end, height)}</svg>'
    )


def _line(span: WorkerSpan, at: int, begin: float, end: float, scale: float, now: float) -> str:
    y, parts = 9 * at, []
    title = f"<title>{_text(f'{span.name} on {span.host or span.pool}: {span.components:,} components, {span.state}')}</title>"
    if span.submitted is not None:
        stop = span.started if span.started is not None else min(end, now)
        width = max(0.0, stop - span.submitted) * scale
        parts.append(
            f'<rect class="waits" x="{(span.submitted - begin) * scale:.1f}" y="{y}" width="{width:.1f}" height="7"/>'
        )
    if span.started is not None:
        stop = span.ended if span.ended is not None else min(end, now)
        kind = "errored" if span.state in ("failed", "removed", "held") else "running"
        width = max(1.0, (stop - span.started) * scale)
        parts.append(
            f'<rect class="{kind}" x="{(span.started - begin) * scale:.1f}" y="{y}" width="{width:.1f}" height="7"/>'
        )
    return f"<g>{title}{''.join(parts)}</g>"


def _area(spans: Sequence[WorkerSpan], begin: float, end: float, height: float, now: float) -> str:
    changes: Counter[float] = Counter()
    for span in spans:
        if span.started is not None:
            changes[span.started] += 1
            changes[span.ended if span.ended is not None else now] -= 1
    # One value for each column of the picture.
    columns, running, most = [0] * _WIDTH, 0, 1
    moments = sorted(changes)
    at = 0
    for column in range(_WIDTH):
        time = begin + (end - begin) * (column + 1) / _WIDTH
        while at < len(moments) and moments[at] <= time:
            running += changes[moments[at]]
            at += 1
        columns[column] = running
        most = max(most, running)
    points = " ".join(f"{x},{height - (height - 12) * count / most:.1f}" for x, count in enumerate(columns))
    return (
        f'<polygon class="running" points="0,{height} {points} {_WIDTH},{height}"/>'
        f'<text x="2" y="10">at most {most:,}</text>'
    )


def _done_line(report: Report, begin: float, end: float, height: float) -> str:
    ends = sorted(start + wall for start, wall in zip(report.started, report.runtimes, strict=True))
    if not ends or height < 20:
        return ""
    step = max(1, len(ends) // 300)
    points = [(0.0, 0)] + [(ends[at], at + 1) for at in range(step - 1, len(ends), step)]
    text = " ".join(
        f"{max(0.0, time - begin) / (end - begin) * _WIDTH if time else 0:.1f},{height - height * count / len(ends):.1f}"
        for time, count in points
    )
    return f'<polyline class="line" points="{text}"/>'


def _histogram(values: Sequence[float], word: str, told: str, mark: tuple[float, str] | None = None) -> str:
    """Bars on a logarithmic scale where values differ by more than a factor of 50."""
    low, high = min(values), max(values)
    if mark is not None:
        high = max(high, mark[0])
    logarithmic = low > 0 and high / low > 50
    change = math.log if logarithmic else float
    first, last = change(low), change(high)
    width = (last - first) / _BINS or 1.0
    bins = Counter(min(_BINS - 1, int((change(value) - first) / width)) for value in values)
    most, height, step = max(bins.values()), 110, _WIDTH / _BINS
    bars = "".join(
        f'<rect class="completed" x="{at * step:.1f}" y="{height - count * (height - 10) / most:.1f}" width="{step - 1:.1f}" '
        f'height="{count * (height - 10) / most:.1f}"><title>{count:,}</title></rect>'
        for at, count in sorted(bins.items())
    )
    shown_as = [sized(int(value)) if word == "bytes" else lasting(value) for value in (low, high)]
    marked = ""
    if mark is not None:
        x = (change(mark[0]) - first) / width * step
        anchor = "end" if x > _WIDTH / 2 else "start"
        marked = (
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>'
            f'<text x="{x + (-4 if anchor == "end" else 4):.1f}" y="10" text-anchor="{anchor}">{_text(mark[1])}</text>'
        )
    scale = ", logarithmic scale" if logarithmic else ""
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height + 18}" role="img" aria-label="{_text(told)}">{bars}{marked}'
        f'<text x="0" y="{height + 14}">{shown_as[0]}</text>'
        f'<text x="{_WIDTH}" y="{height + 14}" text-anchor="end">{shown_as[1]}{scale}</text></svg>'
    )


def _parts(values: Sequence[float], form: object) -> str:
    ordered = sorted(values)
    assert callable(form)

    def at(share: float) -> str:
        return str(form(ordered[min(len(ordered) - 1, int(share * len(ordered)))]))

    return f"shortest {at(0)}, half below {at(0.5)}, nine of ten below {at(0.9)}, longest {at(1)}"


def _runtimes(report: Report) -> str:
    if not report.runtimes:
        return ""
    told = _parts(report.runtimes, lasting)
    return (
        f"<h2>Runtimes</h2><p>{told}; on average {lasting(statistics.fmean(report.runtimes))}.</p>"
        + _histogram(report.runtimes, "seconds", told)
    )


def _memory(report: Report) -> str:
    known = [value for value in report.memory if value]
    if not known:
        return ""
    told = _parts(known, sized).replace("shortest", "least").replace("longest", "most")
    mark = None
    if report.requested_memory:
        mark = (float(report.requested_memory), f"asked for: {sized(report.requested_memory)}")
    return f"<h2>Memory</h2><p>Peak resident memory: {told}.</p>" + _histogram(known, "bytes", told, mark)


def _queue(report: Report) -> str:
    waits = [
        span.started - span.submitted
        for span in report.spans
        if span.started is not None and span.submitted is not None
    ]
    if not waits:
        return ""
    waits = [max(0.0, wait) for wait in waits]
    return f"<h2>In the queue</h2><p>{counted(len(waits), 'start')}: {_parts(waits, lasting)}.</p>"


def _hosts(report: Report) -> str:
    hosts: dict[str, list[WorkerSpan]] = {}
    for span in report.spans:
        if span.host and span.started is not None:
            hosts.setdefault(span.host, []).append(span)
    if not hosts:
        return ""
    rows = []
    for host, spans in sorted(hosts.items(), key=lambda item: -sum(span.busy for span in item[1]))[:_HOSTS]:
        ran = sum(
            max(0.0, (span.ended or report.view.now) - span.started)
            for span in spans
            if span.started is not None
        )
        busy, done = sum(span.busy for span in spans), sum(span.components for span in spans)
        each = lasting(busy / done) if done else ""
        rows.append(
            f"<tr><th scope=row>{_text(host)}</th><td>{len(spans):,}</td><td>{lasting(ran)}</td>"
            f"<td>{done:,}</td><td>{each}</td></tr>"
        )
    more = f"<p>{len(hosts) - _HOSTS:,} more hosts are not shown.</p>" if len(hosts) > _HOSTS else ""
    what = "components" if report.view.kind == "map" else "finished"
    return (
        '<h2>Hosts</h2><div class="wide" tabindex="0" role="region" aria-label="Hosts"><table><thead><tr>'
        "<th scope=col>host</th><th scope=col>starts</th><th scope=col>time</th>"
        f"<th scope=col>{what}</th><th scope=col>each</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{more}"
    )


def _errors(view: View) -> str:
    if not view.errors:
        return ""
    what = "component" if view.kind == "map" else "job"
    parts = []
    for group in view.errors:
        count = f"{'at least ' if group.at_least else ''}{counted(group.count, what)}"
        hint = f"<p>{_text(group.hint)}</p>" if group.hint else ""
        parts.append(
            f"<h3>{_text(group.kind)}: {count}, such as {group.component:,}</h3><pre>{_text(group.text)}</pre>{hint}"
        )
    return "<h2>Errors</h2>" + "".join(parts)


def _holds(view: View) -> str:
    if not view.holds:
        return ""
    parts = [
        f"<h3>{counted(group.count, 'job')}</h3><pre>{_text(group.reason)}</pre><p>{_text(group.hint)}</p>"
        for group in view.holds
    ]
    return "<h2>Holds</h2>" + "".join(parts)
