# A script that puts an environment and its activate.sh into a folder: a self-extracting pack, or an installer.
start_script() {
    new_work_swept
    have bash || die $EXIT_NO_WAY "there is no bash here to run $bundle"
    # What it says is shown as it comes, and its last line is the reason if it fails.
    place=$work
    if is_odd "$work"; then
        shorten "$work" || die $EXIT_NO_WAY "no link can be made in /tmp, and $work is an odd path"
        place=$short
    fi
    code=$({ { bash "$bundle" -o "$place" -e environment 3>&- 2>&1; echo $? >&3; } | tee "$work/.said" >&2; } 3>&1)
    case $code in
    0) ;;
    121 | 122 | 123) die "$code" "$(tail -n 1 "$work/.said") (${bundle##*/})" ;;
    *) die $EXIT_NO_WAY "$bundle could not be unpacked or installed (exit status $code): $(tail -n 1 "$work/.said")" ;;
    esac
    say "$kind: unpacked into $work"
    prefix=$place/environment
    # shellcheck disable=SC2016
    line='script=$work/activate.sh; launch'
    stay "$@"
}
