# Whether the path $1 has characters that break the scripts of packages.
ws_is_odd() { case $1 in *\'* | *\"* | *\\* | *\$* | *\`* | *[[:space:]]*) ;; *) return 1 ;; esac }

# Sets $ws_short to a short path that leads to $1. It lies in a new folder of this user: others can put
# nothing there.
ws_shorten() {
    [ -n "$ws_owner" ] || ws_name_owner
    ws_short=$(ws_mktemp /tmp/wsXXXXXX) && ln -s "$1" "$ws_short/e" || return 1
    printf '%s\n' "$ws_owner" >"$ws_short/.owner"
    ws_clear="rm -rf $(ws_quoted "$ws_short"); ${ws_clear:-:}"
    ws_short=$ws_short/e
}

ws_check_room() {
    ws_free=$(df -P -k "$ws_work" | awk 'NR == 2 { print $4 }')
    [ "$((ws_installed / 1024))" -le "${ws_free:-0}" ] ||
        ws_die $ws_no_room "unpacking needs $((ws_installed / 1000000)) MB in $ws_work, $((${ws_free:-0} * 1024 / 1000000)) MB are free; ask for more disk"
}

# Takes from what root has unpacked in $1: other owners, set-user-ID and the like, what others may write, and
# devices.
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

# Puts the folder $ws_work/environment at the prefix, or, where nothing can be mounted, rewrites it for where
# it lies.
ws_start_unpacked() {
    ws_label=$1
    shift
    # Unpacking is slow: the job's log says why in any case.
    [ "$ws_method" != auto ] || ws_quiet=''
    if [ -z "$ws_here" ] && ws_find_namespace; then
        ws_say "$ws_label: unpacked into $ws_work"
        ws_line="ws_namespace=$(ws_quoted "$ws_namespace"); ws_enter unpacked"
        ws_stay "$@"
    fi
    ws_sweep /tmp/ws??????
    ws_old=$ws_prefix
    ws_prefix=$ws_work/environment
    # Binaries have room for a path that is as long as the old one.
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
