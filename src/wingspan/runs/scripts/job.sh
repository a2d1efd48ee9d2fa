#!/bin/sh
# @TITLE@
# Written by Wingspan; needs nothing of it where it runs. Usage: job.sh NUMBER
set -eu  # a failure in here is the job's failure

# The script's own variables are called so: those of a sweep go by any other name.
wingspan_number=${1:-0}
# Outputs have this in their names: those of several submissions do not get into each other's way.
wingspan_job=@JOB@
case $0 in /*) wingspan_self=$0 ;; *) wingspan_self=$PWD/$0 ;; esac
@PATH@
@PARAMETERS@

# ---- The commands, inside the environment ----------------------------------------------------------------------
if [ "${WINGSPAN_INSIDE:-}" = yes ]; then
unset WINGSPAN_INSIDE WINGSPAN_SUBMISSION
@VARIABLES@
# Programs that write to HOME fill a quota, or fail where there is none: the job's folder is its home.
@HOMES@
@STEPS@
fi

@FOLDER@
wingspan_outputs=@OUTPUTS@
mkdir -p "$wingspan_outputs"

@FINISH@

@CHECKPOINT@
@PREFLIGHT@
# ---- The work --------------------------------------------------------------------------------------------------
wingspan_child=
# HTCondor and Slurm tell this process to end: the command hears of it too.
wingspan_stop() { [ -z "$wingspan_child" ] || kill -TERM "$wingspan_child" 2>/dev/null || :; }
trap wingspan_stop TERM INT
# The commands, once; $wingspan_code is how they ended.
wingspan_attempt() {
    wingspan_code=0
    env WINGSPAN_INSIDE=yes @START@ "$wingspan_self" "$@" </dev/null &
    wingspan_child=$!
    wait "$wingspan_child" || wingspan_code=$?
    # A signal ends the waiting, not the command.
    while kill -0 "$wingspan_child" 2>/dev/null; do wingspan_code=0; wait "$wingspan_child" || wingspan_code=$?; done
}
@ATTEMPTS@
wingspan_finish "$wingspan_code"
