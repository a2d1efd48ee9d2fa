# Without the image around it: what the environment loads of the system is the machine's.
try_oci_unpack() {
    unpack_layers || return
    mv "$work/root$prefix" "$work/environment" || die $EXIT_DAMAGED "$bundle has no environment at $prefix"
    rm -rf "$work/root"
    start_unpacked "$@"
}

start_oci() {
    unset WINGSPAN_PREFIX
    add_folders
    add_named_folders "$@"
    said=''
    for way in apptainer podman docker unpack; do
        case $method in auto | "$way") ;; *) continue ;; esac
        "try_oci_$way" "${said}oci" "$@"
        said="${said}not ${way} (${reason}); "
    done
    die $EXIT_NO_WAY "nothing here runs or unpacks $bundle: ${said%; }"
}
