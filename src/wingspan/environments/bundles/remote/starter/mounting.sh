# ---- mounting at the prefix, in a mount namespace of the job's own -----------------------------------------

# Makes the prefix, if it does not exist: a small file system in memory covers the first folder of its path,
# and has everything that was in that folder, and the prefix.
ws_make_prefix() {
    [ -d "$ws_prefix" ] && return
    ws_top=${ws_prefix#/}
    ws_top=/${ws_top%%/*} ws_rest=${ws_prefix#/*/}
    [ -d "$ws_top" ] || return 1
    mount -t tmpfs -o mode=755,size=64m tmpfs "$ws_work" || return 1
    for ws_entry in "$ws_top"/* "$ws_top"/.[!.]*; do
        ws_name=${ws_entry##*/}
        if [ "$ws_name" = "${ws_rest%%/*}" ]; then
            continue
        elif [ -L "$ws_entry" ]; then
            ln -s "$(readlink "$ws_entry")" "$ws_work/$ws_name"
        elif [ -d "$ws_entry" ]; then
            mkdir "$ws_work/$ws_name" && mount --rbind "$ws_entry" "$ws_work/$ws_name" || return 1
        elif [ -e "$ws_entry" ]; then
            : >"$ws_work/$ws_name" && mount --bind "$ws_entry" "$ws_work/$ws_name" || return 1
        fi
    done
    mkdir -p "$ws_work/$ws_rest" && mount --rbind "$ws_work" "$ws_top" && umount -l "$ws_work"
}

# Sets $ws_tool to the words that start the program $1: the machine's own, or the helper's, unpacked in memory
# if possible.
ws_tool=''
ws_find_tool() {
    ws_tool=''
    if ws_have "$1"; then
        ws_tool=$1
        return
    fi
    [ -n "$ws_helper" ] && [ -f "$ws_helper" ] || return 1
    ws_place="$ws_work/helper"
    [ "$ws_stage" = mount ] && [ ! -w "$ws_work" ] && ws_place=${ws_prefix%/*}/.helper
    # What is checked is a copy, and the copy is unpacked.
    mkdir -p "$ws_place" && cat "$ws_helper" >"$ws_place/.archive" && [ "$(ws_digest_of "$ws_place/.archive")" = "$ws_helper_sha256" ] &&
        tar -xzf "$ws_place/.archive" -C "$ws_place" && rm -f "$ws_place/.archive" || return 1
    ws_tool="$ws_place/ld.so --library-path $ws_place $ws_place/$1"
}

ws_mount_fuse() {
    ws_find_tool squashfuse_ll || return 1
    # shellcheck disable=SC2086
    $ws_tool "$ws_bundle" "$ws_prefix" -o ro,nodev,nosuid || return 1
    (ws_afterwards "umount -l $(ws_quoted "$ws_prefix")") # no child of the command: the command may wait for all its children
}

ws_mount_kernel() { mount -t squashfs -o loop,ro,nodev,nosuid "$ws_bundle" "$ws_prefix" 2>/dev/null; }

# Runs as root of the namespace (--stage mount), and ends as the command or with an error.
ws_stage_mount() {
    if [ "$ws_uid" != 0 ]; then
        if unshare --user --map-user="$ws_uid" --map-group="$ws_gid" true 2>/dev/null; then
            ws_become="unshare --user --map-user=$ws_uid --map-group=$ws_gid --"
        else
            ws_say "this machine's unshare is old: the command sees itself as root (it is not)"
        fi
    fi
    if ! ws_make_prefix; then
        umount -l "$ws_work" 2>/dev/null
        ws_here=yes
        ws_after_all "the folder $ws_prefix cannot be made in a mount namespace" "$@"
    fi
    case $ws_method in
    kernel)
        ws_mount_kernel || {
            ws_say "the kernel does not mount it after all; squashfuse_ll does"
            ws_mount_fuse
        } || ws_after_all "neither the kernel nor squashfuse_ll mounts it" "$@"
        ;;
    fuse) ws_mount_fuse || ws_after_all "squashfuse_ll does not mount it" "$@" ;;
    unpacked)
        mount --rbind "$ws_work/environment" "$ws_prefix" || {
            ws_here=yes
            ws_after_all "$ws_work/environment cannot be put at $ws_prefix" "$@"
        }
        ;;
    esac
    [ "$ws_method" = unpacked ] || rm -rf "$ws_work" 2>/dev/null
    ws_launch "$@"
}

# Mounting was possible by all that could be seen, and failed (a module is missing, a policy forbids it):
# tries the rest.
ws_here='' # nothing can be mounted here: the environment must be moved
ws_after_all() {
    ws_failed=$1
    shift
    [ -n "$ws_others" ] || ws_die $ws_no_way "$ws_bundle cannot be mounted: $ws_failed"
    ws_said="$ws_failed; "
    if [ "$ws_method" = unpacked ]; then
        ws_method=auto
        ws_start_unpacked "${ws_said}squashfs" "$@"
    fi
    ws_method=auto
    for ws_way in apptainer unpack; do
        "ws_try_$ws_way" "${ws_said}squashfs" "$@"
        ws_said="${ws_said}not ${ws_way} (${ws_reason}); "
    done
    ws_die $ws_no_way "there is no way to mount or unpack $ws_bundle here: ${ws_said%; }"
}
