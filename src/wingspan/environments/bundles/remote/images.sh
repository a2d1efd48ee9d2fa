# ---- images: sif by Apptainer, oci by whichever engine is there ---------------------------------------------------------
# A part of starter.sh, which is sent as one file.

# Folders of this machine that the command sees in the image, one a line: the job's own (its scratch folder need not be the one that
# it starts in, and chirp's cookie lies in neither), the temporary ones, and those that the command's words name.
folders=''
add_folder() {
    [ -n "$1" ] && [ -d "$1" ] || return 0
    case $1 in *[:,\"]*) return 0 ;; esac # no engine takes these in a path
    while read -r folder; do
        case $1/ in "$folder"/*) return 0 ;; esac
    done <<END
$folders
END
    folders="$folders
$1"
}
add_folders() {
    folders=/nowhere
    chirp=${_CONDOR_CHIRP_CONFIG:-} ad=${_CONDOR_JOB_AD:-}
    for place in "$PWD" "${_CONDOR_SCRATCH_DIR:-}" "${chirp%/*}" "${ad%/*}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}"; do
        [ "$place" = / ] || add_folder "$place"
    done
}
add_named_folders() {
    for word in "$bundle" "$@"; do
        case $word/ in # the image has its own of these
        // | /root/ | /bin/* | /boot/* | /dev/* | /etc/* | /lib/* | /lib32/* | /lib64/* | /libx32/* | /proc/*) continue ;;
        /run/* | /sbin/* | /sys/* | /usr/*) continue ;;
        /*) [ -d "$word" ] || word=${word%/*} ;;
        *) continue ;;
        esac
        case $prefix/ in "$word"/*) continue ;; esac
        add_folder "$word"
    done
}

# The first thing done in a container is to empty $work/.waits. While there is something in it the command has not begun, and nothing
# is lost by another way. (Emptied, not made or removed: this needs no room on the disk, and no program.)
begins() {
    add_folder "$work"
    case $work in *[:,\"]*) return 0 ;; esac # the container does not see it
    waits="/bin/sh -c ': >\"\$0\"; exec \"\$@\"' $(quoted "$work/.waits")"
}

# $line: words of a shell that run a command in $1, an image or a folder with one
by_apptainer() {
    begins
    line="exec $program -s exec --pwd $(quoted "$PWD")"
    while read -r folder; do
        case $folder in '' | /nowhere) ;; *) line="$line --bind $(quoted "$folder")" ;; esac
    done <<END
$folders
END
    [ -e /dev/nvidiactl ] && line="$line --nv"
    [ -e /dev/kfd ] && line="$line --rocm"
    line="$line $(quoted "$1") $waits"
}

start_sif() {
    for program in apptainer singularity ''; do have "$program" && break; done
    [ -n "$program" ] || die $EXIT_NO_WAY "there is no Apptainer here to run $bundle"
    add_folders
    add_named_folders "$@"
    new_work_swept
    by_apptainer "$bundle"
    if [ -z "$forgotten" ]; then
        doubt="$line true"
        say "sif: run by Apptainer"
    else
        works Apptainer || die $EXIT_NO_WAY "nothing here runs $bundle: $reason"
    fi
    stay "$@"
}

# An archive's layers become a folder, $work/root, that Apptainer and podman run as it is. Their own ways to take an archive in take
# much longer, because they make an image of it first (110 MB: 82 s for Apptainer, 20 s for podman, 4 s so). Wingspan's layers only add
# files; nothing in them takes away what an earlier one has.
unpack_layers() {
    [ -z "$work" ] || [ ! -d "$work/root" ] || return 0
    new_work_swept
    reason='no tar or gzip to unpack it with'
    have tar && have gzip || return 1
    reason='no find, without which root unpacks nothing'
    can_make_plain || return 1
    check_room
    layers=$(tar -xOf "$bundle" manifest.json 2>/dev/null | sed -n 's/.*"Layers":\[\([^]]*\)\].*/\1/p' | tr -d '" ' | tr ',' ' ')
    [ -n "$layers" ] || die $EXIT_DAMAGED "$bundle names no layers"
    mkdir "$work/root"
    for layer in $layers; do
        tar -xOf "$bundle" "$layer" 2>/dev/null | { gzip -dc || : >"$work/cut"; } 2>/dev/null | tar -xof - -C "$work/root" 2>"$work/log" ||
            : >"$work/cut"
        if [ -e "$work/cut" ]; then
            log=$(tail -n 1 "$work/log")
            # what can be read is not damaged
            { tar -xOf "$bundle" "$layer" | gzip -t; } 2>/dev/null || die $EXIT_DAMAGED "$bundle is damaged: a layer of it cannot be read"
            die $EXIT_NO_ROOM "unpacking into $work failed: $log"
        fi
    done
    plain_files_only "$work/root"
}

# An engine may be there and not work for this user: it is tried first, with `true`. What worked is remembered on this machine
# ($known), for trying takes as long as starting. It is doubted when the engine fails: $doubt tries it then.
forgotten=''
recall() {
    known='' notes=$(notes_folder)
    [ -n "$notes" ] || return 1
    known="$notes/$(printf '%s %s' "$1" "$(uname -r)" | tr -c 'a-zA-Z0-9.\n' _)"
    [ -z "$forgotten" ] && [ -s "$known" ]
}
remember() {
    [ -n "$known" ] || return 0
    { printf '%s\n' "$1" >"$known.$$" && mv -f "$known.$$" "$known"; } 2>/dev/null || rm -f "$known.$$"
}
works() {
    if ! reason=$(eval "$line true" 2>&1 </dev/null); then
        reason="$1: $(printf '%s' "$reason" | tail -n 1)"
        return 1
    fi
}

try_oci_apptainer() {
    reason='no Apptainer'
    for program in apptainer singularity ''; do have "$program" && break; done
    [ -n "$program" ] || return
    unpack_layers || return
    by_apptainer "$work/root"
    line="$line $prefix/.wingspan/entrypoint.sh"
    if recall "oci $(command -v "$program")"; then
        doubt="$line true"
    else
        works Apptainer || return
        remember works
    fi
    say "$1: run by Apptainer"
    shift
    stay "$@"
}

# Words that podman and Docker both know: this machine's network, the job's folders and variables, its terminal if it has one.
# What Apptainer has by itself goes along as well: HOME, /tmp and /var/tmp.
add_common_words() {
    [ "${HOME:-/}" = / ] || add_folder "$HOME"
    add_folder /tmp
    add_folder /var/tmp
    line="$line --rm --network host --workdir $(quoted "$PWD") --interactive \$tty"
    # shellcheck disable=SC2034 # $line has it, and is evaluated
    tty='' # not while it is tried
    while read -r folder; do
        case $folder in '' | /nowhere) ;; *) line="$line --volume $(quoted "$folder:$folder")" ;; esac
    done <<END
