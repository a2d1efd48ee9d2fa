# ---- the ways, best first; one that does not work here returns, with the reason in $ws_reason --------------

ws_reason=''
ws_try_kernel() {
    ws_reason='not root'
    [ "$(id -u)" = 0 ] || return
    ws_reason='no mount namespace'
    ws_find_namespace && [ "$ws_namespace" = 'unshare --mount' ] || return
    ws_reason='the kernel or its loop devices do not mount it'
    grep -qw squashfs /proc/filesystems && [ -e /dev/loop-control ] || return
    ws_new_work
    ws_say "$1: mounted by the kernel"
    shift
    ws_enter kernel "$@"
}

ws_try_fuse() {
    ws_reason='no user namespaces'
    ws_find_namespace || return
    ws_reason='/dev/fuse is not there, or not open to this user'
    [ -r /dev/fuse ] && [ -w /dev/fuse ] || return
    ws_reason='a kernel before 4.18'
    ws_release=$(uname -r)
    ws_major=${ws_release%%.*} ws_minor=${ws_release#*.}
    ws_minor=${ws_minor%%[!0-9]*}
    [ "$ws_major" -gt 4 ] || [ "$ws_minor" -ge 18 ] || return
    ws_reason='no squashfuse_ll, and no helper with it'
    ws_have squashfuse_ll || { [ -n "$ws_helper" ] && [ -f "$ws_helper" ]; } || return
    ws_new_work
    ws_say "$1: mounted with squashfuse_ll"
    shift
    ws_enter fuse "$@"
}

# Whether Apptainer takes the path $1 after --bind: colons and commas mean something to it.
ws_binds() { case $1 in *[:,]*) return 1 ;; esac }

ws_try_apptainer() {
    ws_reason='no Apptainer'
    for ws_program in apptainer singularity ''; do ws_have "$ws_program" && break; done
    [ -n "$ws_program" ] || return
    ws_new_work_swept
    ws_root="$ws_work/root"
    mkdir -p "$ws_root/proc" "$ws_root/sys" "$ws_root/dev" "$ws_root/tmp" "$ws_root$ws_prefix"
    ws_label=$1
    shift
    # The container has each folder of this machine's root, and the environment at its prefix.
    ws_line="exec $ws_program -s exec --pwd $(ws_quoted "$PWD")"
    for ws_entry in /* /.[!.]*; do
        case $ws_entry in /proc | /sys | /dev | /tmp | "/${ws_prefix#/}") continue ;; esac
        if [ -L "$ws_entry" ]; then
            ln -s "$(readlink "$ws_entry")" "$ws_root$ws_entry"
        elif [ -d "$ws_entry" ]; then
            case $ws_prefix in
            "$ws_entry"/*)
                for ws_inner in "$ws_entry"/*; do
                    [ -d "$ws_inner" ] || continue
                    case $ws_prefix in "$ws_inner"/*) continue ;; esac
                    ws_binds "$ws_inner" && mkdir -p "$ws_root$ws_inner" && ws_line="$ws_line --bind $(ws_quoted "$ws_inner")"
                done
                continue
                ;;
            esac
            ws_binds "$ws_entry" && mkdir "$ws_root$ws_entry" 2>/dev/null && ws_line="$ws_line --bind $(ws_quoted "$ws_entry")"
        fi
    done
    [ -e /dev/nvidiactl ] && ws_line="$ws_line --nv"
    [ -e /dev/kfd ] && ws_line="$ws_line --rocm"
    case $ws_work in /tmp/*) mkdir -p "$ws_root$ws_work" && ws_line="$ws_line --bind $(ws_quoted "$ws_work")" ;; esac # its /tmp may be another
    ws_image=$ws_bundle
    if ! ws_binds "$ws_bundle"; then
        ws_image="$ws_work/image"
        ln "$ws_bundle" "$ws_image" 2>/dev/null || ln -s "$ws_bundle" "$ws_image"
    fi
    ws_line="$ws_line --bind $(ws_quoted "$ws_image:$ws_prefix:image-src=/,ro") $(ws_quoted "$ws_root")"
    ws_line="$ws_line /bin/sh $(ws_quoted "$ws_self") --stage run --waits $(ws_quoted "$ws_work/.waits") --prefix $(ws_quoted "$ws_prefix") ${ws_quiet:+--quiet} --"
    if ws_recall "$(command -v "$ws_program")"; then
        ws_doubt="$ws_line true"
    else
        ws_works Apptainer || return
        ws_remember works
    fi
    ws_say "$ws_label: mounted by Apptainer"
    ws_stay "$@"
}

ws_start_squashfs() {
    ws_said=''
    for ws_way in kernel setuid fuse apptainer unpack; do
        case $ws_method in auto | "$ws_way") ;; *) continue ;; esac
        "ws_try_$ws_way" "${ws_said}squashfs" "$@"
        ws_said="${ws_said}not ${ws_way} (${ws_reason}); "
    done
    ws_die $ws_no_way "there is no way to mount or unpack $ws_bundle here: ${ws_said%; }"
}
