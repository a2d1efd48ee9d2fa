"""The end of a job's script: outputs are gathered in one folder, with their paths, and what is missing or left behind is named."""

from __future__ import annotations

from wingspan.runs._spec import RunSpec
from wingspan.runs._words import path_word, pattern

__all__ = ["CHECKPOINT_FOLDER", "EXIT_MISSING_OUTPUT", "OUTCOME", "gathering"]

#: The command ended well, and an output is missing.
EXIT_MISSING_OUTPUT = 120
#: Beside the outputs: what became of the job, as ``name=value`` lines.
OUTCOME = ".wingspan-outcome"
#: In the job's folder: what HTCondor keeps while the job is not running.
CHECKPOINT_FOLDER = "wingspan-checkpoint"


def gathering(spec: RunSpec, *, shared: bool) -> str:
    """The functions of the script that do it; with a `shared` file system they put the outputs in their place themselves."""
    return _COLLECT.format(
        outcome=OUTCOME,
        missing_code=EXIT_MISSING_OUTPUT,
        keeps=_keeps(spec),
        checkpoint=CHECKPOINT_FOLDER,
        kept="".join(f" | {path_word(path.partition('/')[0], spec.parameters)}" for path in spec.checkpoint),
        gather=_GATHER.format(checkpoint=CHECKPOINT_FOLDER) if spec.outputs or spec.checkpoint else "",
        into_place=_INTO_PLACE.format(missing_code=EXIT_MISSING_OUTPUT) if shared else "",
    )


def _keeps(spec: RunSpec) -> str:
    parameters = spec.parameters
    lines = [f"{path_word(path, parameters)} {pattern(path, parameters)}" for path in spec.outputs]
    if not lines:
        return ""
    return "\n".join(
        [
            "    for wingspan_doing in links place; do  # a link may lead to what another output moves",
            *(f"        keep {line}" for line in lines),
            "    done\n",
        ]
    )


_INTO_PLACE = """\
    rm -rf "$wingspan_folder/outputs-$wingspan_job" && mv "$wingspan_outputs" "$wingspan_folder/outputs-$wingspan_job" || {{  # whole, or not at all
        echo "wingspan-run: the outputs stay in $wingspan_outputs: they cannot become $wingspan_folder/outputs-$wingspan_job" >&2
        [ "$wingspan_code" -ne 0 ] || wingspan_code={missing_code}
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
    wingspan_uncopied=$(find -L "$1" \\( -type d -o -type f \\) -exec sh -c 'for one; do
        if [ -d "$one" ]; then mkdir -p "$0/$one" && [ -r "$one" ] && [ -x "$one" ]
        else cp -f "$one" "$0/$one" || {{ rm -f "$0/$one"; false; }}
        fi || echo "$one"
    done' "$2" {{}} + || :)
    [ -z "$wingspan_uncopied" ]
}}
lost() {{
    echo "wingspan-run: the output ${{1#./}} does not come back whole" >&2
    wingspan_missing="$wingspan_missing${{1#./}}
"
}}
# Links in a path: what they lead to comes back, as the link alone would be of no use elsewhere (and HTCondor holds jobs for some).
links() {{
    if [ -L "$1" ]; then
        mkdir -p "$wingspan_outputs/${{1%/*}}"
        if [ -d "$1" ]; then
            wingspan_leads=$(cd "$1" 2>/dev/null && pwd -P) || wingspan_leads=nowhere
            case $(cd "${{1%/*}}" && pwd -P)/ in "${{wingspan_leads%/}}"/*)
                echo "wingspan-run: the link $1 leads around in a circle: it does not come back" >&2
                return ;;
            esac
        fi
        copy "$1" "$wingspan_outputs" || lost "$1"
    elif [ -d "$1" ]; then
        for wingspan_path in "$1"/* "$1"/.[!.]* "$1"/..?*; do links "$wingspan_path"; done
    fi
}}
# What is no link is moved; into a folder that is there already, as another output lay in it.
place() {{
    if [ -d "$1" ] && [ -d "$wingspan_outputs/$1" ] && [ ! -L "$1" ]; then
        chmod u+rwx "$1" 2>/dev/null
        for wingspan_path in "$1"/* "$1"/.[!.]* "$1"/..?*; do place "$wingspan_path"; done
    elif [ -e "$1" ] && [ ! -L "$1" ]; then
        mkdir -p "$wingspan_outputs/${{1%/*}}"
        mv "$1" "$wingspan_outputs/$1" 2>/dev/null || {{
            # Also a folder that nobody may read or write. If there is no room for a file, there is for others, once that is away.
            chmod -R u+rwX "$1" 2>/dev/null
            if copy "$1" "$wingspan_outputs" 2>/dev/null || copy "$1" "$wingspan_outputs"; then rm -rf "$1"; else lost "$1"; fi
        }}
    fi
}}
# The way to a path is through a link: what it leads to may be another output's.
through_link() {{
    case $1 in */*) [ "$(cd "./${{1%/*}}" 2>/dev/null && pwd -P)" != "$(pwd -P)/${{1%/*}}" ] ;; *) return 1 ;; esac
}}
keep() {{
    wingspan_declared=$1
    shift
    wingspan_matched=
    for wingspan_path; do
        wingspan_path=${{wingspan_path%/}}
        # A pattern means files that the command has written or changed, not what HTCondor and this script make.
        if [ "$wingspan_path" != "$wingspan_declared" ]; then
            case $wingspan_path in . | .. | */. | */..) continue ;; esac
            if ours "$wingspan_path" || ! {{ through_link "$wingspan_path" || written "$wingspan_path"; }}; then continue; fi
        fi
        [ -f "$wingspan_path" ] || [ -d "$wingspan_path" ] || continue  # a pipe is no output
        wingspan_matched=yes
        if ! through_link "$wingspan_path"; then "$wingspan_doing" "./$wingspan_path"
        elif [ "$wingspan_doing" = links ]; then copy "./$wingspan_path" "$wingspan_outputs" || lost "$wingspan_path"
        fi
    done
    if [ "$wingspan_doing" = links ] && [ -z "$wingspan_matched" ]; then
        [ "$wingspan_code" -ne 0 ] || echo "wingspan-run: the output $wingspan_declared was not written" >&2
        wingspan_missing="$wingspan_missing$wingspan_declared
"
    fi
}}
"""

