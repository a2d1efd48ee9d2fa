# An engine may be there and not work for this user: it is tried first, with `true`. What worked is remembered on this machine
# ($known), for trying takes as long as starting. It is doubted when the engine fails: $doubt tries it then.
forgotten=''
recall() {
    known='' notes=$(notes_folder)
    [ -n "$notes" ] || return 1
    known="$notes/$(printf '%s %s' "$1" "$(uname -r)" | tr -c 'a-zA-Z0-9.\n' _)"
    [ -z "$forgotten" ] && [ -s "$known" ]
}
remember() {
    [ -n "$known" ] || return 0
    { printf '%s\n' "$1" >"$known.$$" && mv -f "$known.$$" "$known"; } 2>/dev/null || rm -f "$known.$$"
}
works() {
    if ! reason=$(eval "$line true" 2>&1 </dev/null); then
        reason="$1: $(printf '%s' "$reason" | tail -n 1)"
        return 1
    fi
}
