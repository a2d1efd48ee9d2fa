# Adds options that podman and Docker both know: this machine's network, the job's folders and variables, and
# its terminal if it has one. HOME, /tmp and /var/tmp go along, as with Apptainer.
ws_add_common_words() {
    [ "${HOME:-/}" = / ] || ws_add_folder "$HOME"
    ws_add_folder /tmp
    ws_add_folder /var/tmp
    ws_line="$ws_line --rm --network host --workdir $(ws_quoted "$PWD") --interactive \$ws_tty"
    # shellcheck disable=SC2034 # $ws_line has it, and is evaluated
    ws_tty='' # not while it is tried
    while read -r ws_folder; do
        case $ws_folder in '' | /nowhere) ;; *) ws_line="$ws_line --volume $(ws_quoted "$ws_folder:$ws_folder")" ;; esac
    done <<END
$ws_folders
END
    for ws_name in $(awk 'BEGIN { for (name in ENVIRON) print name }'); do
        case $ws_name in
        HOME | PATH | LD_* | PWD | OLDPWD | SHLVL | HOSTNAME | _ | XDG_* | CONTAINERS_* | DOCKER_* | *[!A-Za-z0-9_]* | [0-9]*) ;;
        *) ws_line="$ws_line --env $ws_name" ;;
        esac
    done
    [ -z "${HOME:-}" ] || ws_line="$ws_line --env HOME=$(ws_quoted "$HOME")"
}
