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

say() { [ -n "$quiet" ] || printf 'wingspan-start: %s\n' "$*" >&2; }
die() {
    code=$1
    shift
    printf 'wingspan-start: %s\n' "$*" >&2
    clear_away
    exit "$code"
}
have() { command -v "$1" >/dev/null 2>&1; }
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

self=$0
while [ $# -gt 0 ]; do
    case $1 in
    --quiet) quiet=1 && shift && continue ;;
    --) shift && break ;;
    esac
    [ $# -ge 2 ] || die 2 "option $1 needs a value"
    case $1 in
    --bundle) bundle=$2 ;;
    --sha256) sha256=$2 ;;
    --kind) kind=$2 ;;
    --prefix) prefix=$2 ;;
    --helper) helper=$2 ;;
    --helper-sha256) helper_sha256=$2 ;;
    --installed) installed=$2 ;;
    --method) method=$2 ;;
    --stage) stage=$2 ;;
    --work) work=$2 ;;
    --uid) uid=$2 ;;
    --gid) gid=$2 ;;
    --others) others=$2 ;;
    --line) line=$2 ;;
    --clear) clear=$2 ;;
    --doubt) doubt=$2 ;;
    --known) known=$2 ;;
    --waits) waits=$2 ;;
    *) die 2 "unknown option $1" ;;
    esac
    shift 2
done
[ $# -gt 0 ] || die 2 "no command was given"

absolute() {
    case $1 in
    '' | /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$PWD" "$1" ;;
    esac
}
self=$(absolute "$self") bundle=$(absolute "$bundle") helper=$(absolute "$helper")

# ---- the check: the whole file against its digest, once per file and machine --------------------------------------
# What was checked is remembered, in a folder of this user's, with the file's device, inode, size and times of change. It counts for files
# that nobody else can write: of others a copy is made, checked and used, for what is behind their name may change at any time.

digest_of() {
    if have sha256sum; then
        sha256sum <"$1" | cut -d' ' -f1
    elif have shasum; then
        shasum -a 256 <"$1" | cut -d' ' -f1
    elif have openssl; then
        openssl dgst -sha256 -r <"$1" | cut -d' ' -f1
    elif have python3; then
        python3 -c 'import hashlib, sys
d = hashlib.sha256()
for b in iter(lambda: sys.stdin.buffer.read(1 << 20), b""): d.update(b)
print(d.hexdigest())' <"$1"
    fi
}

notes_folder() {
    for base in "${WINGSPAN_NODE_CACHE:-}" /var/tmp /tmp; do
        [ -n "$base" ] && [ -d "$base" ] && [ -w "$base" ] || continue
        notes="$base/.wingspan-checked-$(id -u)"
        mkdir -m 700 "$notes" 2>/dev/null
        # ours, a real folder, and closed to others: what anybody could write proves nothing
        if [ -d "$notes" ] && [ ! -L "$notes" ] && [ "$(stat -c '%u %a' "$notes" 2>/dev/null)" = "$(id -u) 700" ]; then
            printf '%s' "$notes"
            return
        fi
    done
}

# Who can change what is at the path $1, which has no links in it: $control is nobody (but this user and root), others, or unclear
# (in a user namespace the owner of a folder can be one that has no number there).
control='' first='' real='' count=''
who_controls() {
    place=$1 control=nobody me=$(id -u) sticky=''
    while :; do
        facts=$(stat -c '%u %g %a %F' "$place" 2>/dev/null) || facts=''
        [ -n "$facts" ] || { control=others && return; }
        user=${facts%% *} facts=${facts#* }
        group=${facts%% *} facts=${facts#* }
        mode=${facts%% *}
        case $user in
        0 | "$me") ;;
        65534)
            read -r first real count 2>/dev/null </proc/self/uid_map || count=4294967295
            [ "$place" != "$1" ] && [ "$first $real $count" != '0 0 4294967295' ] || { control=others && return; }
            control=unclear
            ;;
        *) control=others && return ;;
        esac
        # in a folder with the sticky bit (/tmp), others cannot rename what is not theirs
        case $mode in
        [1357]???) [ -n "$sticky" ] || { control=others && return; } ;;
        *[2367]) control=others && return ;;
        *[2367]?) is_own_group "$group" || { control=others && return; } ;;
        esac
        sticky=yes
        [ "$place" != / ] || return 0
        place=${place%/*}
        place=${place:-/}
    done
}
# root's group is not: others may be in it. Many systems give each user a group of the same name, with nobody else in it.
is_own_group() {
    entry=$(getent group "$1" 2>/dev/null) && [ "${entry%%:*}" = "$(id -un)" ] && [ "$1" = "$(id -g)" ] || return 1
    case ${entry##*:} in '' | "$(id -un)") ;; *) return 1 ;; esac
}

check_digest() {
    [ -n "$sha256" ] || die 2 "--sha256 is missing"
    [ -f "$bundle" ] && [ -r "$bundle" ] || die $EXIT_DAMAGED "there is no bundle $bundle"
    real=$(readlink -f "$bundle" 2>/dev/null) && [ -n "$real" ] && bundle=$real
    state='' notes=$(notes_folder)
    who_controls "$bundle"
    case $control in
    nobody)
        state=$(stat -c '%d:%i %s %.9Y %.9Z' "$bundle" 2>/dev/null)
        [ -n "$state" ] && [ -n "$notes" ] && [ "$(cat "$notes/$sha256" 2>/dev/null)" = "$state" ] && return
        ;;
    others)
        # HTCondor's container is started from it already; a copy would not be what runs
        if [ "$stage" != container ]; then
            new_work
            copy=$work/${bundle##*/}
            { cp -- "$bundle" "$copy" || cat "$bundle" >"$copy"; } 2>/dev/null && chmod 700 "$copy" ||
                die $EXIT_NO_ROOM "others than you can change $bundle, and there is no room for a copy of it in $work"
            bundle=$copy
        fi
        ;;
    esac
    got=$(digest_of "$bundle")
    [ -n "$got" ] || die $EXIT_NO_WAY "nothing here can compute SHA-256 (sha256sum, shasum, openssl, python3)"
    [ "$got" = "$sha256" ] ||
        die $EXIT_DAMAGED "$bundle is damaged or another file: its SHA-256 is $got, not $sha256; nothing in it was run"
    # what changed while it was read is not noted
    if [ -n "$state" ] && [ -n "$notes" ] && [ "$(stat -c '%d:%i %s %.9Y %.9Z' "$bundle")" = "$state" ]; then
        printf '%s' "$state" 2>/dev/null >"$notes/.$$" && mv -f "$notes/.$$" "$notes/$sha256"
    fi
}

