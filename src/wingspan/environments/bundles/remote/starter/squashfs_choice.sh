start_squashfs() {
    said=''
    for way in kernel fuse apptainer unpack; do
        case $method in auto | "$way") ;; *) continue ;; esac
        "try_$way" "${said}squashfs" "$@"
        said="${said}not ${way} (${reason}); "
    done
    die $EXIT_NO_WAY "there is no way to mount or unpack $bundle here: ${said%; }"
}
