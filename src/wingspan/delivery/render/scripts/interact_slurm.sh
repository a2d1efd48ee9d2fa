#!/bin/sh
# A shell on a node, with the same resources as the job, in @WITH@.
# Nothing comes back by itself: copy what you want to keep. Options go to srun.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
WINGSPAN_FOLDER=$PWD
export WINGSPAN_FOLDER
exec srun --pty --ntasks=1 @OPTIONS@ "$@" sh -c '
    set -eu
    wingspan_scratch=$(mktemp -d || mktemp -d /tmp/tmp.XXXXXX)
    if [ -d "$WINGSPAN_FOLDER/inputs" ]; then cp -R "$WINGSPAN_FOLDER/inputs/." "$wingspan_scratch/"; fi
    cd "$wingspan_scratch"
    wingspan_code=0
    sh "$WINGSPAN_FOLDER/shell.sh" || wingspan_code=$?
    rm -rf "$wingspan_scratch"
    exit "$wingspan_code"'
