ws_namespace='' # how to get a mount namespace here
ws_find_namespace() {
    [ -n "$ws_namespace" ] && return
    ws_have unshare && ws_have mount || return 1
    if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
        ws_namespace='unshare --mount'
    elif unshare --user --map-root-user --mount true 2>/dev/null; then
        ws_namespace='unshare --user --map-root-user --mount'
    else
        return 1
    fi
}

# Starts this script anew in its own place: by the words $1, at the stage $2, with the method $3. Options and
# the command follow.
ws_anew() {
    ws_by=$1 ws_next=$2 ws_how=$3
    shift 3
    trap - HUP INT TERM # a signal that comes between a trap and exec would be lost
    # shellcheck disable=SC2086
    exec $ws_by "$ws_self" --stage "$ws_next" --method "$ws_how" --bundle "$ws_bundle" --sent "$ws_sent" --sha256 "$ws_sha256" --kind "$ws_kind" --prefix "$ws_prefix" \
        --work "$ws_work" --helper "$ws_helper" --helper-sha256 "$ws_helper_sha256" --installed "$ws_installed" \
        --base "$ws_basis" --delta "$ws_delta" --delta-sha256 "$ws_delta_sha256" --uid "${ws_uid:-$(id -u)}" --gid "${ws_gid:-$(id -g)}" \
        ${ws_quiet:+--quiet} "$@"
}

ws_enter() {
    ws_how=$1
    shift
    ws_others=''
    [ "$ws_method" != auto ] || ws_others='--others yes'
    # shellcheck disable=SC2086
    ws_anew "$ws_namespace /bin/sh" mount "$ws_how" $ws_others -- "$@"
}
