# What scripts of packages do not bear in a path.
is_odd() { case $1 in *\'* | *\"* | *\\* | *\$* | *\`* | *[[:space:]]*) ;; *) return 1 ;; esac }

# $short: a short path that leads to $1, in a folder of this user's: at a name that others can guess, the link could be theirs
shorten() {
    [ -n "$owner" ] || name_owner
    short=$(mktemp -d /tmp/wsXXXXXX) && ln -s "$1" "$short/e" || return 1
    printf '%s\n' "$owner" >"$short/.owner"
    clear="rm -rf $(quoted "$short"); ${clear:-:}"
    short=$short/e
}

check_room() {
    free=$(df -P -k "$work" | awk 'NR == 2 { print $4 }')
    [ "$((installed / 1024))" -le "${free:-0}" ] ||
        die $EXIT_NO_ROOM "unpacking needs $((installed / 1000000)) MB in $work, $((${free:-0} * 1024 / 1000000)) MB are free; ask for more disk"
}

# What root unpacks has neither foreign owners nor rights of its own, nor devices.
plain_files_only() {
    [ "$(id -u)" = 0 ] || return 0
    find "$1" ! -type d ! -type f ! -type l -exec rm -f {} +
    find "$1" ! -uid 0 -exec chown -h 0:0 {} +
    find "$1" -type f \( -perm -4000 -o -perm -2000 -o -perm -0002 -o -perm -0020 \) -exec chmod u-s,go-ws {} +
    find "$1" -type d ! -perm -1000 \( -perm -2000 -o -perm -0002 -o -perm -0020 \) -exec chmod go-ws {} +
    return 0
} 2>/dev/null
can_make_plain() { [ "$(id -u)" != 0 ] || have find; }

try_unpack() {
    label=$1
    shift
    new_work_swept
    reason='no unsquashfs, and no helper with it'
    find_tool unsquashfs || return
    reason='no find, without which root unpacks nothing'
    can_make_plain || return
    check_room
    # shellcheck disable=SC2086
    if ! $tool -no-progress -quiet -no-xattrs -d "$work/environment" "$bundle" >/dev/null 2>"$work/log"; then
        die $EXIT_NO_ROOM "unpacking into $work failed: $(tail -n 1 "$work/log")"
    fi
    plain_files_only "$work/environment"
    start_unpacked "$label" "$@"
}

# The environment is a folder, $work/environment: put it at its prefix, or move it to where it lies.
start_unpacked() {
    label=$1
    shift
    # that it is slow has a reason, which is told in any case
    [ "$method" != auto ] || quiet=''
    if [ -z "$here" ] && find_namespace; then
        say "$label: unpacked into $work"
        line="namespace=$(quoted "$namespace"); enter unpacked"
        stay "$@"
    fi
    sweep /tmp/ws??????
    old=$prefix
    prefix=$work/environment
    # binaries have room for a path as long as the old one only
    if [ ${#prefix} -gt ${#old} ] || is_odd "$prefix"; then
        shorten "$prefix" || die $EXIT_NO_WAY "no link can be made in /tmp, and $prefix is too long a path, or an odd one"
        prefix=$short
    fi
    python=$work/environment/bin/python
    [ -x "$python" ] || python=python3
    "$python" "$work/environment/.wingspan/relocate.py" "$work/environment" "$old" "$prefix" ||
        die $EXIT_NO_WAY "the environment cannot be moved to $prefix"
    say "$label: unpacked into $work and moved to $prefix"
    line="become=$(quoted "$become"); launch"
    stay "$@"
}