_COLLECT = """\
# ---- What is done at the end: outputs are gathered in one folder, with their paths -------------------------------------
# A missing one is named, rather than left to HTCondor, which would hold the job. Files that no output names stay behind: they are named, too.
wingspan_missing=
# Folders, and how files look: a changed one has another time of change (-c), also if the time of its content (tar, cp -p, mv) is old.
for wingspan_full in --full-time -T ''; do
    if ls -dn $wingspan_full . >/dev/null 2>&1; then break; fi
done
look() {{
    find . -type d -print -o -exec ls -nidc $wingspan_full {{}} + 2>/dev/null |
        sed -e 's/^ *//' -e :a -e 's,^\\([^/]*\\)  ,\\1 ,' -e ta  # without the columns' widths
}}
# What is there before the command, which may be begun again in this folder, from a checkpoint.
[ -e .wingspan-there ] || {{
    {{ command -v awk >/dev/null && look; }} >.wingspan-there || :
    # Times in whole seconds: a change must be in another one.
    [ -n "$(ls -dnc $wingspan_full . | sed -n '/:[0-9][0-9][.]0*[1-9]/p')" ] || sleep 1
}}
# The paths that are new or look different now, and the folders they are in; all, where nobody can tell.
news() {{
    wingspan_new="
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
    case $wingspan_new in *"
$1
"*) ;; *) return 1 ;; esac
}}
# What HTCondor and this script make. HTCondor's tmp and var were there, and no file in them.
ours() {{
    case $1 in
        "$wingspan_outputs" | "$wingspan_outputs"/* | {checkpoint} | {checkpoint}/* | .wingspan-there) ;;
        _condor_* | .condor* | .chirp* | .update.ad) ;;
        tmp | tmp/* | var | var/*)
            grep -qx "\\./${{1%%/*}}" .wingspan-there && ! grep -q " \\./${{1%%/*}}/" .wingspan-there ;;
        *) return 1 ;;
    esac
}}
left_behind() {{
    news
    printf '%s\\n' "$wingspan_new" | sort | while IFS= read -r wingspan_path; do
        case $wingspan_path in '' | .* | */* | __pycache__{kept}) continue ;; esac
        if ours "$wingspan_path"; then continue; fi
        if [ -n "$(find "./$wingspan_path" -type f 2>/dev/null | head -n 1)" ]; then echo "left=$wingspan_path"; fi
    done | head -n 20
}}
{gather}finish() {{
    set +e  # whatever fails from here on: the rest is saved, and the code is the command's
    wingspan_code=$1
    umask 077
    rm -rf "$wingspan_outputs"  # what the command put there is no output: only what is named comes back
    mkdir -p "$wingspan_outputs"
    [ -e .wingspan-there ] || : >.wingspan-there
    news
{keeps}    chmod -R u+rX,go-rwx "$wingspan_outputs" 2>/dev/null
    if [ "$wingspan_code" -eq 0 ] && [ -n "$wingspan_missing" ]; then wingspan_code={missing_code}; fi
    {{
        echo "code=$wingspan_code"
        echo "host=$(hostname)"
        echo "ended=$(date +%s)"
        printf '%s' "$wingspan_missing" | sed 's/^/missing=/'
        left_behind
    }} >"$wingspan_outputs/{outcome}"
{into_place}    exit "$wingspan_code"
}}
"""
