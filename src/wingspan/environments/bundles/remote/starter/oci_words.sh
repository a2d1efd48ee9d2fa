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
