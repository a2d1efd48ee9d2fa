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
