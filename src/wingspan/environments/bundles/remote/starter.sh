#!/bin/sh
# Wingspan's starter: makes a bundle available on this machine and becomes a command in it.
#
#   starter.sh --bundle FILE --sha256 HEX --kind squashfs --prefix /opt/wingspan/environment [options] -- COMMAND...
#
# Options: --helper FILE      archive with squashfuse_ll and unsquashfs, for machines that have neither
#          --installed BYTES  size of the unpacked environment, to see that there is room before unpacking
#          --method NAME      kernel, fuse, apptainer or unpack; for oci apptainer, podman, docker or unpack; default: the first that
#                             works here, in this order
#          --quiet            say nothing unless something is wrong
#
# The file is checked against its digest before anything in it runs. It needs a POSIX shell and sha256sum; no Python.
# Exit codes of its own: 121 the bundle is missing or damaged, 122 no way to make it available, 123 no room.
# Everything it says goes to standard error and begins with "wingspan-start:".

EXIT_DAMAGED=121 EXIT_NO_WAY=122 EXIT_NO_ROOM=123
PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin:/usr/bin:/bin"
export PATH
bundle='' sha256='' kind=squashfs prefix=/opt/wingspan/environment helper='' installed=0 method=auto quiet='' stage=main
work='' uid='' gid='' others=''

say() { [ -n "$quiet" ] || printf 'wingspan-start: %s\n' "$*" >&2; }
die() {
    code=$1
    shift
    printf 'wingspan-start: %s\n' "$*" >&2
    [ -z "$work" ] || rm -rf "$work"
    exit "$code"
}
have() { command -v "$1" >/dev/null 2>&1; }

self=$0
options=''
while [ $# -gt 0 ]; do
    case $1 in
    --quiet) quiet=1 && shift && continue ;;
    --) shift && break ;;
    esac
    [ $# -ge 2 ] || die 2 "option $1 needs a value"
    case $1 in
    --bundle) bundle=$2 ;;
    --sha256) sha256=$2 ;;
    --kind) kind=$2 ;;
    --prefix) prefix=$2 ;;
    --helper) helper=$2 ;;
    --installed) installed=$2 ;;
    --method) method=$2 ;;
    --stage) stage=$2 ;;
    --work) work=$2 ;;
    --uid) uid=$2 ;;
    --gid) gid=$2 ;;
    --others) others=$2 ;;
    *) die 2 "unknown option $1" ;;
    esac
    shift 2
done
[ $# -gt 0 ] || die 2 "no command was given"

absolute() {
    case $1 in
    '' | /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$PWD" "$1" ;;
    esac
}
self=$(absolute "$self") bundle=$(absolute "$bundle") helper=$(absolute "$helper")

# ---- the check: the whole file against its digest, once per file and machine --------------------------------------
# What was checked is remembered with the file's device, inode, size and time of change, beside nobody else's files: in
# an attribute of the file itself where that can be set (all hard links of it share that), and in a folder of this user.

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

check_digest() {
    [ -n "$sha256" ] || die 2 "--sha256 is missing"
    [ -f "$bundle" ] && [ -r "$bundle" ] || die $EXIT_DAMAGED "there is no bundle $bundle"
    # ctime too while there is one link only: making a link changes it
    state=$(stat -L -c '%d:%i %s %.9Y' "$bundle" 2>/dev/null)
    case $(stat -L -c '%h' "$bundle" 2>/dev/null) in 1) state="$state $(stat -L -c '%.9Z' "$bundle")" ;; esac
    notes=$(notes_folder)
    if [ -n "$state" ]; then
        [ -n "$notes" ] && [ "$(cat "$notes/$sha256" 2>/dev/null)" = "$state" ] && return
        if have getfattr && have setfattr; then
            [ "$(getfattr --only-values -n user.wingspan.checked "$bundle" 2>/dev/null)" = "$sha256 $state" ] && return
        fi
    fi
    got=$(digest_of "$bundle")
    [ -n "$got" ] || die $EXIT_NO_WAY "nothing here can compute SHA-256 (sha256sum, shasum, openssl, python3)"
    [ "$got" = "$sha256" ] ||
        die $EXIT_DAMAGED "$bundle is damaged or another file: its SHA-256 is $got, not $sha256; nothing in it was run"
    if [ -n "$state" ]; then
        if [ -n "$notes" ]; then
            printf '%s' "$state" 2>/dev/null >"$notes/.$$" && mv -f "$notes/.$$" "$notes/$sha256"
        fi
        have setfattr && setfattr -n user.wingspan.checked -v "$sha256 $state" "$bundle" 2>/dev/null
    fi
}

# ---- becoming the command --------------------------------------------------------------------------------------------
# $become: words put before the command, to leave the root identity that a user namespace needs for mounting

