"""The job's script: a pure function of a `RunSpec`. One file of POSIX shell that a person can read, keep and edit.

It runs twice: the outer part prepares, checks and collects; it starts itself (``--inside``) in the environment for the commands.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from wingspan.runs._spec import RunSpec, Step

__all__ = [
    "CHECKPOINT_FOLDER",
    "EXIT_GPU",
    "EXIT_MISSING_OUTPUT",
    "EXIT_NO_CHECKPOINT",
    "OUTCOME",
    "filled",
    "job_script",
    "uses_parameter",
]

#: The GPU is not one that the environment can use.
EXIT_GPU = 117
#: The command said that it has a checkpoint, and has none.
EXIT_NO_CHECKPOINT = 118
#: The command ended well, and an output is missing.
EXIT_MISSING_OUTPUT = 120
#: Beside the outputs: what became of the job, as ``name=value`` lines.
OUTCOME = ".wingspan-outcome"
#: In the job's folder: what HTCondor keeps while the job is not running.
CHECKPOINT_FOLDER = "wingspan-checkpoint"

_PLAIN = re.compile(r"[A-Za-z0-9_./=:@%+,-]+")


def uses_parameter(text: str, name: str) -> bool:
    """Whether a command uses a sweep's parameter: as ``{name}``, ``$name`` or ``${name}``.

    >>> uses_parameter("train.py --lr {lr}", "lr"), uses_parameter("echo $lrs", "lr")
    (True, False)
    """
    return re.search(rf"\{{{name}\}}|\${name}\b|\$\{{{name}\}}", text) is not None


def _word(word: str, parameters: Sequence[str]) -> str:
    """A word for the shell, with ``{name}`` of a parameter as its variable; ``${name}`` is left to a shell that the command starts.

    >>> print(_word("--lr={lr} or so", ("lr",)), _word("echo ${lr}", ("lr",)))
    --lr="${lr}"' or so' 'echo ${lr}'
    """
    if not parameters:
        return shlex.quote(word)
    pieces = re.split(r"((?<!\$)\{(?:" + "|".join(parameters) + r")\})", word)
    shown = [
        f'"${piece}"' if number % 2 else (piece if _PLAIN.fullmatch(piece) else shlex.quote(piece))
        for number, piece in enumerate(pieces)
        if piece
    ]
    return "".join(shown) or "''"


def _pattern(path: str, parameters: Sequence[str] = ()) -> str:
    """A path for the shell in which ``*``, ``?`` and ``[`` still match, and ``{name}`` of a parameter is its value.

    >>> print(_pattern("results/*.csv"), _pattern("my file"), _pattern("{lr}/*.csv", ["lr"]))
    results/*.csv 'my file' "${lr}"/*.csv
    """
    if not any(character in path for character in "*?["):
        return _path(path, parameters)
    pieces = _split(path, parameters)
    return "".join(
        f'"${piece}"' if number % 2 else re.sub(r"([^A-Za-z0-9_./=:@%+*?\[\]-])", r"\\\1", piece)
        for number, piece in enumerate(pieces)
    )


def _path(path: str, parameters: Sequence[str]) -> str:
    """A path as a word for the shell; ``${name}`` is the parameter's value, too."""
    return _word("".join(_split(path, parameters)), parameters)


def _split(path: str, parameters: Sequence[str]) -> list[str]:
    """Text and parameters (``{name}``) in turns."""
    return re.split(r"\$?(\{(?:" + "|".join(parameters) + r")\})", path) if parameters else [path]


def filled(text: str, parameters: Sequence[str], row: Sequence[str]) -> str:
    """`text` with the values of one row of the sweep, as the job's script fills them in.

    >>> filled("model-{lr}-${seed}.pt", ["lr", "seed"], ["0.1", "7"])
    'model-0.1-7.pt'
    """
    values = {f"{{{name}}}": value for name, value in zip(parameters, row, strict=True)}
    return "".join(values.get(piece, piece) for piece in _split(text, parameters))


def _step(step: Step, parameters: Sequence[str], last: bool) -> str:
    lines = []
    if step.task:
        lines.append(f"# task {step.task}")
    # A value becomes part of the line, as Pixi has it: also where it stands inside of quotes.
    words = step.words if step.line is None else ("sh", "-c", step.line)
    command = " ".join(_word(word, parameters) for word in words)
    setup = []
    if step.cwd:
        setup.append(f"mkdir -p {shlex.quote(step.cwd)} && cd {shlex.quote(step.cwd)}")
    # A variable that the job has already wins over the task's: so it is with Pixi.
    setup += [
        f'[ -n "${{{name}+set}}" ] || export {name}="{_inside_quotes(value, parameters)}"'
        for name, value in step.env.items()
    ]
    body = [*setup, f"exec {command}"]
    if not last:  # the last one takes the place of this shell: it gets the signals
        margin = "" if "\n" in command else "    "  # a line's beginning may be inside of quotes
        body = ["(", *(margin + line for line in body), ")"]
    return "\n".join([*lines, *body])


def _inside_quotes(value: str, parameters: Sequence[str]) -> str:
    """A value for double quotes, in which variables are filled in."""
    pieces = enumerate(_split(value, parameters))
    text = "".join(f"${piece}" if number % 2 else piece for number, piece in pieces)
    return re.sub(r'([\\"`])', r"\\\1", text)


def _rows(spec: RunSpec) -> str:
    """Which job has which values, as a table for the shell."""
    lines = ["case $number in"]
    for number, row in enumerate(spec.rows):
        values = "; ".join(
            f"{name}={shlex.quote(value)}" for name, value in zip(spec.parameters, row, strict=True)
        )
        lines.append(f"{number}) {values} ;;")
    lines += ['*) echo "wingspan-run: there is no job $number" >&2; exit 2 ;;', "esac"]
    return "\n".join(lines)


_PREFLIGHT = """\
# ---- Is the GPU one that the environment can use? Found out now, and not after an hour. --------------------------------
preflight() {{
    command -v nvidia-smi >/dev/null 2>&1 || {{
        echo "wingspan-run: this job asked for {gpus} GPU(s), and $(hostname) has no nvidia-smi:" \\
            "no NVIDIA driver is installed, or the container was started without it (apptainer: --nv)" >&2
        return 1
    }}
    nvidia_query=name,compute_cap,driver_version,uuid,index,memory.total
    # Drivers before 510 do not tell the capability: it is not judged then.
    nvidia_devices=$(nvidia-smi --query-gpu="$nvidia_query" --format=csv,noheader 2>/dev/null ||
        nvidia-smi --query-gpu="name,pstate${{nvidia_query#name,compute_cap}}" --format=csv,noheader 2>&1) || {{
        echo "wingspan-run: the NVIDIA driver of $(hostname) does not answer: $nvidia_devices" >&2
        return 1
    }}
    # The highest CUDA runtime that the driver supports stands in nvidia-smi's heading.
    nvidia_runtime=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\\([0-9.]*\\).*/\\1/p' | head -n 1)
    # nvidia-smi lists what the machine has; the devices that this job was given stand in CUDA_VISIBLE_DEVICES.
    printf '%s\\n' "$nvidia_devices" | awk -F', *' -v host="$(hostname)" -v runtime="$nvidia_runtime" \\
        -v visible="${{CUDA_VISIBLE_DEVICES:-}}" -v wanted={gpus} \\
        -v lowest={lowest} -v highest={highest} -v cuda={runtime} -v memory={memory} '
        function number(version, part) {{ split(version, part, "."); return part[1] * 1000 + part[2] }}
        function bad(what) {{ why = why "wingspan-run: " $1 " on " host " " what "\\n" }}
        BEGIN {{ count = split(visible, given, ",") }}
        {{
            why = ""
            known = ($2 ~ /^[0-9]+\\.[0-9]+$/)
            if (known && lowest != "" && number($2) < number(lowest))
                bad("has compute capability " $2 "; the environment was compiled for " lowest " and higher")
            if (known && highest != "" && number($2) > number(highest))
                bad("has compute capability " $2 "; the environment was compiled for " highest " at most")
            if (cuda != "" && runtime != "" && number(runtime) < number(cuda))
                bad("has the driver " $3 ", which supports CUDA up to " runtime "; the environment needs " cuda)
            if (memory != "" && $6 + 0 > 0 && $6 + 0 < memory + 0)
                bad("has " $6 " of memory; " memory " MiB are asked for")
            mine = 0
            for (i = 1; i <= count; i++)
                if (given[i] == $5 || (length(given[i]) > 4 && index($4, given[i]) == 1)) mine = 1
            listed++
            if (why == "") good++
            else said = said why
            if (mine) {{
                own++
                if (why == "") own_good++
                else own_said = own_said why
            }}
        }}
        END {{
            if (own) {{ listed = own; good = own_good; said = own_said }}
            else if (count) wanted = 1  # parts of a device have names of their own (MIG)
            if (good >= wanted) exit 0
            printf "%s", said
            if (listed < wanted)
                printf "wingspan-run: this job asked for %d GPU(s), and there are %d on %s\\n", wanted, listed, host
            exit 1
        }}' >&2
}}
preflight || finish {code}
"""


def _preflight(spec: RunSpec) -> str:
    resources = spec.resources

    def text(value: object) -> str:
        return shlex.quote("" if value is None else str(value))

    return _PREFLIGHT.format(
        gpus=resources.gpus,
        lowest=text(resources.gpus_minimum_capability),
        highest=text(resources.gpus_maximum_capability),
        runtime=text(resources.gpus_minimum_runtime),
        memory=text(resources.gpus_minimum_memory and resources.gpus_minimum_memory >> 20),
        code=EXIT_GPU,
    )


_SHARED = """\
# ---- A folder of its own on this machine; inputs are copied, outputs go back when the job is done. ----------------------
folder={folder}
scratch=$(mktemp -d "${{SLURM_TMPDIR:-${{TMPDIR:-/tmp}}}}/wingspan-run.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
if [ -d "$folder/inputs" ]; then cp -R "$folder/inputs/." "$scratch/"; fi
cd "$scratch"
"""

_KEEP_CHECKPOINT = """\
# ---- Checkpoints: one folder holds them with their paths, which HTCondor alone would not keep ----------------------------
kept_checkpoint={folder}
if [ -d "$kept_checkpoint" ]; then cp -R "$kept_checkpoint/." .; fi
keep_checkpoint() {{
    rm -rf "$kept_checkpoint.new"
    mkdir -p "$kept_checkpoint.new"
    for path in {paths}; do
        [ -e "$path" ] || {{
            echo "wingspan-run: the command says that it has a checkpoint, and $path was not written" >&2
            finish {missing_code}
        }}
        copy "./$path" "$kept_checkpoint.new" || {{
            echo "wingspan-run: the checkpoint $path cannot be kept whole" >&2
            finish {missing_code}
        }}
    done
    rm -rf "$kept_checkpoint"
    mv "$kept_checkpoint.new" "$kept_checkpoint"
}}
"""


def job_script(
    spec: RunSpec,
    start: Sequence[str],
    *,
    shared: str | None = None,
    row_arguments: bool = False,
    gpu_check: bool | None = None,
    path: str | None = None,
) -> str:
    """The script of the jobs of `spec`; its first argument is the job's number.

    Args:
        spec: The run.
        start: Words that start a command inside the environment; they end before the command. One that begins with a double
            quote is shell already. Empty: no environment.
        shared: The run's folder (a word of shell), on a file system that the job sees: inputs are copied from it and outputs
            into it. None: HTCondor moves files.
        row_arguments: The values of the sweep follow the number as arguments; otherwise the script has a table of them.
        gpu_check: Check the GPU; None: when one is asked for.
        path: Where programs are looked for (``PATH``); None: where the job's machine looks.
    """
    parameters = spec.parameters
    parts = [
        "#!/bin/sh",
        f"# {spec.name}: {_one_line(spec.command)}",
        "# Written by Wingspan; needs nothing of it where it runs. Usage: job.sh NUMBER",
        "set -eu  # a failure in here is the job's failure",
        "",
        "number=${1:-0}",
        "case $0 in /*) self=$0 ;; *) self=$PWD/$0 ;; esac",
    ]
    if path is not None:
        parts += [
            "# Programs are those that whoever made the run has.",
            f"PATH={shlex.quote(path)}",
            "export PATH",
        ]
    if parameters:
        parts.append("\n# ---- The parameters of this job " + "-" * 80)
        if row_arguments:
            parts += [f"{name}=${{{place}}}" for place, name in enumerate(parameters, 2)]
        else:
            parts.append(_rows(spec))
        parts.append("export " + " ".join(parameters))
    parts += [
        "",
        "# ---- The commands, inside the environment " + "-" * 70,
        'if [ "${WINGSPAN_INSIDE:-}" = yes ]; then',
        "unset WINGSPAN_INSIDE",
        *(f"export {name}={shlex.quote(value)}" for name, value in spec.variables.items()),
        "# Programs that write to HOME fill a quota, or fail where there is none: the job's folder is its home.",
        *(
            f'export {name}="$PWD"'
            for name in ("HOME", "PIXI_PROJECT_ROOT", "INIT_CWD")
            if name not in spec.variables
        ),
        *(_step(step, parameters, step is spec.steps[-1]) for step in spec.steps),
        "fi",
    ]
    parts.append("")
    if shared is not None:
        parts.append(_SHARED.format(folder=shared))
    destination = '"$folder/.outputs-$number.$$"' if shared is not None else '"outputs-$number"'
    parts += [
        f"outputs={destination}",
        'mkdir -p "$outputs"',
        "",
        _COLLECT.format(
            outcome=OUTCOME,
            missing_code=EXIT_MISSING_OUTPUT,
            keeps=_keeps(spec),
            checkpoint=CHECKPOINT_FOLDER,
            kept="".join(f" | {_path(path.partition('/')[0], parameters)}" for path in spec.checkpoint),
            gather=_GATHER.format(checkpoint=CHECKPOINT_FOLDER) if spec.outputs or spec.checkpoint else "",
            into_place=_INTO_PLACE.format(missing_code=EXIT_MISSING_OUTPUT) if shared is not None else "",
        ),
    ]
    if spec.checkpoint:
        parts.append(
            _KEEP_CHECKPOINT.format(
                folder='"$folder/checkpoint-$number"' if shared is not None else CHECKPOINT_FOLDER,
                paths=" ".join(_path(path, parameters) for path in spec.checkpoint),
                missing_code=EXIT_NO_CHECKPOINT,
            )
        )
    if gpu_check if gpu_check is not None else (spec.resources.gpus > 0 and spec.preflight):
        parts.append(_preflight(spec))
    parts.append(_run(spec, start, shared is not None))
    return "\n".join(parts).replace("\n\n\n", "\n\n")


def _keeps(spec: RunSpec) -> str:
    parameters = spec.parameters
    lines = [f"{_path(path, parameters)} {_pattern(path, parameters)}" for path in spec.outputs]
    if not lines:
        return ""
    return "\n".join(
        [
            "    for doing in links place; do  # a link may lead to what another output moves",
            *(f"        keep {line}" for line in lines),
            "    done\n",
        ]
    )


_INTO_PLACE = """\
    rm -rf "$folder/outputs-$number" && mv "$outputs" "$folder/outputs-$number" || {{  # whole, or not at all
        echo "wingspan-run: the outputs stay in $outputs: they cannot become $folder/outputs-$number" >&2
        [ "$code" -ne 0 ] || code={missing_code}
    }}
"""

_GATHER = """\
# A path into the folder $2. Of links, what they lead to; find goes around in no circle. What can be read is copied, whatever else cannot.
copy() {{
    mkdir -p "$2/${{1%/*}}"
    if [ ! -e "$2/$1" ] && [ -z "$(find "$1" -type l | head -n 1)" ]; then
        if cp -R "$1" "$2/$1" 2>/dev/null; then return; fi
    fi
    chmod -R u+rwX "$2/$1" 2>/dev/null || :
    uncopied=$(find -L "$1" \\( -type d -o -type f \\) -exec sh -c 'for one; do
        if [ -d "$one" ]; then mkdir -p "$0/$one" && [ -r "$one" ] && [ -x "$one" ]
        else cp -f "$one" "$0/$one" || {{ rm -f "$0/$one"; false; }}
        fi || echo "$one"
    done' "$2" {{}} + || :)
    [ -z "$uncopied" ]
}}
lost() {{
    echo "wingspan-run: the output ${{1#./}} does not come back whole" >&2
    missing="$missing${{1#./}}
"
}}
# Links in a path: what they lead to comes back, as the link alone would be of no use elsewhere (and HTCondor holds jobs for some).
links() {{
    if [ -L "$1" ]; then
        mkdir -p "$outputs/${{1%/*}}"
        if [ -d "$1" ]; then
            leads=$(cd "$1" 2>/dev/null && pwd -P) || leads=nowhere
            case $(cd "${{1%/*}}" && pwd -P)/ in "${{leads%/}}"/*)
                echo "wingspan-run: the link $1 leads around in a circle: it does not come back" >&2
                return ;;
            esac
        fi
        copy "$1" "$outputs" || lost "$1"
    elif [ -d "$1" ]; then
        for path in "$1"/* "$1"/.[!.]* "$1"/..?*; do links "$path"; done
    fi
}}
# What is no link is moved; into a folder that is there already, as another output lay in it.
place() {{
    if [ -d "$1" ] && [ -d "$outputs/$1" ] && [ ! -L "$1" ]; then
        chmod u+rwx "$1" 2>/dev/null
        for path in "$1"/* "$1"/.[!.]* "$1"/..?*; do place "$path"; done
    elif [ -e "$1" ] && [ ! -L "$1" ]; then
        mkdir -p "$outputs/${{1%/*}}"
        mv "$1" "$outputs/$1" 2>/dev/null || {{
            # Also a folder that nobody may read or write. If there is no room for a file, there is for others, once that is away.
            chmod -R u+rwX "$1" 2>/dev/null
            if copy "$1" "$outputs" 2>/dev/null || copy "$1" "$outputs"; then rm -rf "$1"; else lost "$1"; fi
        }}
    fi
}}
# The way to a path is through a link: what it leads to may be another output's.
through_link() {{
    case $1 in */*) [ "$(cd "./${{1%/*}}" 2>/dev/null && pwd -P)" != "$(pwd -P)/${{1%/*}}" ] ;; *) return 1 ;; esac
}}
keep() {{
    declared=$1
    shift
    matched=
    for path; do
        path=${{path%/}}
        # A pattern means files that the command has written or changed, not what HTCondor and this script make.
        if [ "$path" != "$declared" ]; then
            case $path in . | .. | */. | */..) continue ;; esac
            if ours "$path" || ! {{ through_link "$path" || written "$path"; }}; then continue; fi
        fi
        [ -f "$path" ] || [ -d "$path" ] || continue  # a pipe is no output
        matched=yes
        if ! through_link "$path"; then "$doing" "./$path"
        elif [ "$doing" = links ]; then copy "./$path" "$outputs" || lost "$path"
        fi
    done
    if [ "$doing" = links ] && [ -z "$matched" ]; then
        [ "$code" -ne 0 ] || echo "wingspan-run: the output $declared was not written" >&2
        missing="$missing$declared
"
    fi
}}
"""

_COLLECT = """\
# ---- What is done at the end: outputs are gathered in one folder, with their paths -------------------------------------
# A missing one is named, rather than left to HTCondor, which would hold the job. Files that no output names stay behind: they are named, too.
missing=
# Folders, and how files look: a changed one has another time of change (-c), also if the time of its content (tar, cp -p, mv) is old.
for full in --full-time -T ''; do
    if ls -dn $full . >/dev/null 2>&1; then break; fi
done
look() {{
    find . -type d -print -o -exec ls -nidc $full {{}} + 2>/dev/null |
        sed -e 's/^ *//' -e :a -e 's,^\\([^/]*\\)  ,\\1 ,' -e ta  # without the columns' widths
}}
# What is there before the command, which may be begun again in this folder, from a checkpoint.
[ -e .wingspan-there ] || {{
    {{ command -v awk >/dev/null && look; }} >.wingspan-there || :
    # Times in whole seconds: a change must be in another one.
    ls -dnc $full . | grep -q ':[0-9][0-9][.]0*[1-9]' || sleep 1
}}
# The paths that are new or look different now, and the folders they are in; all, where nobody can tell.
news() {{
    new="
$(look | LC_ALL=C awk '
        !now {{ there[$0]; next }}
        $0 in there {{ next }}
        {{ sub(/^[^\\/]*[.]\\//, "") }}
        / -> / {{ link = $0; sub(/ -> .*/, "", link); print link }}
        {{ while (!seen[$0]++) {{ print; if (!sub(/\\/[^\\/]*$/, "")) next }} }}' .wingspan-there now=1 -)
"
}}
written() {{
    [ -s .wingspan-there ] || return 0
    case $1 in *"
"*) return 0 ;; esac
    case $new in *"
$1
"*) ;; *) return 1 ;; esac
}}
# What HTCondor and this script make. HTCondor's tmp and var were there, and no file in them.
ours() {{
    case $1 in
        "$outputs" | "$outputs"/* | {checkpoint} | {checkpoint}/* | .wingspan-there) ;;
        _condor_* | .condor* | .chirp* | .update.ad) ;;
        tmp | tmp/* | var | var/*)
            grep -qx "\\./${{1%%/*}}" .wingspan-there && ! grep -q " \\./${{1%%/*}}/" .wingspan-there ;;
        *) return 1 ;;
    esac
}}
left_behind() {{
    news
    printf '%s\\n' "$new" | sort | while IFS= read -r path; do
        case $path in '' | .* | */* | __pycache__{kept}) continue ;; esac
        if ours "$path"; then continue; fi
        if [ -n "$(find "./$path" -type f 2>/dev/null | head -n 1)" ]; then echo "left=$path"; fi
    done | head -n 20
}}
{gather}finish() {{
    set +e  # whatever fails from here on: the rest is saved, and the code is the command's
    code=$1
    mkdir -p "$outputs"
    [ -e .wingspan-there ] || : >.wingspan-there
    news
{keeps}    chmod -R u+rX "$outputs" 2>/dev/null
    if [ "$code" -eq 0 ] && [ -n "$missing" ]; then code={missing_code}; fi
    {{
        echo "code=$code"
        echo "host=$(hostname)"
        echo "ended=$(date +%s)"
        printf '%s' "$missing" | sed 's/^/missing=/'
        left_behind
    }} >"$outputs/{outcome}"
{into_place}    exit "$code"
}}
"""


def _run(spec: RunSpec, start: Sequence[str], shared: bool) -> str:
    words = " ".join(word if word.startswith('"') else shlex.quote(word) for word in start)
    inside = f'env WINGSPAN_INSIDE=yes {words + " " if words else ""}sh "$self" "$@"'
    lines = [
        "# ---- The work " + "-" * 98,
        "child=",
        "# HTCondor and Slurm tell this process to end: the command hears of it too.",
        "stopping=",
        'trap \'stopping=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || :\' TERM INT',
    ]
    body = [
        "code=0",
        f"{inside} </dev/null &",
        "child=$!",
        'wait "$child" || code=$?',
        "# A signal ends the waiting, not the command.",
        'while kill -0 "$child" 2>/dev/null; do code=0; wait "$child" || code=$?; done',
    ]
    if spec.checkpoint:
        code = spec.checkpoint_exit_code
        # The command has a checkpoint and wants to be started again from it.
        body += [f'[ "$code" -ne {code} ] || keep_checkpoint']
        if shared:
            again = f'[ "$code" -eq {code} ] || break'
            stop = f'[ -z "$stopping" ] || exit {code}'
            body = ["while :; do", *(f"    {line}" for line in (*body, again, stop)), "done"]
        else:
            # HTCondor keeps the folder and starts the job again.
            body += [f'[ "$code" -ne {code} ] || exit {code}']
    return "\n".join([*lines, *body, 'finish "$code"', ""])


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 110 else line[:109] + "…"
