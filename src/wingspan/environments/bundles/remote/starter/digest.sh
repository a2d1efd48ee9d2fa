# ---- the check: the whole file against its digest, once per file and machine -------------------------------
# The starter notes which files it has checked, in a folder of this user: device, inode, size and times of
# change. A note counts only for files that nobody else can write. Any other file may change at any moment:
# the starter copies it, and checks and uses the copy.

ws_digest_of() {
    if ws_have sha256sum; then
        sha256sum <"$1" | cut -d' ' -f1
    elif ws_have shasum; then
        shasum -a 256 <"$1" | cut -d' ' -f1
    elif ws_have openssl; then
        openssl dgst -sha256 -r <"$1" | cut -d' ' -f1
    elif ws_have python3; then
        python3 -c 'import hashlib, sys
d = hashlib.sha256()
for b in iter(lambda: sys.stdin.buffer.read(1 << 20), b""): d.update(b)
print(d.hexdigest())' <"$1"
    fi
}

ws_notes_folder() {
    for ws_base in "${WINGSPAN_NODE_CACHE:-}" /var/tmp /tmp; do
        [ -n "$ws_base" ] && [ -d "$ws_base" ] && [ -w "$ws_base" ] || continue
        ws_notes="$ws_base/.wingspan-checked-$(id -u)"
        mkdir -m 700 "$ws_notes" 2>/dev/null
        # The folder must be this user's, no link, and closed to others: a note that anybody could write
        # proves nothing.
        if [ -d "$ws_notes" ] && [ ! -L "$ws_notes" ] && [ "$(stat -c '%u %a' "$ws_notes" 2>/dev/null)" = "$(id -u) 700" ]; then
            printf '%s' "$ws_notes"
            return
        fi
    done
}

# Sets $ws_control to who can change what lies at the path $1, which has no links in it: nobody (but this user
# and root), others, or unclear (in a user namespace, the owner of a folder may have no number).
ws_control='' ws_first='' ws_real='' ws_count=''
ws_who_controls() {
    ws_place=$1 ws_control=nobody ws_me=$(id -u) ws_sticky=''
    while :; do
        ws_facts=$(stat -c '%u %g %a %F' "$ws_place" 2>/dev/null) || ws_facts=''
        [ -n "$ws_facts" ] || { ws_control=others && return; }
        ws_user=${ws_facts%% *} ws_facts=${ws_facts#* }
        ws_group=${ws_facts%% *} ws_facts=${ws_facts#* }
        ws_mode=${ws_facts%% *}
        case $ws_user in
        0 | "$ws_me") ;;
        65534)
            read -r ws_first ws_real ws_count 2>/dev/null </proc/self/uid_map || ws_count=4294967295
            [ "$ws_place" != "$1" ] && [ "$ws_first $ws_real $ws_count" != '0 0 4294967295' ] || { ws_control=others && return; }
            ws_control=unclear
            ;;
        *) ws_control=others && return ;;
        esac
        # In a folder with the sticky bit (/tmp) others cannot rename what is not theirs.
        case $ws_mode in
        [1357]???) [ -n "$ws_sticky" ] || { ws_control=others && return; } ;;
        *[2367]) ws_control=others && return ;;
        *[2367]?) ws_is_own_group "$ws_group" || { ws_control=others && return; } ;;
        esac
        ws_sticky=yes
        [ "$ws_place" != / ] || return 0
        ws_place=${ws_place%/*}
        ws_place=${ws_place:-/}
    done
}
# Many systems give each user a group of the same name, with nobody else in it. root's group is none of these.
ws_is_own_group() {
    ws_entry=$(getent group "$1" 2>/dev/null) && [ "${ws_entry%%:*}" = "$(id -un)" ] && [ "$1" = "$(id -g)" ] || return 1
    case ${ws_entry##*:} in '' | "$(id -un)") ;; *) return 1 ;; esac
}

ws_compare_digest() {
    ws_got=$(ws_digest_of "$ws_bundle")
    [ -n "$ws_got" ] || ws_die $ws_no_way "nothing here can compute SHA-256 (sha256sum, shasum, openssl, python3)"
    [ "$ws_got" = "$ws_sha256" ] ||
        ws_die $ws_damaged "$ws_bundle is damaged or another file: its SHA-256 is $ws_got, not $ws_sha256; nothing in it was run"
}

ws_check_digest() {
    [ -n "$ws_sha256" ] || ws_die 2 "--sha256 is missing"
    [ -f "$ws_bundle" ] && [ -r "$ws_bundle" ] || ws_die $ws_damaged "there is no bundle $ws_bundle"
    ws_real=$(readlink -f "$ws_bundle" 2>/dev/null) && [ -n "$ws_real" ] && ws_bundle=$ws_real
    ws_state='' ws_notes=$(ws_notes_folder)
    ws_who_controls "$ws_bundle"
    case $ws_control in
    nobody)
        ws_state=$(stat -c '%d:%i %s %.9Y %.9Z' "$ws_bundle" 2>/dev/null)
        [ -n "$ws_state" ] && [ -n "$ws_notes" ] && [ "$(cat "$ws_notes/$ws_sha256" 2>/dev/null)" = "$ws_state" ] && return
        ;;
    others)
        # HTCondor has started the container from this file: a copy would not be what runs.
        if [ "$ws_stage" != container ]; then
            ws_new_work
            ws_copy=$ws_work/${ws_bundle##*/}
            { cp -- "$ws_bundle" "$ws_copy" || cat "$ws_bundle" >"$ws_copy"; } 2>/dev/null && chmod 700 "$ws_copy" ||
                ws_die $ws_no_room "others than you can change $ws_bundle, and there is no room for a copy of it in $ws_work"
            ws_bundle=$ws_copy
        fi
        ;;
    esac
    ws_compare_digest
    # A file that has changed while it was read is not noted. Where times are whole seconds (busybox), neither
    # is one that was written in this second: it could change once more within it.
    case $ws_state in
    '' | *.*) ;;
    *) [ $(($(date +%s) - ${ws_state##* })) -gt 1 ] || ws_state='' ;;
    esac
    if [ -n "$ws_state" ] && [ -n "$ws_notes" ] && [ "$(stat -c '%d:%i %s %.9Y %.9Z' "$ws_bundle")" = "$ws_state" ]; then
        printf '%s' "$ws_state" 2>/dev/null >"$ws_notes/.$$" && mv -f "$ws_notes/.$$" "$ws_notes/$ws_sha256"
    fi
}
