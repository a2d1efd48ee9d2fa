"""``wingspan lint``: faults of submit files and job scripts."""

from __future__ import annotations

import json
from pathlib import Path

import click

from wingspan.cli._terminal import echo, style

__all__ = ["lint"]


@click.command("lint")
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "kind",
    type=click.Choice(["submit", "shell"]),
    help="What the files are.  [default: told from each]",
)
@click.option(
    "--scripts", is_flag=True, help="Of folders, also look at scripts that no submit file executes."
)
@click.option("--own-rules", is_flag=True, help="Do not ask HTCondor's condor_submit, even if it is here.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of {file, line, rule, message, hint}.")
@click.option("--rules", "list_rules", is_flag=True, help="List the rules instead, with why each is one.")
def lint(
    *,
    files: tuple[Path, ...],
    kind: str | None,
    scripts: bool,
    own_rules: bool,
    as_json: bool,
    list_rules: bool,
) -> int:
    """Look for faults in submit descriptions, the scripts they execute, and sbatch scripts.

    FILE may be a folder: its submit files are meant, the scripts that these
    execute, and sbatch scripts, without .git, .pixi, caches and environments.
    Where HTCondor is on this machine, its own parser is asked too
    (condor_submit -dry-run; nothing is submitted). A comment
    "# wingspan: ignore=RULE" in a line, or above it, keeps that rule quiet there.

    Exit code: 0 nothing found, 1 something found, 2 a file cannot be read.
    """
    import attrs

    from wingspan import lint as room
    from wingspan.cli._output import notes

    if list_rules:
        rules = [room.RULES[name] for name in sorted(room.RULES)]
        if as_json:
            listed = [{"rule": r.id, "hint": r.hint, "why": r.why, "source": r.source} for r in rules]
            echo(json.dumps(listed, indent=2))
        else:
            for rule in rules:
                echo(f"{rule.id}\n    {rule.why}\n    Instead: {rule.hint}\n    Source: {rule.source}")
        return 0
    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    with notes():
        findings = room.lint(
            files,
            kind="submit" if kind == "submit" else "shell" if kind else None,
            scripts=scripts,
            own_rules=own_rules,
        )
    if as_json:
        echo(json.dumps([attrs.asdict(each) for each in findings], indent=2, ensure_ascii=False))
    else:
        for each in findings:
            where = style(f"{each.file}:{each.line}", bold=True)
            echo(f"{where}: {each.message} [{style(each.rule, fg='yellow')}]\n    {each.hint}")
        if findings:
            echo(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}.", err=True)
    return 1 if findings else 0
