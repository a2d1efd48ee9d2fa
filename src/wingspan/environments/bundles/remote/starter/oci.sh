# Takes the environment alone out of the image: it runs on this machine's own system.
ws_try_oci_unpack() {
    ws_unpack_layers || return
    mv "$ws_work/root$ws_prefix" "$ws_work/environment" || ws_die $ws_damaged "$ws_bundle has no environment at $ws_prefix"
    rm -rf "$ws_work/root"
    ws_start_unpacked "$@"
}

ws_start_oci() {
    unset WINGSPAN_PREFIX
    ws_add_folders
    ws_add_named_folders "$@"
    ws_said=''
    for ws_way in apptainer podman docker unpack; do
        case $ws_method in auto | "$ws_way") ;; *) continue ;; esac
        "ws_try_oci_$ws_way" "${ws_said}oci" "$@"
        ws_said="${ws_said}not ${ws_way} (${ws_reason}); "
    done
    ws_die $ws_no_way "nothing here runs or unpacks $ws_bundle: ${ws_said%; }"
}
