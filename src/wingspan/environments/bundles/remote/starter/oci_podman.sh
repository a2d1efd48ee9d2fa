ws_try_oci_podman() {
    ws_reason='no podman'
    ws_have podman || return
    ws_device=''
    if [ -e /dev/nvidiactl ]; then
        if [ -e /etc/cdi/nvidia.yaml ] || [ -e /var/run/cdi/nvidia.yaml ]; then
            ws_device='--device nvidia.com/gpu=all'
        elif [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
            ws_reason='podman cannot give it the GPU: there is no /etc/cdi/nvidia.yaml'
            return
        fi
    fi
    ws_unpack_layers || return
    # podman's notes about a container lie in the job's folder, but for one folder whose path has at most 50
    # characters.
    ws_own=$ws_work/podman ws_brief=$ws_work/r
    mkdir "$ws_own"
    if [ ${#ws_brief} -ge 50 ]; then
        ws_sweep /tmp/ws??????
        ws_reason='no folder can be made in /tmp'
        ws_brief=$(ws_mktemp /tmp/wsXXXXXX) || return
        printf '%s\n' "$ws_owner" >"$ws_brief/.owner"
    fi
    # podman does not start where it may not read HOME, in which it looks for settings.
    ws_home=$ws_own
    [ ! -r "${HOME:-}/.config/containers" ] || ws_home=$HOME
    ws_podman="env HOME=$(ws_quoted "$ws_home") XDG_RUNTIME_DIR=$(ws_quoted "$ws_own") podman --log-level fatal --storage-driver vfs"
    # podman's pause process keeps the user's namespace. podman joins that namespace right away only if it
    # finds the process here, below XDG_RUNTIME_DIR.
    ws_pause=$ws_own/libpod/tmp
    ws_podman="$ws_podman --root $(ws_quoted "$ws_own/s") --runroot $(ws_quoted "$ws_brief") --tmpdir $(ws_quoted "$ws_pause")"
    # The pause process would stay behind.
    ws_clear="kill -9 \$(cat $(ws_quoted "$ws_pause/pause.pid"))"
    ws_clear="$ws_clear; ws_remove_work $(ws_quoted "$ws_brief"); rm -rf $(ws_quoted "$ws_own")"
    ws_clear_away_on_signals
    ws_line="exec $ws_podman run"
    ws_begins
    ws_add_common_words
    [ ! -d /dev/shm ] || ws_line="$ws_line --volume /dev/shm:/dev/shm"
    ws_line="$ws_line --log-driver none --ulimit host --security-opt label=disable --security-opt seccomp=unconfined $ws_device"
    ws_common=$ws_line
    # In the container the user is the job's. Where that needs more user IDs than the job's user has
    # (/etc/subuid), it looks like root there, and unshare gives it its own ID back. Processes are this
    # machine's, or, where that is refused, those of a PID namespace of its own.
    ws_back="unshare --user --map-user=$(id -u) --map-group=$(id -g)"
    ws_choices='--pid=host --userns=keep-id
--pid=host become
--pid=host
--cgroups=disabled --userns=keep-id
--cgroups=disabled become
--cgroups=disabled'
    [ "$(id -u)" != 0 ] || ws_choices=$(printf '%s\n' "$ws_choices" | grep -v 'keep-id\|become')
    if ws_recall "oci $(command -v podman)"; then
        ws_choices=$(cat "$ws_known") ws_doubt=remembered
    fi
    ws_found='' ws_first=''
    while read -r ws_choice; do
        ws_line="$ws_common ${ws_choice% become} --rootfs $(ws_quoted "$ws_work/root")"
        case $ws_choice in *become) ws_line="$ws_line $ws_back" ;; esac
        ws_line="$ws_line $ws_waits $ws_prefix/.wingspan/entrypoint.sh"
        if [ -n "$ws_doubt" ] || ws_works podman; then
            ws_found=$ws_choice
            break
        fi
        ws_first=${ws_first:-$ws_reason}
    done <<END
$ws_choices
END
    if [ -z "$ws_found" ]; then
        ws_reason=$ws_first
        eval "$ws_clear" >/dev/null 2>&1 </dev/null
        ws_clear=''
        return
    fi
    if [ -n "$ws_doubt" ]; then ws_doubt="$ws_line true"; else ws_remember "$ws_found"; fi
    # Without a pause process an ordinary user's podman starts a second podman in a new namespace. The first
    # one then ends with exit code 0 on SIGTERM, and leaves the command running (podman's libpod/runtime.go:
    # its shutdown handler).
    [ "$(id -u)" = 0 ] || [ -s "$ws_pause/pause.pid" ] || eval "$ws_podman unshare true" >/dev/null 2>&1 </dev/null
    ws_say "$1: run by podman"
    shift
    # A podman that was killed leaves its container. One that gets SIGTERM before it has noted that its
    # container runs ends with 0 and leaves it, too (libpod/runtime.go); else --rm has removed it.
    ws_lost="[ -n \"\$($ws_podman ps --all --quiet)\" ]"
    ws_clear="[ \"\${ws_code:-137}\" -lt 128 ] || $ws_podman rm --all --force --time 0; $ws_clear"
    ws_with_terminal
    ws_stay "$@"
}

ws_with_terminal() { if [ -t 0 ] && [ -t 1 ]; then ws_line="ws_tty=--tty; $ws_line"; fi; }
