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

# Whether Apptainer takes a path as one to bind: it has a grammar of its own for these.
binds() { case $1 in *[:,]*) return 1 ;; esac }

try_apptainer() {
    reason='no Apptainer'
    for program in apptainer singularity ''; do have "$program" && break; done
    [ -n "$program" ] || return
    new_work_swept
    root="$work/root"
    mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root$prefix"
    label=$1
    shift
    # the container is this machine's own root, folder by folder, and the environment at its prefix
    line="exec $program -s exec --pwd $(quoted "$PWD")"
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
                    binds "$inner" && mkdir -p "$root$inner" && line="$line --bind $(quoted "$inner")"
                done
                continue
                ;;
            esac
            binds "$entry" && mkdir "$root$entry" 2>/dev/null && line="$line --bind $(quoted "$entry")"
        fi
    done
    [ -e /dev/nvidiactl ] && line="$line --nv"
    [ -e /dev/kfd ] && line="$line --rocm"
    case $work in /tmp/*) mkdir -p "$root$work" && line="$line --bind $(quoted "$work")" ;; esac # its /tmp may be one of its own
    image=$bundle
    if ! binds "$bundle"; then
        image="$work/image"
        ln "$bundle" "$image" 2>/dev/null || ln -s "$bundle" "$image"
    fi
    line="$line --bind $(quoted "$image:$prefix:image-src=/,ro") $(quoted "$root")"
    line="$line /bin/sh $(quoted "$self") --stage run --waits $(quoted "$work/.waits") --prefix $(quoted "$prefix") ${quiet:+--quiet} --"
    if recall "$(command -v "$program")"; then
        doubt="$line true"
    else
        works Apptainer || return
        remember works
    fi
    say "$label: mounted by Apptainer"
    stay "$@"
}
