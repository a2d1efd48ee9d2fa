#!/bin/sh
# The entry point of Wingspan's notebook images, below tini: whoever the container runs as gets a name and a home that can be
# written to, then the environment is activated and the command begins. A pool is started by what needs one; none is, where
# _condor_SCHEDD_HOST names the site's.
set -eu

if [ "$(id -u)" = 0 ] && [ -z "${WINGSPAN_AS_ROOT:-}${APPTAINER_CONTAINER:-}" ]; then
    # HTCondor runs no jobs of root, and Jupyter does not like to be root either. Not where root may not become another.
    if setpriv --reuid=1000 --regid=0 --clear-groups true 2>/dev/null; then
        HOME=/home/wingspan exec setpriv --reuid=1000 --regid=0 --clear-groups "$0" "$@"
    fi
fi

if [ -z "${APPTAINER_CONTAINER:-}" ]; then # Apptainer's users bring their own home
    case "${HOME:-/}" in / | /root) HOME=/home/wingspan ;; esac
    export HOME
fi
if [ ! -w "$HOME" ]; then # a root file system that can only be read, or a user of another group
    HOME="$(mktemp -d "${TMPDIR:-/tmp}/home-XXXXXX")"
fi

if ! id -un >/dev/null 2>&1; then # Kubernetes and OpenShift choose numbers that have no name, and HTCondor asks for names
    line="user$(id -u):x:$(id -u):$(id -g):Wingspan:$HOME:/bin/bash"
    if [ -w /etc/passwd ]; then
        echo "$line" >>/etc/passwd
    else
        names="$(mktemp -d "${TMPDIR:-/tmp}/names-XXXXXX")"
        cat /etc/passwd >"$names/passwd"
        echo "$line" >>"$names/passwd"
        cat /etc/group >"$names/group"
        export NSS_WRAPPER_PASSWD="$names/passwd" NSS_WRAPPER_GROUP="$names/group"
        export LD_PRELOAD="/opt/wingspan/image/libnss_wrapper.so${LD_PRELOAD:+:$LD_PRELOAD}"
    fi
fi
USER="$(id -un)"
export USER LOGNAME="$USER"

exec /opt/wingspan/environment/.wingspan/entrypoint.sh "$@"
