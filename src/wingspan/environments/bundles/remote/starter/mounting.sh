# ---- mounting at the prefix, in a mount namespace of ours -------------------------------------------------------------

# The prefix need not exist: its first folder gets a small file system in memory with everything that was there, and more.
make_prefix() {
    [ -d "$prefix" ] && return
    top=${prefix#/}
    top=/${top%%/*} rest=${prefix#/*/}
    [ -d "$top" ] || return 1
    mount -t tmpfs -o mode=755,size=64m tmpfs "$work" || return 1
    for entry in "$top"/* "$top"/.[!.]*; do
        name=${entry##*/}
        if [ "$name" = "${rest%%/*}" ]; then
            continue
        elif [ -L "$entry" ]; then
            ln -s "$(readlink "$entry")" "$work/$name"
        elif [ -d "$entry" ]; then
            mkdir "$work/$name" && mount --rbind "$entry" "$work/$name" || return 1
        elif [ -e "$entry" ]; then
            : >"$work/$name" && mount --bind "$entry" "$work/$name" || return 1
        fi
    done
    mkdir -p "$work/$rest" && mount --rbind "$work" "$top" && umount -l "$work"
}

# Puts $tool before the path of a program of the helper, unpacked in memory where that is possible.
tool=''
find_tool() {
    tool=''
    if have "$1"; then
        tool=$1
        return
    fi
    [ -n "$helper" ] && [ -f "$helper" ] || return 1
    place="$work/helper"
    [ "$stage" = mount ] && [ ! -w "$work" ] && place=${prefix%/*}/.helper
    # the copy is what is looked at and what is unpacked
    mkdir -p "$place" && cat "$helper" >"$place/.archive" && [ "$(digest_of "$place/.archive")" = "$helper_sha256" ] &&
        tar -xzf "$place/.archive" -C "$place" && rm -f "$place/.archive" || return 1
    tool="$place/ld.so --library-path $place $place/$1"
}

mount_fuse() {
    find_tool squashfuse_ll || return 1
    # shellcheck disable=SC2086
    $tool "$bundle" "$prefix" -o ro,nodev,nosuid || return 1
    (afterwards "umount -l $(quoted "$prefix")") # not the command's child, which may wait for all that it has
}

mount_kernel() { mount -t squashfs -o loop,ro,nodev,nosuid "$bundle" "$prefix" 2>/dev/null; }

# Here we are root of a namespace (--stage mount): do not come back but as the command, or with an error.
stage_mount() {
    if [ "$uid" != 0 ]; then
        if unshare --user --map-user="$uid" --map-group="$gid" true 2>/dev/null; then
            become="unshare --user --map-user=$uid --map-group=$gid --"
        else
            say "this machine's unshare is old: the command sees itself as root (it is not)"
        fi
    fi
    if ! make_prefix; then
        umount -l "$work" 2>/dev/null
        here=yes
        after_all "the folder $prefix cannot be made in a mount namespace" "$@"
    fi
    case $method in
    kernel)
        mount_kernel || {
            say "the kernel does not mount it after all; squashfuse_ll does"
            mount_fuse
        } || after_all "neither the kernel nor squashfuse_ll mounts it" "$@"
        ;;
    fuse) mount_fuse || after_all "squashfuse_ll does not mount it" "$@" ;;
    unpacked)
        mount --rbind "$work/environment" "$prefix" || {
            here=yes
            after_all "$work/environment cannot be put at $prefix" "$@"
        }
        ;;
    esac
    [ "$method" = unpacked ] || rm -rf "$work" 2>/dev/null
    launch "$@"
}

# What looked as if it would work did not (a module that is missing, a security policy): the ways that are left.
here='' # nothing can be mounted here: the environment must be moved
after_all() {
    failed=$1
    shift
    [ -n "$others" ] || die $EXIT_NO_WAY "$bundle cannot be mounted: $failed"
    said="$failed; "
    if [ "$method" = unpacked ]; then
        method=auto
        start_unpacked "${said}squashfs" "$@"
    fi
    method=auto
    for way in apptainer unpack; do
        "try_$way" "${said}squashfs" "$@"
        said="${said}not ${way} (${reason}); "
    done
    die $EXIT_NO_WAY "there is no way to mount or unpack $bundle here: ${said%; }"
}
