# squashfs-mount, a setuid program that some sites install: the kernel mounts the image, and no user namespace
# is needed. It mounts on a folder that is there: the prefix must be on the machine. In what it starts, no other
# setuid program works. (https://github.com/eth-cscs/squashfs-mount; of its two forms the second is uenv's.)
ws_try_setuid() {
    ws_reason='no squashfs-mount'
    ws_have squashfs-mount || return
    ws_reason="squashfs-mount mounts on $ws_prefix, and this folder is not there"
    [ -d "$ws_prefix" ] || return
    ws_reason="squashfs-mount takes no path with a colon or a comma"
    ws_binds "$ws_bundle" || return
    ws_label=$1
    shift
    ws_pair=$(ws_quoted "$ws_bundle:$ws_prefix")
    for ws_pair in "$ws_pair" "--sqfs=$ws_pair"; do
        ws_line="squashfs-mount $ws_pair --"
        ws_works squashfs-mount && break
        ws_pair=''
    done
    [ -n "$ws_pair" ] || return
    # What the system takes from a setuid program is given back.
    ws_line="exec $ws_line env"
    for ws_name in LD_LIBRARY_PATH LD_PRELOAD TMPDIR; do
        eval "ws_value=\${$ws_name:-}"
        [ -z "$ws_value" ] || ws_line="$ws_line $(ws_quoted "$ws_name=$ws_value")"
    done
    # A copy of the image is mounted now, and can go.
    # shellcheck disable=SC2016
    [ -z "$ws_work" ] || ws_line="$ws_line /bin/sh -c 'rm -rf \"\$0\"; exec \"\$@\"' $(ws_quoted "$ws_work")"
    ws_say "$ws_label: mounted by squashfs-mount"
    trap - HUP INT TERM
    eval "$ws_line /bin/sh $(ws_quoted "$ws_self") --stage run --prefix $(ws_quoted "$ws_prefix") ${ws_quiet:+--quiet} -- \"\$@\""
}
