wingspan_again=@CODE@
wingspan_attempt "$@"
if [ "$wingspan_code" -eq "$wingspan_again" ]; then
    wingspan_keep_checkpoint
    exit "$wingspan_again"  # HTCondor keeps the folder and starts the job again.
fi