become=''
launch() {
    WINGSPAN_PREFIX=$prefix
    export WINGSPAN_PREFIX
    script="$prefix/.wingspan/activate.sh"
    if [ ! -r "$script" ]; then
        die $EXIT_DAMAGED "$prefix holds no environment of Wingspan's"
    fi
    # packages' own activation scripts are written for bash
    if grep -q 'activate\.d/' "$script" && have bash; then
        # shellcheck disable=SC2086,SC2016
        exec bash -c 'script=$1 become=$2; shift 2; . "$script"; exec $become "$@"' bash "$script" "$become" "$@"
    fi
    # shellcheck disable=SC1090
    . "$script"
    # shellcheck disable=SC2086
    exec $become "$@"
}

# When this process, which becomes the command, is gone: do the rest. Holds none of its files open.
afterwards() {
    (
        exec </dev/null >/dev/null 2>&1
        trap '' HUP INT TERM
        while kill -0 $$; do sleep 1; done
        eval "$1"
    ) &
}

new_work() {
    [ -n "$work" ] && return
    for base in "${_CONDOR_SCRATCH_DIR:-}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}" /tmp "$PWD"; do
        [ -n "$base" ] && work=$(mktemp -d "$base/.wingspan-XXXXXX" 2>/dev/null) && return
    done
    die $EXIT_NO_ROOM "no folder can be made in the scratch folder, in /tmp, or here"
}

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
    mkdir -p "$place" && tar -xzf "$helper" -C "$place" || return 1
    tool="$place/ld.so --library-path $place $place/$1"
}

mount_fuse() {
    find_tool squashfuse_ll || return 1
    # shellcheck disable=SC2086
    $tool "$bundle" "$prefix" -o ro,nodev,nosuid || return 1
    afterwards "umount -l '$prefix'"
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
    die $EXIT_NO_WAY "there is no way to mount or unpack $bundle here: $said"
}

namespace='' # how to get a mount namespace here
find_namespace() {
    [ -n "$namespace" ] && return
    have unshare && have mount || return 1
    if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
        namespace='unshare --mount'
    elif unshare --user --map-root-user --mount true 2>/dev/null; then
        namespace='unshare --user --map-root-user --mount'
    else
        return 1
    fi
}

enter() {
    how=$1
    shift
    others=''
    [ "$method" != auto ] || others='--others yes'
    # shellcheck disable=SC2086
    exec $namespace /bin/sh "$self" --stage mount --method "$how" --bundle "$bundle" --prefix "$prefix" --work "$work" \
        --helper "$helper" --installed "$installed" --uid "${uid:-$(id -u)}" --gid "${gid:-$(id -g)}" $others ${quiet:+--quiet} -- "$@"
}

# ---- the ways, best first; each returns with $reason if it is not to be had here ---------------------------------------------

reason=''
try_kernel() {
    reason='not root'
    [ "$(id -u)" = 0 ] || return
    reason='no mount namespace'
    find_namespace && [ "$namespace" = 'unshare --mount' ] || return
    reason='the kernel or its loop devices do not mount it'
    grep -qw squashfs /proc/filesystems && [ -e /dev/loop-control ] || return
    new_work
    say "$1: mounted by the kernel"
    shift
    enter kernel "$@"
}

