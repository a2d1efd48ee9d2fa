# ---- The end: outputs are gathered in one folder, with their paths -----------------------------------------
# The script names outputs that are missing; HTCondor would hold the job. It also names new files that no
# output covers: they stay behind.
wingspan_missing=
# Lists all folders, and each file with what changes when the file does: its time of change (-c), because tar,
# cp -p and mv keep the time of its content.
for wingspan_full in --full-time -T ''; do
    if wingspan_time=$(ls -dnc $wingspan_full . 2>/dev/null); then break; fi
done
wingspan_look() {
    find . -type d -print -o -exec ls -nidc $wingspan_full {} + 2>/dev/null
}
# What was there before the command. (With a checkpoint the command may start again in this folder.)
[ -e .wingspan-there ] || {
    { command -v awk >/dev/null && wingspan_look; } >.wingspan-there || :
    # Where times are whole seconds, the command must not change a file in the second of the list.
    # (The time of this folder is that of a moment ago, when the folder for outputs was made.)
    case $wingspan_time in *:[0-9][0-9].[0-9]*) wingspan_time=${wingspan_time#*:[0-9][0-9].} ;; *) wingspan_time= ;; esac
    case ${wingspan_time%% *} in *[1-9]*) ;; *) sleep 1 ;; esac
}
# Sets wingspan_new to the paths that are new or differ from the list, and the folders that they are in.
wingspan_news() {
    wingspan_new="
$(wingspan_look | LC_ALL=C awk '
        # The columns before the path are not as wide in both lists.
        {
            at = index($0, "/"); if (!at) at = length($0) + 1
            columns = substr($0, 1, at - 1); gsub(/ +/, " ", columns); sub(/^ /, "", columns)
            $0 = columns substr($0, at)
        }
        !now { there[$0]; next }
        $0 in there { next }
        { sub(/^[^\/]*[.]\//, "") }
        / -> / { link = $0; sub(/ -> .*/, "", link); print link }
        { while (!seen[$0]++) { print; if (!sub(/\/[^\/]*$/, "")) next } }' .wingspan-there now=1 -)
"
}
wingspan_written() {
    [ -s .wingspan-there ] || return 0
    case $1 in *"
"*) return 0 ;; esac
    case $wingspan_new in *"
$1
"*) ;; *) return 1 ;; esac
}
# Whether HTCondor or this script made the path. HTCondor's tmp and var were there before the command, without
# a file.
wingspan_ours() {
    case $1 in
        "$wingspan_outputs" | "$wingspan_outputs"/* | @CHECKPOINT@ | @CHECKPOINT@/* | .wingspan-there) ;;
        _condor_* | .condor* | .chirp* | .update.ad) ;;
        tmp | tmp/* | var | var/*)
            grep -qx "\./${1%%/*}" .wingspan-there && ! grep -q " \./${1%%/*}/" .wingspan-there ;;
        *) return 1 ;;
    esac
}
wingspan_left_behind() {
    # Most jobs leave nothing behind: then nobody looks a second time.
    case $wingspan_new in *"
"[!."
"]*) wingspan_news ;; *) return 0 ;; esac
    printf '%s\n' "$wingspan_new" | sort | while IFS= read -r wingspan_path; do
        case $wingspan_path in '' | .* | */* | __pycache__@KEPT@) continue ;; esac
        if wingspan_ours "$wingspan_path"; then continue; fi
        if [ -n "$(find "./$wingspan_path" -type f 2>/dev/null | head -n 1)" ]; then echo "left=$wingspan_path"; fi
    done | head -n 20
}
@OUTPUTS@
# Whether this is a folder of this user's, with nothing in it.
wingspan_is_empty() {
    if [ ! -d "$1" ] || [ -L "$1" ] || [ ! -r "$1" ] || [ ! -w "$1" ] || [ ! -x "$1" ]; then return 1; fi
    for wingspan_path in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$wingspan_path" ] || [ -L "$wingspan_path" ]; then return 1; fi
    done
}
wingspan_finish() {
    set +e  # whatever fails from here on, the rest is saved, and the exit code is the command's
    wingspan_code=$1
    umask 077
    # What the command has put there is no output.
    wingspan_is_empty "$wingspan_outputs" || { rm -rf "$wingspan_outputs"; mkdir -p "$wingspan_outputs"; }
    [ -e .wingspan-there ] || : >.wingspan-there
    wingspan_news
@KEEP@
    chmod -R u+rX,go-rwx "$wingspan_outputs" 2>/dev/null
@SENDING@
    if [ "$wingspan_code" -eq 0 ] && [ -n "$wingspan_missing" ]; then wingspan_code=@EXIT_CODE@; fi
    {
        echo "code=$wingspan_code"
        { read -r wingspan_host </proc/sys/kernel/hostname; } 2>/dev/null || wingspan_host=$(hostname)
        echo "host=$wingspan_host"
        echo "ended=$(date +%s)"
        [ -z "$wingspan_missing" ] || printf '%s' "$wingspan_missing" | sed 's/^/missing=/'
        [ -z "${wingspan_sent:-}" ] || printf '%s' "$wingspan_sent" | sed 's/^/sent=/'
        wingspan_left_behind
    } >"$wingspan_outputs"/@OUTCOME@
@INTO_PLACE@
    exit "$wingspan_code"
}
