# ---- what must be cleared away when the command has ended: $work, and by what $clear says ---------------------------------

# Its owner goes last: what is left when this is interrupted is still known to be nobody's.
remove_work() {
    rm -rf "${1:?}"/* "$1"/.[!.o]* || {
        chmod -R u+w "$1"
        rm -rf "${1:?}"/* "$1"/.[!.o]*
    }
    rm -rf "$1"
}
clear_away() {
    [ -z "$clear" ] || eval "$clear"
    [ -z "$work" ] || remove_work "$work"
} >/dev/null 2>&1 </dev/null
clear_away_on_signals() {
    for signal in HUP INT TERM; do
        # shellcheck disable=SC2064
        trap "clear_away; trap - $signal; kill -s $signal $$" $signal
    done
}

# When this process is gone: do the rest. Holds none of its files open.
afterwards() {
    (
        exec </dev/null >/dev/null 2>&1
        trap '' HUP INT TERM
        while kill -0 $$; do sleep 1; done
        eval "$1"
    ) &
}

# Whose a thing is: of a process, by its number, in a space of numbers, on a machine since its start.
owner=''
name_owner() {
    boot=''
    read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id
    owner="$$ $(readlink /proc/self/ns/pid) $boot"
}
is_nobodys() {
    case $owner in *' pid:['*'] '?*) ;; *) return 1 ;; esac # where this cannot be read, nothing can be told apart
    # a process of another user's, as a command that sudo runs, refuses the signal and lives
    [ "${1#* }" = "${owner#* }" ] && ! kill -0 "${1%% *}" 2>/dev/null && [ ! -e "/proc/${1%% *}" ]
}

# Folders of this user's jobs that had no time to clear them away.
sweep() {
    for old in "$@"; do
        # shellcheck disable=SC3067
        [ -O "$old" ] && [ ! -L "$old" ] && read -r whose <"$old/.owner" && is_nobodys "$whose" && remove_work "$old"
    done 2>/dev/null
}

# Programs of the environment, and ours, must be able to run in it: a scratch folder may be mounted noexec.
runs_programs() {
    printf '#!/bin/sh\n' 2>/dev/null >"$1/.runs" && chmod 700 "$1/.runs" && "$1/.runs" 2>/dev/null
    code=$?
    rm -f "$1/.runs"
    return $code
}
silent='' # folders that no program runs in
new_work() {
    [ -n "$work" ] && return
    for base in "${_CONDOR_SCRATCH_DIR:-}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}" /tmp "$PWD" /var/tmp; do
        [ -n "$base" ] && work=$(mktemp -d "$base/.wingspan-XXXXXX" 2>/dev/null) || continue
        if ! runs_programs "$work"; then
            rmdir "$work" 2>/dev/null
            work=''
            # a full disk is found out by who needs it
            [ "$base" = /var/tmp ] || silent="$silent $base"
            continue
        fi
        name_owner
        [ "$base" != "${_CONDOR_SCRATCH_DIR:-}" ] || return 0 # HTCondor clears that one itself
        printf '%s\n' "$owner" >"$work/.owner"
        clear_away_on_signals
        return 0
    done
    [ -z "$silent" ] || die $EXIT_NO_WAY "no program can run in$silent (mounted noexec, or full); set TMPDIR to a folder where programs run"
    die $EXIT_NO_ROOM "no folder can be made in the scratch folder, in /tmp, or here"
}

# Not by the kernel or squashfuse_ll: these start too quickly to wait for the rests of other jobs.
new_work_swept() {
    new_work
    sweep "${work%/*}"/.wingspan-??????
}
