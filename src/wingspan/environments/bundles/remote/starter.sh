#!/bin/sh
# Wingspan's starter: makes a bundle available on this machine and becomes a command in it.
#
#   starter.sh --bundle FILE --sha256 HEX --kind squashfs --prefix /opt/wingspan/environment [options] -- COMMAND...
#
# Options: --helper FILE      archive with squashfuse_ll and unsquashfs, for machines that have neither
#          --helper-sha256 HEX  its digest
#          --installed BYTES  size of the unpacked environment, to see that there is room before unpacking
#          --method NAME      kernel, fuse, apptainer or unpack; for oci apptainer, podman, docker or unpack; default: the first that
#                             works here, in this order
#          --quiet            say nothing unless something is wrong
#
# The file is checked against its digest before anything in it runs. It needs a POSIX shell and sha256sum; no Python.
# Exit codes of its own: 121 the bundle is missing or damaged, 122 no way to make it available, 123 no room.
# Everything it says goes to standard error and begins with "wingspan-start:".

EXIT_DAMAGED=121 EXIT_NO_WAY=122 EXIT_NO_ROOM=123
PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin:/usr/bin:/bin"
export PATH
bundle='' sha256='' kind=squashfs prefix=/opt/wingspan/environment helper='' helper_sha256='' installed=0 method=auto quiet='' stage=main
work='' uid='' gid='' others=''
line='' clear='' doubt='' known='' tty='' code='' waits=''

# @include starter/messages.sh

# @include starter/options.sh

# @include starter/digest.sh

# @include starter/command.sh

# @include starter/clearing.sh

# @include starter/waiting.sh

# @include starter/mounting.sh

# @include starter/stages.sh

# @include starter/squashfs.sh

# @include starter/unpacking.sh

# @include starter/squashfs_choice.sh

# @include starter/containers.sh

# @include starter/layers.sh

# @include starter/engines.sh

# @include starter/oci_apptainer.sh

# @include starter/oci_words.sh

# @include starter/oci_podman.sh

# @include starter/oci_docker.sh

# @include starter/oci.sh

# @include starter/script.sh

case $stage in
mount) stage_mount "$@" ;;
run) launch "$@" ;;
wait) stage_wait "$@" ;; # comes back when there is another way to try
*) check_digest ;;
esac
# HTCondor has started the image already, and put it into the job's folder.
[ "$stage" != container ] || launch "$@"
case $kind in
squashfs) start_squashfs "$@" ;;
sif) start_sif "$@" ;;
oci) start_oci "$@" ;;
pack | install) start_script "$@" ;;
*) die 2 "a bundle of kind $kind is not started by this script" ;;
esac