# ---- becoming the command --------------------------------------------------------------------------------------------
# $become: words put before the command, to leave the root identity that a user namespace needs for mounting
# $script: what activates the environment, where it is not in it

become='' script=''

# Activation scripts see no arguments; the variables, the folder and the end of this shell are none of their business.
# shellcheck disable=SC2016
activate_in_bash='_wingspan=("$@") _wingspan_folder=$PWD
set --
trap '\''_wingspan=$?; echo "wingspan-start: an activation script of the environment ended its shell (exit status $_wingspan)" >&2; exit 122'\'' EXIT
. "${_wingspan[0]}"
trap - EXIT
set +eu
unset WINGSPAN_PREFIX
[ "$PWD" = "$_wingspan_folder" ] || cd "$_wingspan_folder"
exec ${_wingspan[1]} "${_wingspan[@]:2}"'
launch() {
    WINGSPAN_PREFIX=$prefix
    export WINGSPAN_PREFIX
    script=${script:-$prefix/.wingspan/activate.sh}
    if [ ! -r "$script" ]; then
        die $EXIT_DAMAGED "$prefix holds no environment of Wingspan's"
    fi
    [ -z "$waits" ] || : >"$waits"
    # Packages' own activation scripts, and a workspace's, are written for bash.
    if grep -q -e '/activate\.d/' -e '/\.wingspan/activation/' "$script" && have bash; then
        exec bash -c "$activate_in_bash" bash "$script" "$become" "$@"
    fi
    _wingspan=$become
    # shellcheck disable=SC1090
    . "$script"
    unset WINGSPAN_PREFIX
    # shellcheck disable=SC2086
    exec $_wingspan "$@"
}

# ---- what must be cleared away when the command has ended: $work, and by what $clear says ---------------------------------

