#!/bin/sh
# Wingspan's starter: makes a bundle available on this machine and becomes a command in it.
#
#   starter.sh --bundle FILE --sha256 HEX --kind squashfs --prefix /opt/wingspan/environment [options] -- COMMAND
#
# Options: --helper FILE        archive with squashfuse_ll and unsquashfs, for machines that have neither
#          --helper-sha256 HEX  the helper's digest
#          --installed BYTES    size of the unpacked environment: the starter unpacks only where there is room
#          --method NAME        kernel, setuid, fuse, apptainer or unpack; for oci apptainer, podman, docker or unpack;
#                               default: the first of these that works here
#          --layer FILE         an archive with code of the workspace, which goes on top of the environment;
#          --layer-sha256 HEX   its digest follows it
#          --base FILE          another bundle, from which this one is put together with
#          --delta FILE         the difference between both, and
#          --delta-sha256 HEX   its digest
#          --quiet              say nothing unless something is wrong
#
# The starter checks the file against its digest before anything in it runs. It needs a POSIX shell and
# sha256sum, no Python. Its own exit codes: 121 the bundle is missing or damaged, 122 there is no way to make
# it available, 123 there is no room. What it says goes to standard error and begins with "wingspan-start:".
# Its variables and functions begin with ws_. The source, with comments:
# wingspan/environments/bundles/remote/starter

# wingspan: ignore=goes-on-after-failure (every failure is looked at)
ws_damaged=121 ws_no_way=122 ws_no_room=123
PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin:/usr/bin:/bin"
export PATH
ws_bundle='' ws_sent='' ws_sha256='' ws_kind=squashfs ws_prefix=/opt/wingspan/environment ws_helper='' ws_helper_sha256='' ws_installed=0 ws_method=auto ws_quiet='' ws_stage=main
ws_work='' ws_uid='' ws_gid='' ws_others=''
ws_line='' ws_clear='' ws_doubt='' ws_lost='' ws_told='' ws_known='' ws_layers='' ws_basis='' ws_delta='' ws_delta_sha256='' ws_tty='' ws_code='' ws_waits=''

# @include starter/messages.sh

# @include starter/options.sh

# shellcheck disable=SC2034 # evaluated below
# The program that the environment's Python executes to put code of the workspace on top of the environment.
ws_own_code='
# @include layers.py
'
# The command that goes on to later stages begins with it, and they know nothing of layers.
# shellcheck disable=SC2034,SC2145 # the variable and the words are those of the line that is evaluated
[ -z "$ws_layers" ] || eval "set -- python -I -S -c \"\$ws_own_code\" $ws_layers -- \"\$@\""

# @include starter/digest.sh

# @include starter/command.sh

# @include starter/clearing.sh

# @include starter/delta.sh

# @include starter/waiting.sh

# @include starter/mounting.sh

# @include starter/stages.sh

# @include starter/setuid.sh

# @include starter/squashfs.sh

# @include starter/unpacking.sh

# @include starter/containers.sh

# @include starter/layers.sh

# @include starter/engines.sh

# @include starter/oci_apptainer.sh

# @include starter/oci_words.sh

# @include starter/oci_podman.sh

# @include starter/oci_docker.sh

# @include starter/oci.sh

# @include starter/script.sh

case $ws_stage in
mount) ws_stage_mount "$@" ;;
run) ws_launch "$@" ;;
wait) ws_stage_wait "$@" ;; # comes back when there is another way to try
*) ws_check_bundle ;;
esac
# HTCondor has started the image, and put it into the job's folder: this runs in the container.
[ "$ws_stage" != container ] || ws_launch "$@"
# The copy of a bundle that others can change, and one that was put together, lay in the folder that has been
# cleared away.
[ "$ws_stage" != wait ] || [ -e "$ws_bundle" ] || { ws_bundle=$ws_sent && ws_check_bundle; }
case $ws_kind in
squashfs) ws_start_squashfs "$@" ;;
sif) ws_start_sif "$@" ;;
oci) ws_start_oci "$@" ;;
pack | install) ws_start_script "$@" ;;
*) ws_die 2 "a bundle of kind $ws_kind is not started by this script" ;;
esac
