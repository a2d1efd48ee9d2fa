ws_try_oci_apptainer() {
    ws_reason='no Apptainer'
    for ws_program in apptainer singularity ''; do ws_have "$ws_program" && break; done
    [ -n "$ws_program" ] || return
    ws_unpack_layers || return
    ws_by_apptainer "$ws_work/root"
    ws_line="$ws_line $ws_prefix/.wingspan/entrypoint.sh"
    if ws_recall "oci $(command -v "$ws_program")"; then
        ws_doubt="$ws_line true"
    else
        ws_works Apptainer || return
        ws_remember works
    fi
    ws_say "$1: run by Apptainer"
    shift
    ws_stay "$@"
}
