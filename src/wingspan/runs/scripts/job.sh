#!/bin/sh
# @TITLE@
# Written by Wingspan; needs nothing of it where it runs. Usage: job.sh NUMBER [GPUS]
set -eu  # a failure in here is the job's failure

# The script's own variables begin with wingspan_; those of a sweep have other names.
wingspan_number=${1:-0}
# shellcheck disable=SC2034 # preflight.sh reads it, where jobs have GPUs
wingspan_gpus=${2:-}
# The names of outputs contain this, so that several submissions do not overwrite each other's.
wingspan_job=@JOB@
case $0 in /*) wingspan_self=$0 ;; *) wingspan_self=$PWD/$0 ;; esac
@PATH@
@PARAMETERS@

# ---- The commands, inside the environment ------------------------------------------------------------------
if [ "${WINGSPAN_INSIDE:-}" = yes ]; then
unset WINGSPAN_INSIDE WINGSPAN_SUBMISSION
@VARIABLES@
# The job's folder is its HOME: elsewhere programs would fill a quota, or find no HOME at all.
@HOMES@
@STEPS@
fi

@FOLDER@
wingspan_outputs=@OUTPUTS@
mkdir -p "$wingspan_outputs"

@FINISH@

@CHECKPOINT@
@PREFLIGHT@
# ---- The work ----------------------------------------------------------------------------------------------
wingspan_child=
# HTCondor and Slurm tell this process to end: the command hears of it too.
wingspan_stop() { [ -z "$wingspan_child" ] || kill -TERM "$wingspan_child" 2>/dev/null || :; }
trap wingspan_stop TERM INT
# The commands, once; $wingspan_code is how they ended.
wingspan_attempt() {
    wingspan_code=0
    WINGSPAN_INSIDE=yes @START@ "$wingspan_self" "$@" </dev/null &
    wingspan_child=$!
    wait "$wingspan_child" || wingspan_code=$?
    # A signal ends the waiting, not the command: the shell is asked again how that ended. (127: it has told
    # before; 255: bash has lost it, as it can when a signal and the end come at one moment.)
    while [ "$wingspan_code" -gt 128 ]; do
        wingspan_told=0
        wait "$wingspan_child" 2>/dev/null || wingspan_told=$?
        case $wingspan_told in 127 | 255) ;; *) wingspan_code=$wingspan_told ;; esac
        kill -0 "$wingspan_child" 2>/dev/null || break
    done
}
@ATTEMPTS@
wingspan_finish "$wingspan_code"
