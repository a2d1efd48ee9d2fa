# ---- the check: the whole file against its digest, once per file and machine --------------------------------------
# What was checked is remembered, in a folder of this user's, with the file's device, inode, size and times of change. It counts for files
# that nobody else can write: of others a copy is made, checked and used, for what is behind their name may change at any time.

digest_of() {
    if have sha256sum; then
        sha256sum <"$1" | cut -d' ' -f1
    elif have shasum; then
        shasum -a 256 <"$1" | cut -d' ' -f1
    elif have openssl; then
        openssl dgst -sha256 -r <"$1" | cut -d' ' -f1
    elif have python3; then
        python3 -c 'import hashlib, sys
d = hashlib.sha256()
for b in iter(lambda: sys.stdin.buffer.read(1 << 20), b""): d.update(b)
print(d.hexdigest())' <"$1"
    fi
}

notes_folder() {
    for base in "${WINGSPAN_NODE_CACHE:-}" /var/tmp /tmp; do
        [ -n "$base" ] && [ -d "$base" ] && [ -w "$base" ] || continue
        notes="$base/.wingspan-checked-$(id -u)"
        mkdir -m 700 "$notes" 2>/dev/null
        # ours, a real folder, and closed to others: what anybody could write proves nothing
        if [ -d "$notes" ] && [ ! -L "$notes" ] && [ "$(stat -c '%u %a' "$notes" 2>/dev/null)" = "$(id -u) 700" ]; then
            printf '%s' "$notes"
            return
        fi
    done
}

# Who can change what is at the path $1, which has no links in it: $control is nobody (but this user and root), others, or unclear
# (in a user namespace the owner of a folder can be one that has no number there).
control='' first='' real='' count=''
who_controls() {
    place=$1 control=nobody me=$(id -u) sticky=''
    while :; do
        facts=$(stat -c '%u %g %a %F' "$place" 2>/dev/null) || facts=''
        [ -n "$facts" ] || { control=others && return; }
        user=${facts%% *} facts=${facts#* }
        group=${facts%% *} facts=${facts#* }
        mode=${facts%% *}
        case $user in
        0 | "$me") ;;
        65534)
            read -r first real count 2>/dev/null </proc/self/uid_map || count=4294967295
            [ "$place" != "$1" ] && [ "$first $real $count" != '0 0 4294967295' ] || { control=others && return; }
            control=unclear
            ;;
        *) control=others && return ;;
        esac
        # in a folder with the sticky bit (/tmp), others cannot rename what is not theirs
        case $mode in
        [1357]???) [ -n "$sticky" ] || { control=others && return; } ;;
        *[2367]) control=others && return ;;
        *[2367]?) is_own_group "$group" || { control=others && return; } ;;
        esac
        sticky=yes
        [ "$place" != / ] || return 0
        place=${place%/*}
        place=${place:-/}
    done
}
# root's group is not: others may be in it. Many systems give each user a group of the same name, with nobody else in it.
is_own_group() {
    entry=$(getent group "$1" 2>/dev/null) && [ "${entry%%:*}" = "$(id -un)" ] && [ "$1" = "$(id -g)" ] || return 1
    case ${entry##*:} in '' | "$(id -un)") ;; *) return 1 ;; esac
}

check_digest() {
    [ -n "$sha256" ] || die 2 "--sha256 is missing"
    [ -f "$bundle" ] && [ -r "$bundle" ] || die $EXIT_DAMAGED "there is no bundle $bundle"
    real=$(readlink -f "$bundle" 2>/dev/null) && [ -n "$real" ] && bundle=$real
    state='' notes=$(notes_folder)
    who_controls "$bundle"
    case $control in
    nobody)
        state=$(stat -c '%d:%i %s %.9Y %.9Z' "$bundle" 2>/dev/null)
        [ -n "$state" ] && [ -n "$notes" ] && [ "$(cat "$notes/$sha256" 2>/dev/null)" = "$state" ] && return
        ;;
    others)
        # HTCondor's container is started from it already; a copy would not be what runs
        if [ "$stage" != container ]; then
            new_work
            copy=$work/${bundle##*/}
            { cp -- "$bundle" "$copy" || cat "$bundle" >"$copy"; } 2>/dev/null && chmod 700 "$copy" ||
                die $EXIT_NO_ROOM "others than you can change $bundle, and there is no room for a copy of it in $work"
            bundle=$copy
        fi
        ;;
    esac
    got=$(digest_of "$bundle")
    [ -n "$got" ] || die $EXIT_NO_WAY "nothing here can compute SHA-256 (sha256sum, shasum, openssl, python3)"
    [ "$got" = "$sha256" ] ||
        die $EXIT_DAMAGED "$bundle is damaged or another file: its SHA-256 is $got, not $sha256; nothing in it was run"
    # what changed while it was read is not noted
    if [ -n "$state" ] && [ -n "$notes" ] && [ "$(stat -c '%d:%i %s %.9Y %.9Z' "$bundle")" = "$state" ]; then
        printf '%s' "$state" 2>/dev/null >"$notes/.$$" && mv -f "$notes/.$$" "$notes/$sha256"
    fi
}
