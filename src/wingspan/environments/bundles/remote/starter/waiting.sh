# Executes the command behind $ws_line, waits for it, and clears away. A process in the background could not
# do that: when a job's first process ends, pools end all others.
ws_stay() {
    ws_shell=/bin/sh
    ! ws_have bash || ws_shell='bash --posix' # in other shells, what starts in the background never gets SIGINT
    ws_anew "$ws_shell" wait "$ws_method" --line "$ws_line" --clear "$ws_clear" --doubt "$ws_doubt" --lost "$ws_lost" --known "$ws_known" -- "$@"
}

ws_pass_on() {
    case $1 in
    INT | QUIT)
        [ ! -t 0 ] || return 0 # a terminal sends these to the command by itself
        [ -n "${BASH_VERSION:-}" ] || set -- TERM
        ;;
    esac
    case $1 in INT | TERM) ws_told=$1 ;; esac
    if [ -n "$ws_child" ]; then kill -s "$1" "$ws_child"; else ws_early="$ws_early $1"; fi
} 2>/dev/null

# When this process is killed, the command must end before the folder that it runs in is removed.
ws_end_and_clear_away() {
    read -r ws_whose <"$ws_work/.owner" && [ "${ws_whose%% *}" != $$ ] && kill -9 "${ws_whose%% *}"
    ws_clear_away
}

ws_stage_wait() {
    ws_afterwards ws_end_and_clear_away
    ws_cleaner=$!
    ws_child='' ws_early='' ws_code=''
    case $ws_line in *"$ws_work/.waits"*) echo yes >"$ws_work/.waits" ;; esac
    for ws_signal in HUP INT QUIT TERM USR1 USR2 ALRM; do
        # shellcheck disable=SC2064
        trap "ws_pass_on $ws_signal" $ws_signal
    done
    [ -e "/proc/$$/fd/0" ] || exec </dev/null
    # A shell closes the standard input of what it starts in the background: the command gets it by another
    # number.
    for ws_spare in 9 8 7 6 5 4 3; do [ -e "/proc/$$/fd/$ws_spare" ] || break; done
    eval "exec $ws_spare<&0"
    (
        trap - HUP INT QUIT TERM USR1 USR2 ALRM
        eval "exec $ws_spare<&-"
        eval "$ws_line \"\$@\""
    ) <&"$ws_spare" &
    # Until the new process has reset the traps of this one, it would lose signals.
    ws_begun=$! ws_tries=0
    while [ -e "/proc/$ws_begun/fd/$ws_spare" ] && [ "$ws_tries" -lt 20000 ]; do ws_tries=$((ws_tries + 1)); done
    ws_child=$ws_begun
    for ws_signal in $ws_early; do ws_pass_on "$ws_signal"; done
    {
        # The command is now the folder's owner: while it lives, no other job removes the folder.
        read -r ws_whose <"$ws_work/.owner" && printf '%s %s\n' "$ws_child" "${ws_whose#* }" >"$ws_work/.owner"
        # bash can lose the exit status when it waits and a signal comes at the same moment as the end: it
        # polls instead.
        if [ -n "${BASH_VERSION:-}" ] && [ -n "$ws_work" ] && mkfifo "$ws_work/.tick" && eval "exec $ws_spare<>\"\$ws_work/.tick\""; then
            # shellcheck disable=SC3045
            while kill -0 "$ws_child"; do read -r -t 0.05 -u "$ws_spare"; done
        fi
        while :; do
            wait "$ws_child"
            ws_code=$?
            kill -0 "$ws_child" || break # otherwise a signal has ended the waiting
        done
        # The end may have come between wait and kill. bash can have lost it then, and would wait for the
        # cleaner.
        kill -9 "$ws_cleaner"
        wait "$ws_child"
        ws_last=$?
        wait "$ws_cleaner"
        case $ws_last in 127 | -1) ;; *) ws_code=$ws_last ;; esac
    } 2>/dev/null
    # An engine that is told to end while it starts its container may end as if all were well: before the
    # command has begun, or without its container.
    if [ -n "$ws_told" ] && [ "$ws_code" -lt 128 ]; then
        if [ -s "$ws_work/.waits" ] || { [ -n "$ws_lost" ] && (eval "$ws_lost") 2>/dev/null </dev/null; }; then
            case $ws_told in INT) ws_code=130 ;; *) ws_code=143 ;; esac
        fi
    fi
    case $ws_code in
    1 | 125 | 126 | 127 | 255) # with these codes engines say that they have not started the command
        # The trial needs the folder, so this process is its owner again.
        [ ! -e "$ws_work/.owner" ] || printf '%s %s\n' $$ "${ws_whose#* }" >"$ws_work/.owner"
        if [ -s "$ws_work/.waits" ] && [ -n "$ws_doubt" ] && ! (eval "$ws_doubt") >/dev/null 2>&1 </dev/null; then
            [ -z "$ws_known" ] || ws_say "what worked on this machine before does not any more; the other ways are tried"
            rm -f "$ws_known"
            ws_clear_away
            ws_forgotten=1 ws_work='' ws_clear='' ws_doubt=''
            trap - HUP INT QUIT TERM USR1 USR2 ALRM
            return
        fi
        ;;
    esac
    ws_clear_away
    case $ws_code in
    14[5-9] | 15[016]) ;; # the codes of signals that end no process
    129 | 1[345]?)
        # shellcheck disable=SC3045 # dash, bash and busybox have -c; elsewhere a core file may be left
        ulimit -c 0
        trap - HUP INT QUIT TERM USR1 USR2 ALRM
        kill -"$((ws_code - 128))" $$
        ;;
    esac
    exit "$ws_code"
}
