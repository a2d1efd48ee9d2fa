say() { [ -n "$quiet" ] || printf 'wingspan-start: %s\n' "$*" >&2; }
die() {
    code=$1
    shift
    printf 'wingspan-start: %s\n' "$*" >&2
    clear_away
    exit "$code"
}
have() { command -v "$1" >/dev/null 2>&1; }
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }
