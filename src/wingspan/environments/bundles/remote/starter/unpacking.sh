# What scripts of packages do not bear in a path.
ws_is_odd() { case $1 in *\'* | *\"* | *\\* | *\$* | *\`* | *[[:space:]]*) ;; *) return 1 ;; esac }

# $ws_short: a short path that leads to $1, in a folder of this user's: at a name that others can guess, the link could be theirs
ws_shorten() {
    [ -n "$ws_owner" ] || ws_name_owner
    ws_short=$(mktemp -d /tmp/wsXXXXXX) && ln -s "$1" "$ws_short/e" || return 1
    printf '%s\n' "$ws_owner" >"$ws_short/.owner"
    ws_clear="rm -rf $(ws_quoted "$ws_short"); ${ws_clear:-:}"
    ws_short=$ws_short/e
}

ws_check_room() {
    ws_free=$(df -P -k "$ws_work" | awk 'NR == 2 { print $4 }')
    [ "$((ws_installed / 1024))" -le "${ws_free:-0}" ] ||
        ws_die $ws_no_room "unpacking needs $((ws_installed / 1000000)) MB in $ws_work, $((${ws_free:-0} * 1024 / 1000000)) MB are free; ask for more disk"
}

# What root unpacks has neither foreign owners nor rights of its own, nor devices.
ws_plain_files_only() {
    [ "$(id -u)" = 0 ] || return 0
    find "$1" ! -type d ! -type f ! -type l -exec rm -f {} +
    find "$1" ! -uid 0 -exec chown -h 0:0 {} +
    find "$1" -type f \( -perm -4000 -o -perm -2000 -o -perm -0002 -o -perm -0020 \) -exec chmod u-s,go-ws {} +
    find "$1" -type d ! -perm -1000 \( -perm -2000 -o -perm -0002 -o -perm -0020 \) -exec chmod go-ws {} +
    return 0
} 2>/dev/null
ws_can_make_plain() { [ "$(id -u)" != 0 ] || ws_have find; }

ws_try_unpack() {
    ws_label=$1
    shift
    ws_new_work_swept
    ws_reason='no unsquashfs, and no helper with it'
    ws_find_tool unsquashfs || return
    ws_reason='no find, without which root unpacks nothing'
    ws_can_make_plain || return
    ws_check_room
    # shellcheck disable=SC2086
    if ! $ws_tool -no-progress -quiet -no-xattrs -d "$ws_work/environment" "$ws_bundle" >/dev/null 2>"$ws_work/log"; then
        ws_die $ws_no_room "unpacking into $ws_work failed: $(tail -n 1 "$ws_work/log")"
    fi
    ws_plain_files_only "$ws_work/environment"
    ws_start_unpacked "$ws_label" "$@"
}

# The environment is a folder, $ws_work/environment: put it at its prefix, or move it to where it lies.
ws_start_unpacked() {
    ws_label=$1
    shift
    # that it is slow has a reason, which is told in any case
    [ "$ws_method" != auto ] || ws_quiet=''
    if [ -z "$ws_here" ] && ws_find_namespace; then
        ws_say "$ws_label: unpacked into $ws_work"
        ws_line="ws_namespace=$(ws_quoted "$ws_namespace"); ws_enter unpacked"
        ws_stay "$@"
    fi
    ws_sweep /tmp/ws??????
    ws_old=$ws_prefix
    ws_prefix=$ws_work/environment
    # binaries have room for a path as long as the old one only
    if [ ${#ws_prefix} -gt ${#ws_old} ] || ws_is_odd "$ws_prefix"; then
        ws_shorten "$ws_prefix" || ws_die $ws_no_way "no link can be made in /tmp, and $ws_prefix is too long a path, or an odd one"
        ws_prefix=$ws_short
    fi
    ws_python=$ws_work/environment/bin/python
    [ -x "$ws_python" ] || ws_python=python3
    "$ws_python" "$ws_work/environment/.wingspan/relocate.py" "$ws_work/environment" "$ws_old" "$ws_prefix" ||
        ws_die $ws_no_way "the environment cannot be moved to $ws_prefix"
    ws_say "$ws_label: unpacked into $ws_work and moved to $ws_prefix"
    ws_line="ws_become=$(ws_quoted "$ws_become"); ws_launch"
    ws_stay "$@"
}
