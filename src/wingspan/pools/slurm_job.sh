#!/bin/sh
# Written by Wingspan: a job that says in a file when it begins and ends.
wingspan_record=@FOLDER@/$SLURM_ARRAY_JOB_ID.$SLURM_ARRAY_TASK_ID
# What is done is not done again: a job can be put back into the queue after its end (scontrol requeue, a node
# that fails).
wingspan_code=$(sed -n 's/^{"state": "completed".*"code": \([0-9]*\)}$/\1/p' "$wingspan_record" 2>/dev/null)
[ -z "$wingspan_code" ] || exit "$wingspan_code"
@REDIRECTION@
wingspan_tell() {
    # A signal to all of the job ends date, too.
    wingspan_now=$(date +%s) || wingspan_now=$(date +%s) || wingspan_now=0
    printf '{"state": "%s", "time": %s, "host": "%s"%s}\n' "$1" "${wingspan_now:-0}" "$(hostname)" "$2" >>"$wingspan_record"
}
@VARIABLES@
wingspan_ended=
wingspan_tell running ''
trap 'wingspan_ended=yes; kill -TERM "$wingspan_child" 2>/dev/null' TERM
@COMMAND@ &
wingspan_child=$!
wait "$wingspan_child"
wingspan_code=$?
# The first wait ends with the signal, the second with the job.
[ -z "$wingspan_ended" ] || { wait "$wingspan_child"; wingspan_code=$?; }
# Sent away by Slurm: it knows whether the job comes back.
[ -n "$wingspan_ended" ] || wingspan_tell completed ", \"code\": $wingspan_code"
exit "$wingspan_code"
