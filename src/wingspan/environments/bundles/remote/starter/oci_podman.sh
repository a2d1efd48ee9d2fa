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
