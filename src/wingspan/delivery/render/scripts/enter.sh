#!/bin/sh
# Starts a command in the environment: sh enter.sh python --version; without one, a shell.
set -eu
[ $# -gt 0 ] || set -- "${SHELL:-/bin/sh}"
wingspan_here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
@WHY@
exec sh @STARTER@ -- "$@"
