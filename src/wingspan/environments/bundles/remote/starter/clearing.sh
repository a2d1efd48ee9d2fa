# ---- what goes when the command has ended: the folder $ws_work, and what $ws_clear removes -----------------

# Removes the folder $1; its .owner goes last. When this is interrupted, the rest still says that its owner is
# gone.
ws_remove_work() {
    rm -rf "${1:?}"/* "$1"/.[!.o]* || {
        chmod -R u+w "$1"
        rm -rf "${1:?}"/* "$1"/.[!.o]*
    }
    rm -rf "$1"
}
ws_clear_away() {
    [ -z "$ws_clear" ] || eval "$ws_clear"
    [ -z "$ws_work" ] || ws_remove_work "$ws_work"
} >/dev/null 2>&1 </dev/null
ws_clear_away_on_signals() {
    for ws_signal in HUP INT TERM; do
        # shellcheck disable=SC2064
        trap "ws_clear_away; trap - $ws_signal; kill -s $ws_signal $$" $ws_signal
    done
}

# Executes $1 once this process has ended, and holds none of its files open.
ws_afterwards() {
    (
        exec </dev/null >/dev/null 2>&1
        trap '' HUP INT TERM
        while kill -0 $$; do sleep 1; done
        eval "$1"
    ) &
}

# An owner is a process: its number, the PID namespace of that number, and which start of the machine it was.
ws_owner=''
ws_name_owner() {
    ws_boot=''
    read -r ws_boot 2>/dev/null </proc/sys/kernel/random/boot_id
    ws_owner="$$ $(readlink /proc/self/ns/pid) $ws_boot"
}
ws_is_nobodys() {
    case $ws_owner in *' pid:['*'] '?*) ;; *) return 1 ;; esac # without /proc one owner cannot be told from another
    # A live process of another user (a command of sudo) refuses the signal.
    [ "${1#* }" = "${ws_owner#* }" ] && ! kill -0 "${1%% *}" 2>/dev/null && [ ! -e "/proc/${1%% *}" ]
}

# Removes those of the folders $@ whose jobs, this user's, had no time to remove them.
ws_sweep() {
    for ws_old in "$@"; do
        # shellcheck disable=SC3067
        [ -O "$ws_old" ] && [ ! -L "$ws_old" ] && read -r ws_whose <"$ws_old/.owner" && ws_is_nobodys "$ws_whose" && ws_remove_work "$ws_old"
    done 2>/dev/null
}

# Whether a program runs in the folder $1: a scratch folder may be mounted noexec.
ws_runs_programs() {
    printf '#!/bin/sh\n' 2>/dev/null >"$1/.runs" && chmod 700 "$1/.runs" && "$1/.runs" 2>/dev/null
    ws_code=$?
    rm -f "$1/.runs"
    return $ws_code
}
ws_silent='' # folders that no program runs in
# A new folder. mktemp is not ended by a signal that ends this job: the folder that it has made is then removed.
ws_mktemp() { (trap '' HUP INT TERM && exec mktemp -d "$1" 2>/dev/null); }
ws_new_work() {
    [ -n "$ws_work" ] && return
    ws_clear_away_on_signals
    for ws_base in "${_CONDOR_SCRATCH_DIR:-}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}" /tmp "$PWD" /var/tmp; do
        [ -n "$ws_base" ] && ws_work=$(ws_mktemp "$ws_base/.wingspan-XXXXXX") || continue
        if ! ws_runs_programs "$ws_work"; then
            rmdir "$ws_work" 2>/dev/null
            ws_work=''
            # On a full disk the test fails, too; who needs the room will say so.
            [ "$ws_base" = /var/tmp ] || ws_silent="$ws_silent $ws_base"
            continue
        fi
        ws_name_owner
        if [ "$ws_base" = "${_CONDOR_SCRATCH_DIR:-}" ]; then
            trap - HUP INT TERM # HTCondor removes its scratch folder
        else
            printf '%s\n' "$ws_owner" >"$ws_work/.owner"
        fi
        return 0
    done
    [ -z "$ws_silent" ] || ws_die $ws_no_way "no program can run in$ws_silent (mounted noexec, or full); set TMPDIR to a folder where programs run"
    ws_die $ws_no_room "no folder can be made in the scratch folder, in /tmp, or here"
}

# Also removes what other jobs have left. Mounting starts so quickly that this would hold it up.
ws_new_work_swept() {
    ws_new_work
    ws_sweep "${ws_work%/*}"/.wingspan-??????
}