# Its owner goes last: what is left when this is interrupted is still known to be nobody's.
remove_work() {
    rm -rf "${1:?}"/* "$1"/.[!.o]* || {
        chmod -R u+w "$1"
        rm -rf "${1:?}"/* "$1"/.[!.o]*
    }
    rm -rf "$1"
}
clear_away() {
    [ -z "$clear" ] || eval "$clear"
    [ -z "$work" ] || remove_work "$work"
} >/dev/null 2>&1 </dev/null
clear_away_on_signals() {
    for signal in HUP INT TERM; do
        # shellcheck disable=SC2064
        trap "clear_away; trap - $signal; kill -s $signal $$" $signal
    done
}

# When this process is gone: do the rest. Holds none of its files open.
afterwards() {
    (
        exec </dev/null >/dev/null 2>&1
        trap '' HUP INT TERM
        while kill -0 $$; do sleep 1; done
        eval "$1"
    ) &
}

# Whose a thing is: of a process, by its number, in a space of numbers, on a machine since its start.
owner=''
name_owner() {
    boot=''
    read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id
    owner="$$ $(readlink /proc/self/ns/pid) $boot"
}
is_nobodys() {
    case $owner in *' pid:['*'] '?*) ;; *) return 1 ;; esac # where this cannot be read, nothing can be told apart
    # a process of another user's, as a command that sudo runs, refuses the signal and lives
    [ "${1#* }" = "${owner#* }" ] && ! kill -0 "${1%% *}" 2>/dev/null && [ ! -e "/proc/${1%% *}" ]
}

# Folders of this user's jobs that had no time to clear them away.
sweep() {
    for old in "$@"; do
        # shellcheck disable=SC3067
        [ -O "$old" ] && [ ! -L "$old" ] && read -r whose <"$old/.owner" && is_nobodys "$whose" && remove_work "$old"
    done 2>/dev/null
}

# Programs of the environment, and ours, must be able to run in it: a scratch folder may be mounted noexec.
runs_programs() {
    printf '#!/bin/sh\n' 2>/dev/null >"$1/.runs" && chmod 700 "$1/.runs" && "$1/.runs" 2>/dev/null
    code=$?
    rm -f "$1/.runs"
    return $code
}
silent='' # folders that no program runs in
new_work() {
    [ -n "$work" ] && return
    for base in "${_CONDOR_SCRATCH_DIR:-}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}" /tmp "$PWD" /var/tmp; do
        [ -n "$base" ] && work=$(mktemp -d "$base/.wingspan-XXXXXX" 2>/dev/null) || continue
        if ! runs_programs "$work"; then
            rmdir "$work" 2>/dev/null
            work=''
            # a full disk is found out by who needs it
            [ "$base" = /var/tmp ] || silent="$silent $base"
            continue
        fi
        name_owner
        [ "$base" != "${_CONDOR_SCRATCH_DIR:-}" ] || return 0 # HTCondor clears that one itself
        printf '%s\n' "$owner" >"$work/.owner"
        clear_away_on_signals
        return 0
    done
    [ -z "$silent" ] || die $EXIT_NO_WAY "no program can run in$silent (mounted noexec, or full); set TMPDIR to a folder where programs run"
    die $EXIT_NO_ROOM "no folder can be made in the scratch folder, in /tmp, or here"
}

# Not by the kernel or squashfuse_ll: these start too quickly to wait for the rests of other jobs.
new_work_swept() {
    new_work
    sweep "${work%/*}"/.wingspan-??????
}

# Waits for the command, $line in front of it, and clears away. A process in the background that waits for the end of this one would
# not live to do that: with a job's first process pools end all others.
stay() {
    shell=/bin/sh
    ! have bash || shell='bash --posix' # other shells cannot give SIGINT back to what they start in the background
    anew "$shell" wait "$method" --line "$line" --clear "$clear" --doubt "$doubt" --known "$known" -- "$@"
}

pass_on() {
    case $1 in
    INT | QUIT)
        [ ! -t 0 ] || return 0 # a terminal's keys reach the command by themselves
        [ -n "${BASH_VERSION:-}" ] || set -- TERM
        ;;
    esac
    if [ -n "$child" ]; then kill -s "$1" "$child"; else early="$early $1"; fi
} 2>/dev/null

# Should this process be killed: its command lives in what is cleared away.
end_and_clear_away() {
    read -r whose <"$work/.owner" && [ "${whose%% *}" != $$ ] && kill -9 "${whose%% *}"
    clear_away
}

stage_wait() {
    afterwards end_and_clear_away
    cleaner=$!
    child='' early='' code=''
    case $line in *"$work/.waits"*) echo yes >"$work/.waits" ;; esac
    for signal in HUP INT QUIT TERM USR1 USR2 ALRM; do
        # shellcheck disable=SC2064
        trap "pass_on $signal" $signal
    done
    [ -e "/proc/$$/fd/0" ] || exec </dev/null
    # the standard input is given by hand to what is in the background, by a number that nobody uses
    for spare in 9 8 7 6 5 4 3; do [ -e "/proc/$$/fd/$spare" ] || break; done
    eval "exec $spare<&0"
    (
        trap - HUP INT QUIT TERM USR1 USR2 ALRM
        eval "exec $spare<&-"
        eval "$line \"\$@\""
    ) <&"$spare" &
    # until it has let go of this process's traps, signals would be lost on it
    begun=$! tries=0
    while [ -e "/proc/$begun/fd/$spare" ] && [ "$tries" -lt 20000 ]; do tries=$((tries + 1)); done
    child=$begun
    for signal in $early; do pass_on "$signal"; done
    {
        # while the command lives nobody else clears its folder away
        read -r whose <"$work/.owner" && printf '%s %s\n' "$child" "${whose#* }" >"$work/.owner"
        # bash can lose the status of a command whose end and a signal come at once while it waits: it looks from time to time instead.
        if [ -n "${BASH_VERSION:-}" ] && [ -n "$work" ] && mkfifo "$work/.tick" && eval "exec $spare<>\"\$work/.tick\""; then
            # shellcheck disable=SC3045
            while kill -0 "$child"; do read -r -t 0.05 -u "$spare"; done
        fi
        while :; do
            wait "$child"
            code=$?
            kill -0 "$child" || break # or else a signal came for it
        done
        # Its end may have come between the two. bash can have lost it then, and would wait for what else it has started.
        kill -9 "$cleaner"
        wait "$child"
        last=$?
        wait "$cleaner"
        case $last in 127 | -1) ;; *) code=$last ;; esac
    } 2>/dev/null
    case $code in
    125 | 126 | 127 | 255) # by these, engines say that they did not start it
        # the folder, which the trial needs, is this process's again: the command has ended
        [ ! -e "$work/.owner" ] || printf '%s %s\n' $$ "${whose#* }" >"$work/.owner"
        if [ -s "$work/.waits" ] && [ -n "$doubt" ] && ! (eval "$doubt") >/dev/null 2>&1 </dev/null; then
            [ -z "$known" ] || say "what worked on this machine before does not any more; the other ways are tried"
            rm -f "$known"
            clear_away
            forgotten=1 work='' clear='' doubt=''
            trap - HUP INT QUIT TERM USR1 USR2 ALRM
            return
        fi
        ;;
    esac
    clear_away
    case $code in
    14[5-9] | 15[016]) ;; # of the signals these end nothing
    129 | 1[345]?)
        # shellcheck disable=SC3045 # dash, bash and busybox have it; elsewhere there may be a core file, no more
        ulimit -c 0
        trap - HUP INT QUIT TERM USR1 USR2 ALRM
        kill -"$((code - 128))" $$
        ;;
    esac
    exit "$code"
}

# ---- mounting at the prefix, in a mount namespace of ours -------------------------------------------------------------

# The prefix need not exist: its first folder gets a small file system in memory with everything that was there, and more.
make_prefix() {
    [ -d "$prefix" ] && return
    top=${prefix#/}
    top=/${top%%/*} rest=${prefix#/*/}
    [ -d "$top" ] || return 1
    mount -t tmpfs -o mode=755,size=64m tmpfs "$work" || return 1
    for entry in "$top"/* "$top"/.[!.]*; do
        name=${entry##*/}
        if [ "$name" = "${rest%%/*}" ]; then
            continue
        elif [ -L "$entry" ]; then
            ln -s "$(readlink "$entry")" "$work/$name"
        elif [ -d "$entry" ]; then
            mkdir "$work/$name" && mount --rbind "$entry" "$work/$name" || return 1
        elif [ -e "$entry" ]; then
            : >"$work/$name" && mount --bind "$entry" "$work/$name" || return 1
        fi
    done
    mkdir -p "$work/$rest" && mount --rbind "$work" "$top" && umount -l "$work"
}

