#!/bin/sh
# Shows a command the files of a worker, and no others: a root of its own in a mount namespace.
#
#   sandbox.sh ROOT LIST PROC UID GID COMMAND...
#
# Runs as root of the namespaces that unshare has made. LIST has a line for each mount: what it is, where it
# comes from, where it goes, with tabs between. PROC is "new" in a PID namespace of its own, else "old". UID and
# GID are those of the command; in a user namespace they are given back to it.

# wingspan: ignore=goes-on-after-failure (every failure that counts ends it)
set -eu
PATH="${PATH:-/usr/bin:/bin}:/usr/sbin:/sbin:/usr/bin:/bin"
ws_root=$1 ws_list=$2 ws_proc=$3 ws_uid=$4 ws_gid=$5
shift 5
ws_tab=$(printf '\t')

mount --make-rprivate / 2>/dev/null || mount --make-rslave /
mount -t tmpfs -o mode=755 tmpfs "$ws_root"

# Binds what lies at $1 to $2, a file or a folder.
ws_bind() {
    if [ -d "$1" ]; then
        mkdir -p "$ws_root$2"
    else
        mkdir -p "$ws_root${2%/*}"
        [ -e "$ws_root$2" ] || : >"$ws_root$2"
    fi
    mount --rbind "$1" "$ws_root$2"
}
while IFS=$ws_tab read -r ws_what ws_from ws_to; do
    case $ws_what in
    link) ln -s "$ws_from" "$ws_root$ws_to" ;;
    folder) mkdir -p "$ws_root$ws_to" ;;
    memory) mount -t tmpfs tmpfs "$ws_root$ws_to" ;;
    write) ws_bind "$ws_from" "$ws_to" ;;
    read)
        ws_bind "$ws_from" "$ws_to"
        # Only root could write there, and a mount of others may forbid the change: then it is not needed.
        mount -o remount,bind,ro "$ws_root$ws_to" 2>/dev/null || :
        ;;
    esac
done <"$ws_list"
mkdir -p "$ws_root/proc" "$ws_root/.old"
case $ws_proc in
new) mount -t proc proc "$ws_root/proc" ;;
*) mount --rbind /proc "$ws_root/proc" ;;
esac
cd "$ws_root"
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
mount -o remount,bind,ro / # a worker's user makes no folders there

# The first process of a PID namespace ignores signals that it does not await: the command is its child.
if [ "$ws_uid" != 0 ] && unshare --user --map-user="$ws_uid" --map-group="$ws_gid" true 2>/dev/null; then
    unshare --user --map-user="$ws_uid" --map-group="$ws_gid" -- "$@"
else
    "$@"
fi
