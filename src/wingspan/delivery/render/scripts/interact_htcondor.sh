#!/bin/sh
# A shell on a machine of the pool, with the same files, resources and container as the job@WITH@.
# Nothing comes back by itself: copy what you want to keep. Options go to condor_submit.
# HTCondor connects by condor_ssh_to_job: the machine must have an OpenSSH server, and the pool must allow it.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")"
mkdir -p logs
# HTCondor's own command, with a terminal, and what it starts there (SSH_TO_JOB_SSH_CMD in HTCondor's manual).
# shellcheck disable=SC2089,SC2090 # HTCondor reads these quotes, no shell does
_CONDOR_SSH_TO_JOB_SSH_CMD=@SSH@
# shellcheck disable=SC2090
export _CONDOR_SSH_TO_JOB_SSH_CMD
# The job waits for minutes for somebody to connect: when this script ends, it removes the job from the queue.
wingspan_mark=$(hostname)-$$
wingspan_leave() { condor_rm -constraint "WingspanShell == \"$wingspan_mark\"" >/dev/null 2>&1 || :; }
trap wingspan_leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
condor_submit -interactive -append "+WingspanShell = \"$wingspan_mark\"" @OPTIONS@ "$@" @MAIN@
