# The bundle is a script that puts an environment and its activate.sh into a folder: a pack, or an installer.
ws_start_script() {
    ws_new_work_swept
    ws_have bash || ws_die $ws_no_way "there is no bash here to run $ws_bundle"
    # What the script says is shown as it comes; if it fails, its last line is the reason.
    ws_place=$ws_work
    if ws_is_odd "$ws_work"; then
        ws_shorten "$ws_work" || ws_die $ws_no_way "no link can be made in /tmp, and $ws_work is an odd path"
        ws_place=$ws_short
    fi
    ws_code=$({ { bash "$ws_bundle" -o "$ws_place" -e environment 3>&- 2>&1; echo $? >&3; } | tee "$ws_work/.said" >&2; } 3>&1)
    case $ws_code in
    0) ;;
    121 | 122 | 123) ws_die "$ws_code" "$(tail -n 1 "$ws_work/.said") (${ws_bundle##*/})" ;;
    *) ws_die $ws_no_way "$ws_bundle could not be unpacked or installed (exit status $ws_code): $(tail -n 1 "$ws_work/.said")" ;;
    esac
    ws_say "$ws_kind: unpacked into $ws_work"
    ws_prefix=$ws_place/environment
    # shellcheck disable=SC2016
    ws_line='ws_script=$ws_work/activate.sh; ws_launch'
    ws_stay "$@"
}