$folders
END
    for name in $(awk 'BEGIN { for (name in ENVIRON) print name }'); do
        case $name in
        HOME | PATH | LD_* | PWD | OLDPWD | SHLVL | HOSTNAME | _ | XDG_* | CONTAINERS_* | DOCKER_* | *[!A-Za-z0-9_]* | [0-9]*) ;;
        *) line="$line --env $name" ;;
        esac
    done
    [ -z "${HOME:-}" ] || line="$line --env HOME=$(quoted "$HOME")"
}

try_oci_podman() {
    reason='no podman'
    have podman || return
    device=''
    if [ -e /dev/nvidiactl ]; then
        if [ -e /etc/cdi/nvidia.yaml ] || [ -e /var/run/cdi/nvidia.yaml ]; then
            device='--device nvidia.com/gpu=all'
        elif [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
            reason='podman cannot give it the GPU: there is no /etc/cdi/nvidia.yaml'
            return
        fi
    fi
    unpack_layers || return
    # What podman writes down about a container lies in the job's folder, but for what must have a short path (50 characters).
    own=$work/podman brief=$work/r
    mkdir "$own"
    if [ ${#brief} -ge 50 ]; then
        sweep /tmp/ws??????
        reason='no folder can be made in /tmp'
        brief=$(mktemp -d /tmp/wsXXXXXX) || return
        printf '%s\n' "$owner" >"$brief/.owner"
    fi
    # It does not start with a HOME in which it may not look for settings.
    home=$own
    [ ! -r "${HOME:-}/.config/containers" ] || home=$HOME
    podman="env HOME=$(quoted "$home") XDG_RUNTIME_DIR=$(quoted "$own") podman --log-level fatal --storage-driver vfs"
    podman="$podman --root $(quoted "$own/s") --runroot $(quoted "$brief") --tmpdir $(quoted "$own/t")"
    # A process of podman's own stays behind otherwise, to keep the user's namespace.
    clear="kill -9 \$(cat $(quoted "$own/t/pause.pid") $(quoted "$own/libpod/tmp/pause.pid"))"
    clear="$clear; remove_work $(quoted "$brief"); rm -rf $(quoted "$own")"
    clear_away_on_signals
    line="exec $podman run"
    begins
    add_common_words
    [ ! -d /dev/shm ] || line="$line --volume /dev/shm:/dev/shm"
    line="$line --log-driver none --ulimit host --security-opt label=disable --security-opt seccomp=unconfined $device"
    common=$line
    # The user in it is the job's; or looks like root, where nobody gave the job's user more numbers than one (/etc/subuid): then
    # unshare gives it its number back. Processes are this machine's; or, where that is refused, of a space of their own.
    back="unshare --user --map-user=$(id -u) --map-group=$(id -g)"
    choices='--pid=host --userns=keep-id
--pid=host become
--pid=host
--cgroups=disabled --userns=keep-id
--cgroups=disabled become
--cgroups=disabled'
    [ "$(id -u)" != 0 ] || choices=$(printf '%s\n' "$choices" | grep -v 'keep-id\|become')
    if recall "oci $(command -v podman)"; then
        choices=$(cat "$known") doubt=remembered
    fi
    found='' first=''
    while read -r choice; do
        line="$common ${choice% become} --rootfs $(quoted "$work/root")"
        case $choice in *become) line="$line $back" ;; esac
        line="$line $waits $prefix/.wingspan/entrypoint.sh"
        if [ -n "$doubt" ] || works podman; then
            found=$choice
            break
        fi
        first=${first:-$reason}
    done <<END
$choices
END
    if [ -z "$found" ]; then
        reason=$first
        eval "$clear" >/dev/null 2>&1 </dev/null
        clear=''
        return
    fi
    if [ -n "$doubt" ]; then doubt="$line true"; else remember "$found"; fi
    say "$1: run by podman"
    shift
    # one that was killed leaves its container
    clear="[ \"\${code:-137}\" -lt 128 ] || $podman rm --all --force --time 0; $clear"
    with_terminal
    stay "$@"
}

with_terminal() { if [ -t 0 ] && [ -t 1 ]; then line="tty=--tty; $line"; fi; }

# Docker takes the archive into its own store, and keeps it there, as it does with every image; the next job finds it.
try_oci_docker() {
    reason='no Docker'
    have docker || return
    if ! reason=$(docker version --format '{{.Server.Version}}' 2>&1); then
        reason="Docker: $(printf '%s' "$reason" | tail -n 1)"
        return
    fi
    # the name of its content: of the configuration, or with containerd's store of the manifest
    image=''
    config=$(tar -xOf "$bundle" manifest.json 2>/dev/null | sed -n 's/.*"Config":"blobs\/sha256\/\([0-9a-f]*\)".*/\1/p')
    manifest=$(tar -xOf "$bundle" index.json 2>/dev/null | sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p')
    for turn in 1 2; do
        for image in "sha256:$config" "sha256:$manifest" ''; do
            [ -n "$image" ] && docker image inspect "$image" >/dev/null 2>&1 && break
        done
        [ -z "$image" ] && [ "$turn" = 1 ] || break
        if ! reason=$(docker load --quiet --input "$bundle" 2>&1); then
            reason="Docker: $(printf '%s' "$reason" | tail -n 1)"
            return
        fi
    done
    reason='Docker does not find what it has loaded'
    [ -n "$image" ] || return
    # containers of this user's jobs that had no time to clear them away
    [ -n "$owner" ] || name_owner
    containers=wingspan-$(id -u)
    docker ps --all --filter "name=$containers-" --format '{{.Names}} {{.Label "wingspan.owner"}}' 2>/dev/null | while read -r name whose; do
        [ -z "$whose" ] || ! is_nobodys "$whose" || docker rm --force "$name" </dev/null
    done >/dev/null 2>&1
    container=$containers-$$-$(date +%s)
    line="exec docker run --name $container --label $(quoted "wingspan.owner=$owner") --init --user $(id -u):$(id -g)"
    add_common_words
    [ -e /dev/nvidiactl ] && line="$line --gpus all"
    [ ! -d /dev/shm ] || line="$line --volume /dev/shm:/dev/shm"
    line="$line --entrypoint $prefix/.wingspan/entrypoint.sh $image"
    works Docker || return
    say "$1: run by Docker"
    shift
    clear="docker rm --force $container"
    with_terminal
    stay "$@"
}

# Without the image around it: what the environment loads of the system is the machine's.
try_oci_unpack() {
    unpack_layers || return
    mv "$work/root$prefix" "$work/environment" || die $EXIT_DAMAGED "$bundle has no environment at $prefix"
    rm -rf "$work/root"
    start_unpacked "$@"
}

start_oci() {
    unset WINGSPAN_PREFIX
    add_folders
    add_named_folders "$@"
    said=''
    for way in apptainer podman docker unpack; do
        case $method in auto | "$way") ;; *) continue ;; esac
        "try_oci_$way" "${said}oci" "$@"
        said="${said}not ${way} (${reason}); "
    done
    die $EXIT_NO_WAY "nothing here runs or unpacks $bundle: ${said%; }"
}
