ws_say() { [ -n "$ws_quiet" ] || printf 'wingspan-start: %s\n' "$*" >&2; }
ws_die() {
    ws_code=$1
    shift
    printf 'wingspan-start: %s\n' "$*" >&2
    ws_clear_away
    exit "$ws_code"
}
ws_have() { command -v "$1" >/dev/null 2>&1; }
ws_quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }
