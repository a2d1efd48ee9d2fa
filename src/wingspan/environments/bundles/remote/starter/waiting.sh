# Waits for the command, $line in front of it, and clears away. A process in the background that waits for the end of this one would
# not live to do that: with a job's first process pools end all others.
stay() {
    shell=/bin/sh
    ! have bash || shell='bash --posix' # other shells cannot give SIGINT back to what they start in the background
    anew "$shell" wait "$method" --line "$line" --clear "$clear" --doubt "$doubt" --known "$known" -- "$@"
}

pass_on() {
    case $1 in
    INT | QUIT)
        [ ! -t 0 ] || return 0 # a terminal's keys reach the command by themselves
        [ -n "${BASH_VERSION:-}" ] || set -- TERM
        ;;
    esac
    if [ -n "$child" ]; then kill -s "$1" "$child"; else early="$early $1"; fi
} 2>/dev/null

# Should this process be killed: its command lives in what is cleared away.
end_and_clear_away() {
    read -r whose <"$work/.owner" && [ "${whose%% *}" != $$ ] && kill -9 "${whose%% *}"
    clear_away
}

stage_wait() {
    afterwards end_and_clear_away
    cleaner=$!
    child='' early='' code=''
    case $line in *"$work/.waits"*) echo yes >"$work/.waits" ;; esac
    for signal in HUP INT QUIT TERM USR1 USR2 ALRM; do
        # shellcheck disable=SC2064
        trap "pass_on $signal" $signal
    done
    [ -e "/proc/$$/fd/0" ] || exec </dev/null
    # the standard input is given by hand to what is in the background, by a number that nobody uses
    for spare in 9 8 7 6 5 4 3; do [ -e "/proc/$$/fd/$spare" ] || break; done
    eval "exec $spare<&0"
    (
        trap - HUP INT QUIT TERM USR1 USR2 ALRM
        eval "exec $spare<&-"
        eval "$line \"\$@\""
    ) <&"$spare" &
    # until it has let go of this process's traps, signals would be lost on it
    begun=$! tries=0
    while [ -e "/proc/$begun/fd/$spare" ] && [ "$tries" -lt 20000 ]; do tries=$((tries + 1)); done
    child=$begun
    for signal in $early; do pass_on "$signal"; done
    {
        # while the command lives nobody else clears its folder away
        read -r whose <"$work/.owner" && printf '%s %s\n' "$child" "${whose#* }" >"$work/.owner"
        # bash can lose the status of a command whose end and a signal come at once while it waits: it looks from time to time instead.
        if [ -n "${BASH_VERSION:-}" ] && [ -n "$work" ] && mkfifo "$work/.tick" && eval "exec $spare<>\"\$work/.tick\""; then
            # shellcheck disable=SC3045
            while kill -0 "$child"; do read -r -t 0.05 -u "$spare"; done
        fi
        while :; do
            wait "$child"
            code=$?
            kill -0 "$child" || break # or else a signal came for it
        done
        # Its end may have come between the two. bash can have lost it then, and would wait for what else it has started.
        kill -9 "$cleaner"
        wait "$child"
        last=$?
        wait "$cleaner"
        case $last in 127 | -1) ;; *) code=$last ;; esac
    } 2>/dev/null
    case $code in
    125 | 126 | 127 | 255) # by these, engines say that they did not start it
        # the folder, which the trial needs, is this process's again: the command has ended
        [ ! -e "$work/.owner" ] || printf '%s %s\n' $$ "${whose#* }" >"$work/.owner"
        if [ -s "$work/.waits" ] && [ -n "$doubt" ] && ! (eval "$doubt") >/dev/null 2>&1 </dev/null; then
            [ -z "$known" ] || say "what worked on this machine before does not any more; the other ways are tried"
            rm -f "$known"
            clear_away
            forgotten=1 work='' clear='' doubt=''
            trap - HUP INT QUIT TERM USR1 USR2 ALRM
            return
        fi
        ;;
    esac
    clear_away
    case $code in
    14[5-9] | 15[016]) ;; # of the signals these end nothing
    129 | 1[345]?)
        # shellcheck disable=SC3045 # dash, bash and busybox have it; elsewhere there may be a core file, no more
        ulimit -c 0
        trap - HUP INT QUIT TERM USR1 USR2 ALRM
        kill -"$((code - 128))" $$
        ;;
    esac
    exit "$code"
}
