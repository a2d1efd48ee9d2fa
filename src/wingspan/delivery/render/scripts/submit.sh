#!/bin/sh
# @WHY@ Options go to @PROGRAM@.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
command -v @PROGRAM@ >/dev/null || {
    echo @MISSING@ >&2
    exit 127
}
mkdir -p logs
@COMMANDS@
