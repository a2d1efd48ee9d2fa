# An engine may be there and not work for this user: the starter tries it first, with `true`. Trying takes as
# long as starting, so what worked is noted on this machine, in the file $ws_known. When the engine fails
# later, $ws_doubt is the trial that tells whether the note still holds.
ws_forgotten=''
ws_recall() {
    ws_known='' ws_notes=$(ws_notes_folder)
    [ -n "$ws_notes" ] || return 1
    ws_known="$ws_notes/$(printf '%s %s' "$1" "$(uname -r)" | tr -c 'a-zA-Z0-9.\n' _)"
    [ -z "$ws_forgotten" ] && [ -s "$ws_known" ]
}
ws_remember() {
    [ -n "$ws_known" ] || return 0
    { printf '%s\n' "$1" >"$ws_known.$$" && mv -f "$ws_known.$$" "$ws_known"; } 2>/dev/null || rm -f "$ws_known.$$"
}
ws_works() {
    if ! ws_reason=$(eval "$ws_line true" 2>&1 </dev/null); then
        ws_reason="$1: $(printf '%s' "$ws_reason" | tail -n 1)"
        return 1
    fi
}
