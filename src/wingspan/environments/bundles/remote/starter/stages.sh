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

# Becomes this program anew, started by the words $1, at the stage $2, with the method $3; options and the command follow.
anew() {
    by=$1 next=$2 how=$3
    shift 3
    trap - HUP INT TERM # a shell that is about to become another program forgets signals that its traps wait for
    # shellcheck disable=SC2086
    exec $by "$self" --stage "$next" --method "$how" --bundle "$bundle" --sha256 "$sha256" --kind "$kind" --prefix "$prefix" \
        --work "$work" --helper "$helper" --helper-sha256 "$helper_sha256" --installed "$installed" --uid "${uid:-$(id -u)}" --gid "${gid:-$(id -g)}" \
        ${quiet:+--quiet} "$@"
}

enter() {
    how=$1
    shift
    others=''
    [ "$method" != auto ] || others='--others yes'
    # shellcheck disable=SC2086
    anew "$namespace /bin/sh" mount "$how" $others -- "$@"
}
