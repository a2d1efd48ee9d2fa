# Docker loads the archive into its own store and keeps it there, where the next job finds it.
ws_try_oci_docker() {
    ws_reason='no Docker'
    ws_have docker || return
    if ! ws_reason=$(docker version --format '{{.Server.Version}}' 2>&1); then
        ws_reason="Docker: $(printf '%s' "$ws_reason" | tail -n 1)"
        return
    fi
    # Docker names an image by the digest of its configuration, or, with containerd's store, of its manifest.
    ws_image=''
    ws_config=$(tar -xOf "$ws_bundle" manifest.json 2>/dev/null | sed -n 's/.*"Config":"blobs\/sha256\/\([0-9a-f]*\)".*/\1/p')
    ws_manifest=$(tar -xOf "$ws_bundle" index.json 2>/dev/null | sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p')
    for ws_turn in 1 2; do
        for ws_image in "sha256:$ws_config" "sha256:$ws_manifest" ''; do
            [ -n "$ws_image" ] && docker image inspect "$ws_image" >/dev/null 2>&1 && break
        done
        [ -z "$ws_image" ] && [ "$ws_turn" = 1 ] || break
        if ! ws_reason=$(docker load --quiet --input "$ws_bundle" 2>&1); then
            ws_reason="Docker: $(printf '%s' "$ws_reason" | tail -n 1)"
            return
        fi
    done
    ws_reason='Docker does not find what it has loaded'
    [ -n "$ws_image" ] || return
    # Containers of this user's jobs that had no time to remove them.
    [ -n "$ws_owner" ] || ws_name_owner
    ws_containers=wingspan-$(id -u)
    docker ps --all --filter "name=$ws_containers-" --format '{{.Names}} {{.Label "wingspan.owner"}}' 2>/dev/null | while read -r ws_name ws_whose; do
        [ -z "$ws_whose" ] || ! ws_is_nobodys "$ws_whose" || docker rm --force "$ws_name" </dev/null
    done >/dev/null 2>&1
    ws_container=$ws_containers-$$-$(date +%s)
    ws_line="exec docker run --name $ws_container --label $(ws_quoted "wingspan.owner=$ws_owner") --init --user $(id -u):$(id -g)"
    ws_add_common_words
    [ -e /dev/nvidiactl ] && ws_line="$ws_line --gpus all"
    [ ! -d /dev/shm ] || ws_line="$ws_line --volume /dev/shm:/dev/shm"
    ws_line="$ws_line --entrypoint $ws_prefix/.wingspan/entrypoint.sh $ws_image"
    ws_works Docker || return
    ws_say "$1: run by Docker"
    shift
    ws_clear="docker rm --force $ws_container"
    ws_with_terminal
    ws_stay "$@"
}
