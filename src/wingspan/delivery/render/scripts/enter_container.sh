#!/bin/sh
# Starts a command in the environment: sh enter.sh python --version; without one, a shell.
set -eu
[ $# -gt 0 ] || set -- "${SHELL:-/bin/sh}"
# The container has the environment in it; HTCondor starts programs without the image's own entry point.
unset WINGSPAN_PREFIX
wingspan_script=@PREFIX@/.wingspan/activate.sh
# Activation scripts of packages are written for bash, without set -eu. They do not see the command's
# arguments.
if command -v bash >/dev/null 2>&1; then
    exec bash -c '_wingspan=("$@"); set --; . "${_wingspan[0]}"; exec "${_wingspan[@]:1}"' bash "$wingspan_script" "$@"
fi
set +eu
# shellcheck disable=SC1090 # what is in the image
. "$wingspan_script"
exec "$@"