# Puts $tool before the path of a program of the helper, unpacked in memory where that is possible.
tool=''
find_tool() {
    tool=''
    if have "$1"; then
        tool=$1
        return
    fi
    [ -n "$helper" ] && [ -f "$helper" ] || return 1
    place="$work/helper"
    [ "$stage" = mount ] && [ ! -w "$work" ] && place=${prefix%/*}/.helper
    # the copy is what is looked at and what is unpacked
    mkdir -p "$place" && cat "$helper" >"$place/.archive" && [ "$(digest_of "$place/.archive")" = "$helper_sha256" ] &&
        tar -xzf "$place/.archive" -C "$place" && rm -f "$place/.archive" || return 1
    tool="$place/ld.so --library-path $place $place/$1"
}

mount_fuse() {
    find_tool squashfuse_ll || return 1
    # shellcheck disable=SC2086
    $tool "$bundle" "$prefix" -o ro,nodev,nosuid || return 1
    (afterwards "umount -l $(quoted "$prefix")") # not the command's child, which may wait for all that it has
}

mount_kernel() { mount -t squashfs -o loop,ro,nodev,nosuid "$bundle" "$prefix" 2>/dev/null; }

# Here we are root of a namespace (--stage mount): do not come back but as the command, or with an error.
stage_mount() {
    if [ "$uid" != 0 ]; then
        if unshare --user --map-user="$uid" --map-group="$gid" true 2>/dev/null; then
            become="unshare --user --map-user=$uid --map-group=$gid --"
        else
            say "this machine's unshare is old: the command sees itself as root (it is not)"
        fi
    fi
    if ! make_prefix; then
        umount -l "$work" 2>/dev/null
        here=yes
        after_all "the folder $prefix cannot be made in a mount namespace" "$@"
    fi
    case $method in
    kernel)
        mount_kernel || {
            say "the kernel does not mount it after all; squashfuse_ll does"
            mount_fuse
        } || after_all "neither the kernel nor squashfuse_ll mounts it" "$@"
        ;;
    fuse) mount_fuse || after_all "squashfuse_ll does not mount it" "$@" ;;
    unpacked)
        mount --rbind "$work/environment" "$prefix" || {
            here=yes
            after_all "$work/environment cannot be put at $prefix" "$@"
        }
        ;;
    esac
    [ "$method" = unpacked ] || rm -rf "$work" 2>/dev/null
    launch "$@"
}

# What looked as if it would work did not (a module that is missing, a security policy): the ways that are left.
here='' # nothing can be mounted here: the environment must be moved
after_all() {
    failed=$1
    shift
    [ -n "$others" ] || die $EXIT_NO_WAY "$bundle cannot be mounted: $failed"
    said="$failed; "
    if [ "$method" = unpacked ]; then
        method=auto
        start_unpacked "${said}squashfs" "$@"
    fi
    method=auto
    for way in apptainer unpack; do
        "try_$way" "${said}squashfs" "$@"
        said="${said}not ${way} (${reason}); "
    done
    die $EXIT_NO_WAY "there is no way to mount or unpack $bundle here: ${said%; }"
}

namespace='' # how to get a mount namespace here
find_namespace() {
    [ -n "$namespace" ] && return
    have unshare && have mount || return 1
    if [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
        namespace='unshare --mount'
    elif unshare --user --map-root-user --mount true 2>/dev/null; then
        namespace='unshare --user --map-root-user --mount'
    else
        return 1
    fi
}

# Becomes this program anew, started by the words $1, at the stage $2, with the method $3; options and the command follow.
anew() {
    by=$1 next=$2 how=$3
    shift 3
    trap - HUP INT TERM # a shell that is about to become another program forgets signals that its traps wait for
    # shellcheck disable=SC2086
    exec $by "$self" --stage "$next" --method "$how" --bundle "$bundle" --sha256 "$sha256" --kind "$kind" --prefix "$prefix" \
        --work "$work" --helper "$helper" --helper-sha256 "$helper_sha256" --installed "$installed" --uid "${uid:-$(id -u)}" --gid "${gid:-$(id -g)}" \
        ${quiet:+--quiet} "$@"
}

enter() {
    how=$1
    shift
    others=''
    [ "$method" != auto ] || others='--others yes'
    # shellcheck disable=SC2086
    anew "$namespace /bin/sh" mount "$how" $others -- "$@"
}

# ---- the ways, best first; each returns with $reason if it is not to be had here ---------------------------------------------

reason=''
try_kernel() {
    reason='not root'
    [ "$(id -u)" = 0 ] || return
    reason='no mount namespace'
    find_namespace && [ "$namespace" = 'unshare --mount' ] || return
    reason='the kernel or its loop devices do not mount it'
    grep -qw squashfs /proc/filesystems && [ -e /dev/loop-control ] || return
    new_work
    say "$1: mounted by the kernel"
    shift
    enter kernel "$@"
}

try_fuse() {
    reason='no user namespaces'
    find_namespace || return
    reason='/dev/fuse is not there, or not open to this user'
    [ -r /dev/fuse ] && [ -w /dev/fuse ] || return
    reason='a kernel before 4.18'
    release=$(uname -r)
    major=${release%%.*} minor=${release#*.}
    minor=${minor%%[!0-9]*}
    [ "$major" -gt 4 ] || [ "$minor" -ge 18 ] || return
    reason='no squashfuse_ll, and no helper with it'
    have squashfuse_ll || { [ -n "$helper" ] && [ -f "$helper" ]; } || return
    new_work
    say "$1: mounted with squashfuse_ll"
    shift
    enter fuse "$@"
}

# Whether Apptainer takes a path as one to bind: it has a grammar of its own for these.
binds() { case $1 in *[:,]*) return 1 ;; esac }

try_apptainer() {
    reason='no Apptainer'
    for program in apptainer singularity ''; do have "$program" && break; done
    [ -n "$program" ] || return
    new_work_swept
    root="$work/root"
    mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/tmp" "$root$prefix"
    label=$1
    shift
    # the container is this machine's own root, folder by folder, and the environment at its prefix
    line="exec $program -s exec --pwd $(quoted "$PWD")"
    for entry in /* /.[!.]*; do
        case $entry in /proc | /sys | /dev | /tmp | "/${prefix#/}") continue ;; esac
        if [ -L "$entry" ]; then
            ln -s "$(readlink "$entry")" "$root$entry"
        elif [ -d "$entry" ]; then
            case $prefix in
            "$entry"/*)
                for inner in "$entry"/*; do
                    [ -d "$inner" ] || continue
                    case $prefix in "$inner"/*) continue ;; esac
                    binds "$inner" && mkdir -p "$root$inner" && line="$line --bind $(quoted "$inner")"
                done
                continue
                ;;
            esac
            binds "$entry" && mkdir "$root$entry" 2>/dev/null && line="$line --bind $(quoted "$entry")"
        fi
    done
    [ -e /dev/nvidiactl ] && line="$line --nv"
    [ -e /dev/kfd ] && line="$line --rocm"
    case $work in /tmp/*) mkdir -p "$root$work" && line="$line --bind $(quoted "$work")" ;; esac # its /tmp may be one of its own
    image=$bundle
    if ! binds "$bundle"; then
        image="$work/image"
        ln "$bundle" "$image" 2>/dev/null || ln -s "$bundle" "$image"
    fi
    line="$line --bind $(quoted "$image:$prefix:image-src=/,ro") $(quoted "$root")"
    line="$line /bin/sh $(quoted "$self") --stage run --waits $(quoted "$work/.waits") --prefix $(quoted "$prefix") ${quiet:+--quiet} --"
    if recall "$(command -v "$program")"; then
        doubt="$line true"
    else
        works Apptainer || return
        remember works
    fi
    say "$label: mounted by Apptainer"
    stay "$@"
}

# What scripts of packages do not bear in a path.
is_odd() { case $1 in *\'* | *\"* | *\\* | *\$* | *\`* | *[[:space:]]*) ;; *) return 1 ;; esac }

# $short: a short path that leads to $1, in a folder of this user's: at a name that others can guess, the link could be theirs
shorten() {
    [ -n "$owner" ] || name_owner
    short=$(mktemp -d /tmp/wsXXXXXX) && ln -s "$1" "$short/e" || return 1
    printf '%s\n' "$owner" >"$short/.owner"
    clear="rm -rf $(quoted "$short"); ${clear:-:}"
    short=$short/e
}

check_room() {
    free=$(df -P -k "$work" | awk 'NR == 2 { print $4 }')
    [ "$((installed / 1024))" -le "${free:-0}" ] ||
        die $EXIT_NO_ROOM "unpacking needs $((installed / 1000000)) MB in $work, $((${free:-0} * 1024 / 1000000)) MB are free; ask for more disk"
}

# What root unpacks has neither foreign owners nor rights of its own, nor devices.
plain_files_only() {
    [ "$(id -u)" = 0 ] || return 0
    find "$1" ! -type d ! -type f ! -type l -exec rm -f {} +
    find "$1" ! -uid 0 -exec chown -h 0:0 {} +
    find "$1" -type f \( -perm -4000 -o -perm -2000 -o -perm -0002 -o -perm -0020 \) -exec chmod u-s,go-ws {} +
    find "$1" -type d ! -perm -1000 \( -perm -2000 -o -perm -0002 -o -perm -0020 \) -exec chmod go-ws {} +
    return 0
} 2>/dev/null
can_make_plain() { [ "$(id -u)" != 0 ] || have find; }

try_unpack() {
    label=$1
    shift
    new_work_swept
    reason='no unsquashfs, and no helper with it'
    find_tool unsquashfs || return
    reason='no find, without which root unpacks nothing'
    can_make_plain || return
    check_room
    # shellcheck disable=SC2086
    if ! $tool -no-progress -quiet -no-xattrs -d "$work/environment" "$bundle" >/dev/null 2>"$work/log"; then
        die $EXIT_NO_ROOM "unpacking into $work failed: $(tail -n 1 "$work/log")"
    fi
    plain_files_only "$work/environment"
    start_unpacked "$label" "$@"
}

# The environment is a folder, $work/environment: put it at its prefix, or move it to where it lies.
start_unpacked() {
    label=$1
    shift
    # that it is slow has a reason, which is told in any case
    [ "$method" != auto ] || quiet=''
    if [ -z "$here" ] && find_namespace; then
        say "$label: unpacked into $work"
        line="namespace=$(quoted "$namespace"); enter unpacked"
        stay "$@"
    fi
    sweep /tmp/ws??????
    old=$prefix
    prefix=$work/environment
    # binaries have room for a path as long as the old one only
    if [ ${#prefix} -gt ${#old} ] || is_odd "$prefix"; then
        shorten "$prefix" || die $EXIT_NO_WAY "no link can be made in /tmp, and $prefix is too long a path, or an odd one"
        prefix=$short
    fi
    python=$work/environment/bin/python
    [ -x "$python" ] || python=python3
    "$python" "$work/environment/.wingspan/relocate.py" "$work/environment" "$old" "$prefix" ||
        die $EXIT_NO_WAY "the environment cannot be moved to $prefix"
    say "$label: unpacked into $work and moved to $prefix"
    line="become=$(quoted "$become"); launch"
    stay "$@"
}

start_squashfs() {
    said=''
    for way in kernel fuse apptainer unpack; do
        case $method in auto | "$way") ;; *) continue ;; esac
        "try_$way" "${said}squashfs" "$@"
        said="${said}not ${way} (${reason}); "
    done
    die $EXIT_NO_WAY "there is no way to mount or unpack $bundle here: ${said%; }"
}

# @include images.sh

# A script that puts an environment and its activate.sh into a folder: a self-extracting pack, or an installer.
start_script() {
    new_work_swept
    have bash || die $EXIT_NO_WAY "there is no bash here to run $bundle"
    # What it says is shown as it comes, and its last line is the reason if it fails.
    place=$work
    if is_odd "$work"; then
        shorten "$work" || die $EXIT_NO_WAY "no link can be made in /tmp, and $work is an odd path"
        place=$short
    fi
    code=$({ { bash "$bundle" -o "$place" -e environment 3>&- 2>&1; echo $? >&3; } | tee "$work/.said" >&2; } 3>&1)
    case $code in
    0) ;;
    121 | 122 | 123) die "$code" "$(tail -n 1 "$work/.said") (${bundle##*/})" ;;
    *) die $EXIT_NO_WAY "$bundle could not be unpacked or installed (exit status $code): $(tail -n 1 "$work/.said")" ;;
    esac
    say "$kind: unpacked into $work"
    prefix=$place/environment
    # shellcheck disable=SC2016
    line='script=$work/activate.sh; launch'
    stay "$@"
}

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
