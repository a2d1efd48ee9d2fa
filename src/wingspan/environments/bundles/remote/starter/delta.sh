# ---- a bundle that comes as the difference to another one ---------------------------------------------------
# The delta, whose digest is checked first, says which bytes of the other bundle go where, and has the rest. It
# lies in the job's scratch folder; where it is mounted, its name goes at once, and its room with the job.

# Prints $3 bytes of the file $1, from place $2 on.
ws_piece() {
    dd if="$1" bs=1048576 iflag=skip_bytes,count_bytes,fullblock skip="$2" count="$3" 2>/dev/null && return
    # This dd counts in blocks only.
    tail -c +"$(($2 + 1))" "$1" | head -c "$3"
}
ws_pieces() {
    ws_number=0
    while [ "$ws_number" -lt "$ws_lines" ] && read -r ws_what ws_place ws_size; do
        ws_number=$((ws_number + 1))
        case $ws_what in
        b) ws_piece "$ws_good" "$ws_place" "$ws_size" ;;
        d) ws_piece "$ws_difference" "$((ws_head + ws_place))" "$ws_size" ;;
        esac </dev/null
    done
}
ws_put_together() {
    [ -n "$ws_delta" ] && [ ! -e "$ws_bundle" ] || return 0
    [ -f "$ws_delta" ] && [ -r "$ws_delta" ] || ws_die $ws_damaged "there is no $ws_delta"
    [ -f "$ws_basis" ] && [ -r "$ws_basis" ] || ws_die $ws_damaged "there is no bundle $ws_basis"
    ws_new_work
    # What is checked is a copy, and the copy is used.
    ws_difference=$ws_work/delta
    cat "$ws_delta" >"$ws_difference" || ws_die $ws_no_room "there is no room for $ws_delta in $ws_work"
    ws_got=$(ws_digest_of "$ws_difference")
    [ -n "$ws_got" ] || ws_die $ws_no_way "nothing here can compute SHA-256 (sha256sum, shasum, openssl, python3)"
    [ "$ws_got" = "$ws_delta_sha256" ] ||
        ws_die $ws_damaged "${ws_bundle##*/} comes as a delta, which is damaged or another file: its SHA-256 is $ws_got, not $ws_delta_sha256"
    ws_whole=$ws_work/${ws_bundle##*/}
    {
        read -r ws_what ws_version ws_head ws_lines
        [ "$ws_what $ws_version" = 'wingspan-delta 1' ] || ws_die $ws_no_way "this starter does not read the delta ($ws_what $ws_version)"
        read -r ws_wanted ws_what ws_whole_size
        [ "$ws_what" = "$ws_sha256" ] || ws_die $ws_damaged "$ws_delta leads to another bundle: its SHA-256 is $ws_what, not $ws_sha256"
        # The base is read once on each machine; of one that others can change, a copy is checked and used.
        ws_bundle=$ws_basis ws_sha256=$ws_wanted
        ws_check_digest </dev/null
        ws_good=$ws_bundle ws_sha256=$ws_what
        ws_free=$(df -P -k "$ws_work" | awk 'NR == 2 { print $4 }')
        [ "$((ws_whole_size / 1024))" -le "${ws_free:-0}" ] ||
            ws_die $ws_no_room "the bundle needs $((ws_whole_size / 1000000)) MB in $ws_work, $((${ws_free:-0} * 1024 / 1000000)) MB are free; ask for more disk"
        ws_pieces
    } <"$ws_difference" >"$ws_whole"
    # It is right because both parts are; what a full disk has cut is not.
    [ "$(wc -c <"$ws_whole")" -eq "$ws_whole_size" ] || ws_die $ws_no_room "$ws_whole could not be written"
    ws_bundle=$ws_whole
    rm -f "$ws_difference"
    chmod 700 "$ws_bundle"
    ws_say "${ws_bundle##*/} was put together from ${ws_basis##*/}"
}

# Sees that the bundle is there, and the one that was sent.
ws_check_bundle() {
    ws_sent=$ws_bundle
    ws_put_together
    [ "$ws_bundle" != "$ws_sent" ] || ws_check_digest
}
