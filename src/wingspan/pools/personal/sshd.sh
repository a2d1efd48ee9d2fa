#!/bin/sh
# Starts this machine's sshd for condor_ssh_to_job and condor_submit -interactive in a personal pool. HTCondor
# gives sshd's own options, among them -f FOLDER/sshd_config.
program=@PROGRAM@
# HTCondor's library that gives the job's account a shell, which a system account has not.
accounts=@ACCOUNTS@

start() {
    if [ -n "$accounts" ]; then
        LD_PRELOAD=$accounts
        export LD_PRELOAD
    fi
    exec "$program" "$@"
}

case ${1:-} in
--as-root) # of a user namespace
    groups=$2 uid=$3 gid=$4
    shift 4
    mount --bind "$groups" /etc/group || start "$@"
    exec unshare --user --map-user="$uid" --map-group="$gid" -- /bin/sh "$0" --start "$@"
    ;;
--start)
    shift
    start "$@"
    ;;
esac

# sshd gives each terminal to the group "tty", and ends when it may not. It may where the kernel has done so
# already, which takes an option of devpts and a group that this user namespace knows. Elsewhere there is no
# such group, as far as this sshd can see.

kernel_does() {
    while read -r _ place type options _; do
        [ "$place $type" = "/dev/pts devpts" ] || continue
        case ",$options," in *",gid=$1,"*) return 0 ;; esac
    done </proc/self/mounts
    return 1
}
known() {
    while read -r first _ count; do
        [ "$1" -ge "$first" ] && [ "$1" -lt $((first + count)) ] && return 0
    done </proc/self/gid_map
    return 1
}

tty=$(sed -n 's/^tty:[^:]*:\([0-9]*\):.*/\1/p' /etc/group)
if [ -n "$tty" ] && ! { kernel_does "$tty" && known "$tty"; }; then
    configuration=
    for word; do
        [ "$configuration" != next ] || configuration=$word
        [ "$word" != -f ] || configuration=next
    done
    groups=${configuration%/*}/group
    if unshare --user --map-root-user --mount true 2>/dev/null && grep -v '^tty:' /etc/group >"$groups"; then
        exec unshare --user --map-root-user --mount /bin/sh "$0" --as-root "$groups" "$(id -u)" "$(id -g)" "$@"
    fi
fi
start "$@"
