# ---- What is done at the end: outputs are gathered in one folder, with their paths -------------------------------------
# A missing one is named, rather than left to HTCondor, which would hold the job. Files that no output names stay behind: they are named, too.
wingspan_missing=
# Folders, and how files look: a changed one has another time of change (-c), also if the time of its content (tar, cp -p, mv) is old.
for wingspan_full in --full-time -T ''; do
    if ls -dn $wingspan_full . >/dev/null 2>&1; then break; fi
done
wingspan_look() {
    find . -type d -print -o -exec ls -nidc $wingspan_full {} + 2>/dev/null |
        sed -e 's/^ *//' -e :a -e 's,^\([^/]*\)  ,\1 ,' -e ta  # without the columns' widths
}
# What is there before the command, which may be begun again in this folder, from a checkpoint.
[ -e .wingspan-there ] || {
    { command -v awk >/dev/null && wingspan_look; } >.wingspan-there || :
    # Times in whole seconds: a change must be in another one.
    [ -n "$(ls -dnc $wingspan_full . | sed -n '/:[0-9][0-9][.]0*[1-9]/p')" ] || sleep 1
}
# The paths that are new or look different now, and the folders they are in; all, where nobody can tell.
wingspan_news() {
    wingspan_new="
$(wingspan_look | LC_ALL=C awk '
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
# What HTCondor and this script make. HTCondor's tmp and var were there, and no file in them.
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
    wingspan_news
    printf '%s\n' "$wingspan_new" | sort | while IFS= read -r wingspan_path; do
        case $wingspan_path in '' | .* | */* | __pycache__@KEPT@) continue ;; esac
        if wingspan_ours "$wingspan_path"; then continue; fi
        if [ -n "$(find "./$wingspan_path" -type f 2>/dev/null | head -n 1)" ]; then echo "left=$wingspan_path"; fi
    done | head -n 20
}
@OUTPUTS@
wingspan_finish() {
    set +e  # whatever fails from here on: the rest is saved, and the code is the command's
    wingspan_code=$1
    umask 077
    rm -rf "$wingspan_outputs"  # what the command put there is no output: only what is named comes back
    mkdir -p "$wingspan_outputs"
    [ -e .wingspan-there ] || : >.wingspan-there
    wingspan_news
@KEEP@
    chmod -R u+rX,go-rwx "$wingspan_outputs" 2>/dev/null
    if [ "$wingspan_code" -eq 0 ] && [ -n "$wingspan_missing" ]; then wingspan_code=@EXIT_CODE@; fi
    {
        echo "code=$wingspan_code"
        echo "host=$(hostname)"
        echo "ended=$(date +%s)"
        printf '%s' "$wingspan_missing" | sed 's/^/missing=/'
        wingspan_left_behind
    } >"$wingspan_outputs"/@OUTCOME@
@INTO_PLACE@
    exit "$wingspan_code"
}
