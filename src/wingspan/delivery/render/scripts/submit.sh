#!/bin/sh
# @WHY@ Options go to @PROGRAM@.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
mkdir -p logs
@COMMANDS@
