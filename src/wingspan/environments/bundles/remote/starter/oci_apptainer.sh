try_oci_apptainer() {
    reason='no Apptainer'
    for program in apptainer singularity ''; do have "$program" && break; done
    [ -n "$program" ] || return
    unpack_layers || return
    by_apptainer "$work/root"
    line="$line $prefix/.wingspan/entrypoint.sh"
    if recall "oci $(command -v "$program")"; then
        doubt="$line true"
    else
        works Apptainer || return
        remember works
    fi
    say "$1: run by Apptainer"
    shift
    stay "$@"
}
