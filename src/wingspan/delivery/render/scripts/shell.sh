#!/bin/sh
# What interact.sh starts on the machine: a shell with what the job has.
set -eu
# What is done by hand in this shell belongs to no submission.
unset WINGSPAN_SUBMISSION
export PIXI_PROJECT_ROOT="$PWD" INIT_CWD="$PWD"
@VARIABLES@
# The shell that HTCondor found for the user, or the user's own; the machine need not have it.
wingspan_shell=${_CONDOR_SHELL:-${SHELL:-/bin/sh}}
command -v "$wingspan_shell" >/dev/null 2>&1 || wingspan_shell=/bin/sh
@HINT@
exec @SHELL@