try_fuse() {
    reason='no user namespaces'
    find_namespace || return
    reason='/dev/fuse is not there, or not open to this user'
    [ -r /dev/fuse ] && [ -w /dev/fuse ] || return
    reason='a kernel before 4.18'
    release=$(uname -r)
    major=${release%%.*} minor=${release#*.}
    minor=${minor%%[!0-9]*}
    [ "$major" -gt 4 ] || [ "$minor" -ge 18 ] || return
    reason='no squashfuse_ll, and no helper with it'
    have squashfuse_ll || { [ -n "$helper" ] && [ -f "$helper" ]; } || return
    new_work
    say "$1: mounted with squashfuse_ll"
    shift
    enter fuse "$@"
}

try_apptainer() {
    reason='no Apptainer'
    for program in apptainer singularity ''; do have "$program" && break; done
    [ -n "$program" ] || return
    new_work
    root="$work/root"
    mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root$prefix"
    label=$1
    shift
    # the container is this machine's own root, folder by folder, and the environment at its prefix
    command_line="'$program' -s exec --pwd '$PWD'"
    for entry in /* /.[!.]*; do
        case $entry in /proc | /sys | /dev | /tmp | "/${prefix#/}") continue ;; esac
        if [ -L "$entry" ]; then
            ln -s "$(readlink "$entry")" "$root$entry"
        elif [ -d "$entry" ]; then
            case $prefix in
            "$entry"/*)
                for inner in "$entry"/*; do
                    [ -d "$inner" ] || continue
                    case $prefix in "$inner"/*) continue ;; esac
                    mkdir -p "$root$inner" && command_line="$command_line --bind '$inner'"
                done
                continue
                ;;
            esac
            mkdir "$root$entry" 2>/dev/null && command_line="$command_line --bind '$entry'"
        fi
    done
    [ -e /dev/nvidiactl ] && command_line="$command_line --nv"
    [ -e /dev/kfd ] && command_line="$command_line --rocm"
    command_line="$command_line --bind '$bundle:$prefix:image-src=/,ro' '$root'"
    # tried once per machine, because that takes as long as the real start
    notes=$(notes_folder)
    tried="${notes:-$work}/$(printf '%s %s' "$(command -v "$program")" "$(uname -r)" | tr -c 'a-zA-Z0-9.\n' _)"
    if [ ! -e "$tried" ]; then
        if ! reason=$(eval "$command_line /bin/sh -c true" 2>&1); then
            reason="Apptainer: $(printf '%s' "$reason" | tail -n 1)"
            return
        fi
        : >"$tried"
    fi 2>/dev/null
    say "$label: mounted by Apptainer"
    afterwards "rm -rf '$work'"
    eval "exec $command_line /bin/sh \"\$self\" --stage run --prefix \"\$prefix\" ${quiet:+--quiet} -- \"\$@\""
}

check_room() {
    free=$(df -P -k "$work" | awk 'NR == 2 { print $4 }')
    [ "$((installed / 1024))" -le "${free:-0}" ] ||
        die $EXIT_NO_ROOM "unpacking needs $((installed / 1000000)) MB in $work, ${free} KiB are free; ask for more disk"
}

try_unpack() {
    label=$1
    shift
    new_work
    reason='no unsquashfs, and no helper with it'
    find_tool unsquashfs || return
    check_room
    # shellcheck disable=SC2086
    if ! $tool -no-progress -quiet -no-xattrs -d "$work/environment" "$bundle" >/dev/null 2>"$work/log"; then
        die $EXIT_NO_ROOM "unpacking into $work failed: $(tail -n 1 "$work/log")"
    fi
    start_unpacked "$label" "$@"
}

# The environment is a folder, $work/environment: put it at its prefix, or move it to where it lies.
start_unpacked() {
    label=$1
    shift
    afterwards "chmod -R u+w '$work'; rm -rf '$work'"
    # that it is slow has a reason, which is told in any case
    [ "$method" != auto ] || quiet=''
    if [ -z "$here" ] && find_namespace; then
        say "$label: unpacked into $work"
        enter unpacked "$@"
    fi
    old=$prefix
    prefix=$work/environment
    if [ ${#prefix} -gt ${#old} ]; then # binaries have room for a path as long as the old one only
        link=$(mktemp -u /tmp/wsXXXXXX) && ln -s "$prefix" "$link" && prefix=$link
        afterwards "rm -f '$link'"
    fi
    python=$work/environment/bin/python
    [ -x "$python" ] || python=python3
    "$python" "$work/environment/.wingspan/relocate.py" "$work/environment" "$old" "$prefix" ||
        die $EXIT_NO_WAY "the environment cannot be moved to $prefix"
    say "$label: unpacked into $work and moved to $prefix"
    launch "$@"
}

start_squashfs() {
    said=''
    for way in kernel fuse apptainer unpack; do
        case $method in auto | "$way") ;; *) continue ;; esac
        "try_$way" "${said}squashfs" "$@"
        said="${said}not ${way} (${reason}); "
    done
    die $EXIT_NO_WAY "there is no way to mount or unpack $bundle here: $said"
}

# @include images.sh

# A script that puts an environment and its activate.sh into a folder: a self-extracting pack, or an installer.
start_script() {
    new_work
    have bash || die $EXIT_NO_WAY "there is no bash here to run $bundle"
    # What it says is shown as it comes, and its last line is the reason if it fails.
    code=$({ { bash "$bundle" -o "$work" -e environment 3>&- 2>&1; echo $? >&3; } | tee "$work/.said" >&2; } 3>&1)
    case $code in
    0) ;;
    121 | 122 | 123) die "$code" "$(tail -n 1 "$work/.said") (${bundle##*/})" ;;
    *) die $EXIT_NO_WAY "$bundle could not be unpacked or installed (exit status $code): $(tail -n 1 "$work/.said")" ;;
    esac
    afterwards "rm -rf '$work'"
    say "$kind: unpacked into $work"
    WINGSPAN_PREFIX=$work/environment
    export WINGSPAN_PREFIX
    script=$work/activate.sh
    if grep -q 'activate\.d/' "$script"; then
        # shellcheck disable=SC2016
        exec bash -c 'script=$1; shift; . "$script"; exec "$@"' bash "$script" "$@"
    fi
    # shellcheck disable=SC1090
    . "$script"
    exec "$@"
}

case $stage in
mount) stage_mount "$@" ;;
run) launch "$@" ;;
esac
check_digest
# HTCondor has started the image already, and put it into the job's folder.
[ "$stage" != container ] || launch "$@"
case $kind in
squashfs) start_squashfs "$@" ;;
sif) start_sif "$@" ;;
oci) start_oci "$@" ;;
pack | install) start_script "$@" ;;
*) die 2 "a bundle of kind $kind is not started by this script" ;;
esac
